//! Judging series and findings: rule groups, the life of alerts, grouping and notification.
//!
//! [`Alerting`] is pure, synchronous and deterministic: [`Alerting::tick`] is given the time, the
//! series and the query engine, and gives back samples to write, notifications to send and the
//! time at which it wants to be asked again. It reads no clock and no file, sends nothing, and
//! its whole state goes into and comes out of bytes ([`Alerting::snapshot`]).

mod check;
mod codec;
mod config;
mod dispatch;
mod duration;
mod evaluate;
mod file;
mod findings;
mod functions;
mod group;
mod humanize;
mod life;
mod notification;
mod outlet;
mod overlay;
mod reload;
mod rule;
mod snapshot;
mod template;
mod tick;
mod view;

pub use check::{Level, Problem, check, load};
pub use config::{Config, ConfigError, Receiver, Route};
pub use duration::{format_duration_ms, parse_duration_ms};
pub use life::{Alert, AlertState};
pub use notification::{Intent, Notification, NotifiedAlert, Status};
pub use outlet::{Outcome, OutcomeSink, Outlet};
pub use rule::{Group, Rule, RuleKind};
pub use snapshot::SnapshotError;
pub use tick::{Alerting, RuleSample, Stopwatch, Tick};
pub use view::{AlertingView, GroupView, Health, RuleView, View};

#[cfg(test)]
mod tests;
