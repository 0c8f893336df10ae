//! A stand-in for freispace: its API for webhook endpoints as the published definition describes it, and
//! the sending of events to those endpoints.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    catcher::{Act, Catcher, Caught},
    world::{World, sign_with},
};

pub(super) const TOKEN: &str = "aaaaaaaa-bbbb|a-made-up-token";

/// freispace with one team.
pub(super) struct Freispace {
    pub(super) catcher: Catcher,
    team: Arc<Mutex<Team>>,
}

#[derive(Clone, Debug)]
pub(super) struct Hook {
    pub(super) id: String,
    pub(super) url: String,
    pub(super) description: Option<String>,
    pub(super) events: Vec<String>,
    pub(super) secret: String,
}

/// At which request freispace stops answering.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hang {
    pub(super) method: &'static str,
    /// Whether it does first what it was asked to.
    pub(super) after: bool,
}

#[derive(Default)]
struct Team {
    hooks: Vec<Hook>,
    made: u32,
    secret: Option<String>,
    /// Answers to the next requests of a method, in place of the usual ones.
    answers: VecDeque<(&'static str, u16, &'static str, String)>,
    hang: Option<Hang>,
    is_hanging: bool,
}

impl Freispace {
    pub(super) fn start() -> Self {
        let team: Arc<Mutex<Team>> = Arc::default();
        let shared = Arc::clone(&team);
        let catcher = Catcher::start(move |_, request| shared.lock().unwrap().act(request));
        Self { catcher, team }
    }

    pub(super) fn api(&self) -> String {
        format!("http://{}", self.catcher.address)
    }

    /// An endpoint that was made by hand, with this secret.
    pub(super) fn with_hook(self, url: &str, secret: &str) -> Self {
        self.team.lock().unwrap().add(url, Some("Production"), &["booking.updated"], secret);
        self
    }

    /// The secret of the next endpoint.
    pub(super) fn gives_secret(&self, secret: &str) {
        self.team.lock().unwrap().secret = Some(secret.into());
    }

    /// How the next request of this method is answered.
    pub(super) fn answers(
        &self,
        method: &'static str,
        status: u16,
        fields: &'static str,
        body: &str,
    ) {
        self.team.lock().unwrap().answers.push_back((method, status, fields, body.into()));
    }

    /// Stops answering at such a request, or no more.
    pub(super) fn hangs(&self, at: Option<Hang>) {
        let mut team = self.team.lock().unwrap();
        (team.hang, team.is_hanging) = (at, false);
    }

    #[track_caller]
    pub(super) fn wait_until_it_hangs(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.team.lock().unwrap().is_hanging {
            assert!(Instant::now() < until, "no such request came: {:?}", self.catcher.caught());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn hooks(&self) -> Vec<Hook> {
        self.team.lock().unwrap().hooks.clone()
    }

    /// Sends an event to every endpoint there is, once, and says whether any of them took it.
    pub(super) fn send(&self, world: &World, body: &str) -> bool {
        let mut is_taken = false;
        for hook in self.hooks() {
            is_taken |= send_to(world, &hook, body);
        }
        is_taken
    }
}

/// Sends an event to an endpoint, wherever its URL is, by way of the path.
pub(super) fn send_to(world: &World, hook: &Hook, body: &str) -> bool {
    let path = hook.url.strip_prefix("https://hooks.example.com").unwrap();
    let signature = sign_with(&hook.secret, body.as_bytes());
    world.post_to(path, body, &[("x-freispace-signature", &signature)]).status == 200
}

impl Team {
    fn act(&mut self, request: &Caught) -> Act {
        let method = request.method.as_str();
        if let Some((wanted, ..)) = self.answers.front()
            && *wanted == method
            && let Some((_, status, fields, body)) = self.answers.pop_front()
        {
            return Act::Body(status, fields, body);
        }
        if !request.has("authorization")
            || request.header("authorization") != format!("Bearer {TOKEN}")
        {
            return Act::Body(403, "", json!({ "message": "Unauthenticated." }).to_string());
        }
        assert_eq!(request.header("accept"), "application/json");
        match self.hang.filter(|hang| hang.method == method) {
            Some(hang) => {
                if hang.after {
                    self.answer(request);
                }
                self.is_hanging = true;
                Act::Hang
            }
            None => self.answer(request),
        }
    }

    fn answer(&mut self, request: &Caught) -> Act {
        let rest = request.path.strip_prefix("/v1/webhooks").unwrap_or("/nowhere");
        let found = self.hooks.iter().position(|hook| rest == format!("/{}", hook.id));
        match (request.method.as_str(), rest, found) {
            ("POST", "", _) => self.create(&serde_json::from_slice(&request.body).unwrap()),
            ("GET", _, Some(at)) => Act::Body(200, "", shown(&self.hooks[at]).to_string()),
            ("DELETE", _, Some(at)) => {
                self.hooks.remove(at);
                Act::Answer(204)
            }
            ("GET", _, None) if rest.starts_with('?') => self.list(rest),
            _ => Act::Body(404, "", json!({ "message": "Not found." }).to_string()),
        }
    }

    /// Two on a page.
    fn list(&self, query: &str) -> Act {
        let number: usize = query.strip_prefix("?page=").unwrap().parse().unwrap();
        let hooks: Vec<_> = self.hooks.iter().skip(2 * number - 2).take(2).map(shown).collect();
        let next = (self.hooks.len() > 2 * number)
            .then(|| format!("https://api.freispace.com/v1/webhooks?page={}", number + 1));
        let page = json!({
            "object": "list", "data": hooks, "pagination_links": { "next": next },
            "pagination_meta": { "current_page": number, "per_page": 2 },
        });
        Act::Body(200, "", page.to_string())
    }

    fn create(&mut self, asked: &Value) -> Act {
        let text = |name: &str| asked[name].as_str().map(str::to_owned);
        let url = text("url").unwrap();
        let events: Vec<_> = asked["enabled_events"].as_array().unwrap().iter().collect();
        let events: Vec<_> = events.into_iter().map(|event| event.as_str().unwrap()).collect();
        assert!(url.starts_with("https://") && !events.is_empty(), "{asked}");
        let secret = self.secret.take();
        let secret = secret.unwrap_or_else(|| format!("a-made-up-secret-{}", self.made));
        let hook = self.add(&url, text("description").as_deref(), &events, &secret);
        let mut answer = shown(&hook);
        answer["secret"] = hook.secret.into();
        answer["created"] = "2026-11-01T00:00:00.000000Z".into();
        Act::Body(201, "", answer.to_string())
    }

    fn add(&mut self, url: &str, description: Option<&str>, events: &[&str], secret: &str) -> Hook {
        self.made += 1;
        let hook = Hook {
            id: format!("12345678-1234-1234-1234-{:012}", self.made),
            url: url.into(),
            description: description.map(str::to_owned),
            events: events.iter().map(ToString::to_string).collect(),
            secret: secret.into(),
        };
        self.hooks.push(hook.clone());
        hook
    }
}

fn shown(hook: &Hook) -> Value {
    json!({
        "id": hook.id, "object": "webhook_endpoint", "url": hook.url,
        "description": hook.description, "events": hook.events, "status": "enabled",
    })
}
