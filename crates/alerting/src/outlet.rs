//! Where messages go and their fate comes back: the seam between judgement and effect.

use crate::notification::Intent;

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
}

/// Is told what became of messages.
pub trait OutcomeSink: Send + Sync {
    /// Reports one message, by its id.
    fn report(&self, intent_id: u64, outcome: Outcome);
}
