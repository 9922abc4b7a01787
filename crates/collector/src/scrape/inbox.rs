//! The way to a lane: what it is given to do, and what wakes it.

use std::sync::{
    Arc,
    mpsc::{Receiver, Sender, channel},
};

use mio::Waker;

use super::lane::Work;

/// Gives a lane work and wakes it. When this is dropped, the lane ends.
#[derive(Debug)]
pub(crate) struct Inbox {
    work: Option<Sender<Work>>,
    /// The lane has it as well: were it closed here, nobody would be woken.
    waker: Option<Arc<Waker>>,
}

impl Inbox {
    pub(crate) fn new(waker: Arc<Waker>) -> (Self, Receiver<Work>) {
        let (work, receiver) = channel();
        (Self { work: Some(work), waker: Some(waker) }, receiver)
    }

    /// Wakes nobody.
    #[cfg(test)]
    pub(crate) fn silent() -> (Arc<Self>, Receiver<Work>) {
        let (work, receiver) = channel();
        (Arc::new(Self { work: Some(work), waker: None }), receiver)
    }

    pub(crate) fn send(&self, work: Work) {
        if let Some(sender) = &self.work {
            // A lane ends only when nobody can give it work.
            let _ = sender.send(work);
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker
            && let Err(error) = waker.wake()
        {
            tracing::error!(%error, "a lane of scraping cannot be woken");
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // It must find out when it wakes.
        self.work = None;
        self.wake();
    }
}
