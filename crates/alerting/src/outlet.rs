//! Where messages go and their fate comes back: the seam between judgement and effect.

use crate::notification::{Intent, NotifiedAlert};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// The receiver refuses it for good.
    Rejected,
}

/// Takes messages to deliver.
pub trait Outlet: Send + Sync {
    /// Hands a message over without waiting. `false` if there is no room: it is offered again.
    /// A message may be handed over more than once.
    fn offer(&self, intent: &Intent) -> bool;

    /// Hands over alerts for Alertmanagers without waiting. They come again as long as they fire, so
    /// what is lost on the way is made up for.
    fn send(&self, alerts: &[NotifiedAlert]) {
        let _ = alerts;
    }
}

/// Is told what became of messages.
pub trait OutcomeSink: Send + Sync {
    /// Reports one message, by its id.
    fn report(&self, intent_id: u64, outcome: Outcome);
}
