//! Listing and watching the objects of one kind, for as long as somebody wants them.
//!
//! * Where the server can, the list comes as a stream of events that goes on as the watch; where it
//!   refuses that, it comes in pages, and the watch begins where they end.
//! * A watch that ends goes on from the last state that was told. Where the server no longer has that
//!   state (410), a new list begins; what is known stays until it is whole.
//! * The first list may come from what the server remembers, where it cannot read its own store. Later
//!   ones may not, as they could show a state before the one that is known.
//! * After a failure the server is asked again later and later, but not before it wishes; and soon, if
//!   somebody saw that it came back.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use tokio::{select, sync::watch, time::sleep};
use vedette_http_client::Response;
use vedette_sys::{Clock, Random};

use crate::{
    Error, Event, EventReader, Health, Timing,
    api::SharedApi,
    backoff::Backoff,
    objects::{AnyResource, Listed, Meta},
    read::{LIST_TIMEOUT, PAGE_OBJECTS, TELLS_NOTHING, open, path, piece, refused, take_page},
};

/// How long a watch may be open beyond the wish.
const WATCH_GRACE: Duration = Duration::from_secs(30);
/// A watch that ends sooner and tells nothing is taken for a failure.
const WATCH_MIN: Duration = Duration::from_secs(1);

/// Which objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct What {
    /// In which namespace; in all where there is none.
    pub namespace: Option<Box<str>>,
    /// A selector of labels.
    pub labels: Box<str>,
    /// A selector of fields.
    pub fields: Box<str>,
}

/// Takes what a watch tells.
pub trait Sink<O>: Send + Sync {
    /// A list begins. One that did not end is forgotten.
    fn begin(&self);
    /// An object is there, new or changed.
    fn put(&self, object: O);
    /// An object is gone.
    fn remove(&self, meta: &Meta);
    /// The list is whole: what it did not name is gone.
    fn finish(&self);
    /// Nothing more waits to be told just now.
    fn settle(&self);
}

/// One watch and where it stands.
pub(crate) struct Watch<O, S> {
    api: SharedApi,
    what: What,
    sink: Arc<S>,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
    timing: Timing,
    backoff: Backoff,
    /// The state from which a watch can go on.
    position: Option<Box<str>>,
    /// Whether the server tells lists as events.
    may_stream: bool,
    /// Whether the next list may come from what the server remembers.
    from_memory: bool,
    /// Tells that the server came back.
    returns: watch::Receiver<u64>,
    /// Whether a question may then be left for another: once until all is well, so that a list that is slow is told
    /// however often the server comes and goes.
    may_leave: bool,
    kind: PhantomData<fn() -> O>,
}

impl<O: Listed, S: Sink<O>> Watch<O, S> {
    pub(crate) fn new(
        api: SharedApi,
        what: What,
        sink: Arc<S>,
        health: Arc<Health>,
        clock: Arc<dyn Clock>,
        timing: Timing,
    ) -> Self {
        Self {
            returns: api.returns(),
            api,
            what,
            sink,
            health,
            clock,
            timing,
            backoff: Backoff::new(timing, Random::from_system()),
            position: None,
            may_stream: true,
            from_memory: false,
            may_leave: true,
            kind: PhantomData,
        }
    }

    /// What is watched.
    fn resource(&self) -> &AnyResource {
        self.health.resource()
    }

    /// Never ends by itself.
    pub(crate) async fn run(mut self) {
        loop {
            self.returns.mark_unchanged();
            let Err(error) = self.round().await else { continue };
            let resource = self.resource().name();
            if error.is_expired() {
                self.position = None;
                tracing::debug!(resource, "the server no longer has the state; a new list begins");
                if self.backoff.begins_again() {
                    continue;
                }
            }
            let is_first = !self.health.state().is_whole;
            if self.position.is_none() {
                // Alternately, so that a server that can read its store again is believed again.
                self.from_memory = is_first && error.is_trouble_of_server() && !self.from_memory;
            }
            if self.health.failed(&error, self.clock.unix_ms()) {
                tracing::warn!(resource, error = error.told(), "objects of the cluster cannot be watched");
            }
            self.sink.settle();
            let wish = error.refusal().and_then(|refusal| refusal.retry_after);
            self.rest(wish).await;
        }
    }

    /// Waits until the server may be asked again. That it came back since the last question ends the wait,
    /// unless it wished for one.
    async fn rest(&mut self, wish: Option<Duration>) {
        let wait = sleep(self.backoff.next(wish));
        if wish.is_some() {
            return wait.await;
        }
        let came_back = select! {
            () = wait => false,
            Ok(()) = self.returns.changed() => true,
        };
        if came_back {
            // Others come back, too.
            sleep(self.backoff.spread()).await;
        }
    }

    /// One list, or one watch.
    async fn round(&mut self) -> Result<(), Error> {
        match (&self.position, self.may_stream && !self.from_memory) {
            (Some(_), _) => self.watch().await,
            (None, true) => self.stream_list().await,
            (None, false) => self.page_list().await,
        }
    }

    /// A list that comes as events, and the watch that it goes on as.
    async fn stream_list(&mut self) -> Result<(), Error> {
        let seconds = self.backoff.watch_seconds();
        let path = self.path(&[
            ("watch", "true"),
            ("sendInitialEvents", "true"),
            ("resourceVersionMatch", "NotOlderThan"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &seconds.to_string()),
        ]);
        let opened = self.get(&path, "watch", Duration::from_secs(seconds) + WATCH_GRACE).await;
        let told = match opened {
            Ok(response) => {
                self.sink.begin();
                self.follow(response, true).await
            }
            Err(error) => Err(error),
        };
        let Err(error) = told else { return Ok(()) };
        if self.position.is_none() && refuses_streaming(&error) {
            self.may_stream = false;
            tracing::debug!(resource = self.resource().name(), error = error.told(), "lists come in pages");
            return Ok(());
        }
        Err(error)
    }

    /// A list in pages.
    async fn page_list(&mut self) -> Result<(), Error> {
        self.sink.begin();
        let (mut next_page, mut is_whole) = (String::new(), false);
        loop {
            let path = match (&*next_page, self.from_memory) {
                ("", false) if is_whole => self.path(&[]),
                // Where the server lists from memory it makes no pages.
                ("", true) => self.path(&[("resourceVersion", "0")]),
                ("", false) => self.path(&[("limit", PAGE_OBJECTS)]),
                (token, _) => self.path(&[("limit", PAGE_OBJECTS), ("continue", token)]),
            };
            let mut response = match self.get(&path, "list", LIST_TIMEOUT).await {
                // The pages took longer than the server keeps a state: they would the next time, too.
                Err(error) if error.is_expired() && !next_page.is_empty() => {
                    next_page.clear();
                    is_whole = true;
                    self.sink.begin();
                    continue;
                }
                other => other?,
            };
            let heard = || self.health.heard_part(self.clock.monotonic());
            let put = |object: O| self.sink.put(object);
            let silence_max = self.timing.silence_max;
            let end = take_page(&mut response, self.resource(), silence_max, put, heard).await?;
            if !end.next_page.is_empty() {
                next_page = end.next_page;
                continue;
            }
            if end.resource_version.is_empty() {
                return Err(Error::Answer("a list has no resourceVersion".to_owned()));
            }
            self.position = Some(end.resource_version.into());
            self.finish_list();
            return Ok(());
        }
    }

    /// A watch from where the list or the last watch ended.
    async fn watch(&mut self) -> Result<(), Error> {
        let seconds = self.backoff.watch_seconds();
        let position = self.position.clone().unwrap_or_default();
        let path = self.path(&[
            ("watch", "true"),
            ("resourceVersion", &position),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &seconds.to_string()),
        ]);
        let begin = self.clock.monotonic();
        let response = self.get(&path, "watch", Duration::from_secs(seconds) + WATCH_GRACE).await?;
        self.may_leave = true;
        self.health.heard(self.clock.monotonic(), 0);
        // That all is well again is news.
        self.sink.settle();
        let before = self.health.state().events;
        self.follow(response, false).await?;
        let lasted = self.clock.monotonic().since(begin);
        if lasted < WATCH_MIN && self.health.state().events == before {
            return Err(Error::Silence("the API server ends the watch at once"));
        }
        self.backoff.reset();
        Ok(())
    }

    /// Takes events until the watch ends. `is_list` until all that was there is told.
    async fn follow(&mut self, mut response: Response, mut is_list: bool) -> Result<(), Error> {
        let mut reader = EventReader::default();
        loop {
            // Where nothing changes nothing comes; only a list must.
            let silence_max = if is_list { self.timing.silence_max } else { Duration::MAX };
            let piece = match piece(&mut response, silence_max).await {
                Ok(Some(piece)) => piece,
                Ok(None) if is_list => {
                    return Err(Error::Silence("the API server ends in the middle of a list"));
                }
                Ok(None) => return Ok(()),
                // That a watch is over after its time is no failure.
                Err(Error::Transport(error))
                    if !is_list && error.kind() == vedette_http_client::ErrorKind::Timeout =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            let mut events = 0;
            let taken = reader.take(&piece, |event| {
                self.take_event(event, &mut is_list)?;
                events += 1;
                Ok(())
            });
            if is_list {
                self.health.heard_part(self.clock.monotonic());
            } else if taken.is_ok() || events > 0 {
                self.health.heard(self.clock.monotonic(), events);
                self.sink.settle();
                // An error alone is no sign that the next question will do better.
                if taken.is_ok() && events > 0 {
                    self.backoff.reset();
                }
            }
            taken?;
        }
    }

    fn take_event(&mut self, event: Event<O>, is_list: &mut bool) -> Result<(), Error> {
        let told = match event {
            Event::Put(object) => {
                let version = object.meta().resource_version.clone();
                self.sink.put(object);
                version
            }
            Event::Remove(object) => {
                self.sink.remove(object.meta());
                object.meta().resource_version.clone()
            }
            Event::Bookmark { resource_version, ends_list } => {
                if ends_list && *is_list {
                    *is_list = false;
                    self.position = Some(resource_version);
                    self.finish_list();
                    return Ok(());
                }
                resource_version
            }
            Event::Refused(refusal) => return Err(refused(self.resource(), &self.what, refusal, "watch")),
        };
        // The objects of a list come in any order; only its end says which state it shows.
        if !*is_list && !told.is_empty() {
            self.position = Some(told);
        }
        Ok(())
    }

    fn finish_list(&mut self) {
        self.sink.finish();
        self.health.whole(self.clock.monotonic());
        self.sink.settle();
        self.from_memory = false;
        self.may_leave = true;
    }

    async fn get(&mut self, path: &str, verb: &'static str, limit: Duration) -> Result<Response, Error> {
        let asked =
            open(&self.api, self.health.resource(), &self.what, path, verb, limit, self.timing.silence_max);
        let mut returns = self.api.returns();
        select! {
            biased;
            asked = asked => asked,
            // What was asked of a server that was away may wait for an answer for long.
            Ok(()) = returns.changed(), if self.may_leave => {
                self.may_leave = false;
                Err(Error::Silence("the API server was away when it was asked"))
            }
        }
    }

    fn path(&self, pairs: &[(&str, &str)]) -> String {
        path(self.resource(), &self.what, pairs)
    }
}

/// Whether lists as events are what the server does not want: old ones do not know them, and some stand
/// on a store that cannot give them.
fn refuses_streaming(error: &Error) -> bool {
    match error {
        Error::Refused(refusal) => {
            matches!(refusal.code, 400 | 404 | 405 | 406 | 415 | 422 | 501)
                || refusal.message.contains("RequestWatchProgress")
                || refusal.message.contains("sendInitialEvents")
        }
        // One that takes the question for a plain watch never tells the end of the list.
        Error::Silence(reason) => *reason == TELLS_NOTHING,
        Error::Answer(_) | Error::Credentials(_) | Error::Transport(_) => false,
    }
}
