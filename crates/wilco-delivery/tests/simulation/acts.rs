//! What happens to a run from outside, its end, and what is checked then.

use std::time::Duration;

use wilco_delivery::OnDead;
use wilco_store::{Replay, State};

use super::{Act, Fate, Held, Mood, SimulatedDestination, Worker, World, hold, millis};

impl World {
    pub(crate) async fn act(&mut self, act: Act) -> Held {
        match act {
            Act::Record => {
                for _ in 0..self.dice.between(1, 4) {
                    self.record().await;
                }
                Ok(())
            }
            Act::Wait(time) => {
                self.say(&format!("{time:?} go by"));
                self.wait(time).await
            }
            Act::SetClock(by) => {
                self.say(&format!("the clock is set by {by} ms"));
                self.now.wall += by;
                self.now.jumps += 1;
                self.clock.set(self.now);
                self.model.clock_was_set(by);
                if by < 0 {
                    self.destinations.iter_mut().for_each(SimulatedDestination::clock_was_set_back);
                }
                Ok(())
            }
            Act::ChangeMood => {
                let place = self.dice.index(self.destinations.len());
                let mood = Mood::any(&mut self.dice);
                self.say(&format!("d{place} is {mood:?} from now on"));
                self.destinations[place].mood = mood;
                Ok(())
            }
            Act::Pause(is_paused) => {
                let place = self.dice.index(self.destinations.len());
                self.pause(place, is_paused).await;
                Ok(())
            }
            Act::Crash(down) => self.crash(down).await,
            Act::Reload => self.reload().await,
            Act::Replay => self.replay_some().await,
            Act::Cancel => self.cancel_one().await,
        }
    }

    async fn pause(&mut self, place: usize, is_paused: bool) {
        self.say(&format!("d{place} is paused: {is_paused}"));
        let name = &self.destinations[place].config.name;
        self.backend.store().pause(name, is_paused).await.unwrap();
        self.model.places[place].is_paused = is_paused;
    }

    async fn crash(&mut self, down: Duration) -> Held {
        for place in 0..self.destinations.len() {
            // Their answers are lost, and with them the changes of the breaker.
            let workers = std::mem::take(&mut self.destinations[place].workers);
            for slot in workers.iter().flat_map(|worker| worker.slots.values()) {
                let is_written = slot.concluded.as_ref().is_some_and(|it| it.is_written);
                if !is_written {
                    self.say(&format!("attempt of delivery {} is lost", slot.claim.delivery()));
                }
            }
        }
        self.say(&format!("the process is killed, and started again after {down:?}"));
        self.pass(millis(down));
        self.backend.reopen(self.clock.clone());
        self.model.crashed(self.now);
        for destination in &mut self.destinations {
            destination.is_woken = false;
            destination.workers = vec![Worker::new(destination.config.policy.clone(), 0, self.now)];
        }
        Ok(())
    }

    /// A new worker starts with a new configuration, while running attempts end with the old one.
    async fn reload(&mut self) -> Held {
        let place = self.dice.index(self.destinations.len());
        let policy = &mut self.destinations[place].config.policy;
        policy.on_dead = self.dice.pick(&[OnDead::Skip, OnDead::Block]);
        policy.concurrency = self.dice.index(4) + 1;
        let policy = policy.clone();
        self.say(&format!(
            "d{place} is reloaded: {:?}, {} at a time",
            policy.on_dead, policy.concurrency
        ));
        let last = self.destinations[place].workers.len() - 1;
        self.stop(place, last)?;
        let workers = &mut self.destinations[place].workers;
        let slots = workers.last().map_or(0, Worker::taken);
        workers.push(Worker::new(policy, slots, self.now));
        Ok(())
    }

    async fn replay_some(&mut self) -> Held {
        if self.model.ways.is_empty() {
            return Ok(());
        }
        let mut chosen = self.model.dead(false);
        chosen.dedup();
        if chosen.is_empty() || self.dice.is_lucky(30) {
            let any = self.dice.index(self.model.ways.len());
            chosen = vec![self.model.way(any)];
        }
        chosen.truncate(self.dice.index(3) + 1);
        self.replay(&chosen).await;
        Ok(())
    }

    async fn replay(&mut self, chosen: &[(usize, usize)]) {
        self.say(&format!("events are replayed, to: {chosen:?}"));
        let mut replays = Vec::new();
        for &(event, place) in chosen {
            let event_id = self.events[event];
            let shown = self.backend.store().event(event_id).await.unwrap().unwrap();
            let mut targets = self.routes.route(&shown.event);
            targets.retain(|target| target.destination == self.destinations[place].config.name);
            for target in &targets {
                self.model.replayed(event, place, target, self.now);
            }
            replays.push(Replay { event_id, targets, reason: "a person asked".into() });
        }
        self.backend.store().replay(replays).await.unwrap();
    }

    async fn cancel_one(&mut self) -> Held {
        if self.model.ways.is_empty() {
            return Ok(());
        }
        let any = self.dice.index(self.model.ways.len());
        let (event, place) = self.model.way(any);
        self.cancel(event, place).await
    }

    async fn cancel(&mut self, event: usize, place: usize) -> Held {
        self.say(&format!("event {event} is cancelled for d{place}"));
        let name = Some(self.destinations[place].config.name.clone());
        let cancelled = self.backend.store().cancel(self.events[event], name).await;
        let expected = self.model.cancelled(event, place, self.now);
        hold(cancelled.as_ref().ok() == Some(&expected), || {
            format!(
                "cancelled {cancelled:?} deliveries of event {event}, but {expected} were pending"
            )
        })
    }

    /// Faults stop, people take care of what is left, and time passes.
    pub(crate) async fn drain(&mut self) -> Held {
        self.say("from now on everything works");
        self.is_rough = false;
        for place in 0..self.destinations.len() {
            self.destinations[place].mood = Mood::Well;
            self.pause(place, false).await;
        }
        for _ in 0..ROUNDS_MAX {
            self.route().await?;
            self.wait(ROUND).await?;
            if self.model.awaited() == 0 {
                return Ok(());
            }
            for (event, place) in self.model.dead(true) {
                match self.dice.is_lucky(70) {
                    true => self.replay(&[(event, place)]).await,
                    false => self.cancel(event, place).await?,
                }
            }
        }
        Err(format!("stuck: {} deliveries do not end", self.model.awaited()))
    }

    /// Checks that the store has exactly the expected deliveries, each in the expected state.
    pub(crate) async fn judge(&mut self) -> Held {
        for place in 0..self.destinations.len() {
            self.stop(place, 0)?;
            hold(self.destinations[place].workers.is_empty(), || {
                format!("d{place} does not close")
            })?;
        }
        hold(self.routed == self.events.len(), || "an event was never routed".into())?;
        let mut seen = 0;
        for (event, event_id) in self.events.iter().enumerate() {
            let shown = self.backend.store().event(*event_id).await.unwrap().unwrap();
            for delivery in shown.deliveries {
                let way = usize::try_from(delivery.id - 1).unwrap();
                let way = self.model.ways.get(way);
                let way =
                    way.ok_or_else(|| format!("delivery {} should not exist", delivery.id))?;
                let replaced_by = match way.fate {
                    Fate::Superseded { by } => Some(self.events[by]),
                    Fate::Dead { is_replayed: true, .. } => Some(*event_id),
                    _ => None,
                };
                let expected = (event, way.fate.state(), way.attempts, replaced_by);
                let is = (way.event, delivery.state, delivery.attempts, delivery.replaced_by);
                hold(is == expected, || {
                    format!("delivery {} is {is:?} instead of {expected:?}", delivery.id)
                })?;
                seen += 1;
            }
        }
        let made = self.model.ways.len();
        hold(seen == made, || format!("there are {seen} deliveries, but {made} were made"))
    }
}

impl Fate {
    fn state(self) -> State {
        match self {
            Self::Awaited => State::Pending,
            Self::Delivered => State::Delivered,
            Self::Dead { .. } => State::Dead,
            Self::Superseded { .. } => State::Superseded,
            Self::Cancelled => State::Cancelled,
            Self::Skipped => State::Skipped,
        }
    }
}

const ROUND: Duration = Duration::from_secs(1_800);
const ROUNDS_MAX: u32 = 40;
