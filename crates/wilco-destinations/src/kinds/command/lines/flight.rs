//! The deliveries that a worker has, and what its answers mean.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use serde::Deserialize;
use tokio::sync::oneshot;

use wilco_delivery::{Reply, Verdict};

use super::super::FAILED;
use crate::{child::OutputTail, hidden::Hidden, text::legible};

/// The deliveries that wait for an answer of one worker, and its other output.
pub(super) struct InFlight {
    pub(super) name: String,
    pub(super) hidden: Arc<Hidden>,
    pub(super) output: OutputTail,
    /// `None` once the worker takes no more.
    waiting: std::sync::Mutex<Option<Waiting>>,
}

type Waiting = HashMap<String, oneshot::Sender<Reply>>;

impl InFlight {
    pub(super) fn new(name: String, hidden: &Arc<Hidden>, output_bytes_max: usize) -> Self {
        let waiting = std::sync::Mutex::new(Some(HashMap::new()));
        Self {
            name,
            hidden: Arc::clone(hidden),
            output: OutputTail::new(output_bytes_max),
            waiting,
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting().is_none()
    }

    pub(super) fn enter(&self, id: &str) -> Result<oneshot::Receiver<Reply>, String> {
        let mut waiting = self.waiting();
        let Some(waiting) = waiting.as_mut() else {
            return Err("the worker has just ended".into());
        };
        if waiting.get(id).is_some_and(|sender| !sender.is_closed()) {
            return Err("the worker has this event already".into());
        }
        let (sender, answer) = oneshot::channel();
        waiting.insert(id.into(), sender);
        Ok(answer)
    }

    pub(super) fn leave(&self, id: &str) -> Option<oneshot::Sender<Reply>> {
        self.waiting().as_mut()?.remove(id)
    }

    /// Fails the deliveries that still wait, and takes no more.
    pub(super) fn end(&self, why: &str) {
        for (_, sender) in self.waiting().take().into_iter().flatten() {
            let _ =
                sender.send(Reply { output: self.output.so_far(), ..Reply::failed(why.into()) });
        }
    }

    /// Passes an answer on to the delivery that waits for it. `false` where the line is none, or
    /// nobody waits for it.
    pub(super) fn answered(&self, line: &[u8]) -> bool {
        let answer: Option<Answer> = serde_json::from_slice(line).ok();
        let verdict = answer.as_ref().and_then(Answer::verdict);
        let waits = verdict.and(answer.as_ref()).and_then(|answer| self.leave(&answer.id));
        let (Some(verdict), Some(answer), Some(sender)) = (verdict, answer, waits) else {
            return false;
        };
        let reply = match (verdict, answer.error) {
            (Verdict::Delivered, _) => Reply::delivered(),
            (_, error) => Reply {
                output: self.output.so_far(),
                ..Reply::new(verdict, legible(&error.unwrap_or_default()))
            },
        };
        let _ = sender.send(reply);
        true
    }
}

#[derive(Deserialize)]
struct Answer {
    id: String,
    #[serde(default)]
    ok: bool,
    error: Option<String>,
    #[serde(default = "yes")]
    retry: bool,
}

fn yes() -> bool {
    true
}

impl Answer {
    /// `None` where it says neither that it went well nor that it did not, or both.
    fn verdict(&self) -> Option<Verdict> {
        match (self.ok, &self.error) {
            (true, None) => Some(Verdict::Delivered),
            (false, Some(_)) if self.retry => Some(FAILED),
            (false, Some(_)) => Some(Verdict::Refused),
            (true, Some(_)) | (false, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_unambiguous() {
        for (line, expected) in [
            (r#"{"id":"e","ok":true}"#, Some(Verdict::Delivered)),
            (r#"{"ok":true,"id":"e","x":[1]}"#, Some(Verdict::Delivered)),
            (r#"{"id":"e","error":"no"}"#, Some(FAILED)),
            (r#"{"id":"e","error":"no","retry":true}"#, Some(FAILED)),
            (r#"{"id":"e","ok":false,"error":"no","retry":false}"#, Some(Verdict::Refused)),
            (r#"{"id":"e","ok":true,"error":"no"}"#, None),
            (r#"{"id":"e","ok":false}"#, None),
            (r#"{"id":"e"}"#, None),
            (r#"{"ok":true}"#, None),
            (r#"{"id":1,"ok":true}"#, None),
            (r#"{"id":"other","ok":true}"#, None),
            ("[]", None),
            ("\"e\"", None),
            ("", None),
        ] {
            let flight = InFlight::new("it".into(), &Arc::new(Hidden::new(Vec::new(), 10)), 10);
            let mut answer = flight.enter("e").unwrap();
            flight.answered(line.as_bytes());
            let verdict = answer.try_recv().ok().map(|reply: Reply| reply.verdict);
            assert_eq!(verdict, expected, "{line}");
        }
    }

    #[test]
    fn a_worker_gets_an_event_once_and_none_after_it_has_ended() {
        let flight = InFlight::new("it".into(), &Arc::new(Hidden::new(Vec::new(), 10)), 10);
        let mut answer = flight.enter("e").unwrap();
        assert!(flight.enter("e").is_err());
        flight.enter("f").unwrap();
        flight.enter("f").unwrap();
        flight.end("over");
        assert_eq!(answer.try_recv().unwrap().result, "over");
        assert!(flight.is_over() && flight.enter("g").is_err());
    }
}
