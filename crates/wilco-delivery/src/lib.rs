//! What is delivered where and when: the decisions of the outbound half, without I/O.
//!
//! Which events go to which destinations ([`Routes`], with [`Rule`]s in them), when a failed delivery is
//! tried again, and how many attempts a destination takes at once. Everything here is a plain function
//! of state, the time and chance; the service executes what is decided. The trait of what executes an
//! attempt is here too ([`Destination`]), because its answer ([`Verdict`]) is what decisions start from.

mod alert;
mod attempt;
mod breaker;
mod effect;
mod inactivity;
mod lease;
mod policy;
mod rate;
mod retry;
mod routes;
mod rules;
mod scheduler;
mod time;
mod worker;

pub use alert::{AlertPolicy, LoggedAlert};
pub use attempt::{Destination, Reply, Verdict};
pub use breaker::Breaker;
pub use effect::{AttemptEnd, AttemptId, Cause, Conclusion, Effect, Input, Report};
pub use inactivity::{Expectation, Inactivity, Span};
pub use policy::{BreakerPolicy, OnDead, Policy, RateLimit, RetryPolicy};
pub use routes::{Clause, Debounce, Route, Routes, SPLIT_ITEMS_MAX};
pub use rules::{Rule, RuleError, Text, View, unmatched};
pub use scheduler::{BreakerChange, Moment};
pub use worker::Worker;
