//! Reads the answers of the targets of a lane from connections that are kept, in the thread that reads
//! what they say.
//!
//! The request was sent by the clockwork; so one wake-up takes an answer from the socket to the store,
//! through memory that is still near. Whatever does not go its usual way — a connection that was closed
//! meanwhile, a redirect — is given back to the clockwork, which asks anew.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, Waker, net::TcpStream};
use rustix::{
    buffer::spare_capacity,
    io::Errno,
    net::{RecvFlags, recv},
};
use tokio::sync::mpsc::WeakUnboundedSender;
use vedette_scrape::TargetId;

use super::{
    body::Body,
    clockwork::Command,
    failure::Failure,
    fetch,
    inbox::Inbox,
    lane::{Lane, Scraped, Work},
    plain::{self, Answer},
    spec::{Ask, Kept, Live},
};

/// What wakes the lane for work that is given to it.
const WAKE: Token = Token(usize::MAX);
/// Sockets that are told of at once.
const EVENTS: usize = 64;
/// How long a sink that refuses is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Pieces of one answer that are read in a row: no target keeps the others waiting.
const PIECES_MAX: usize = 64;

/// A lane and its connections.
pub(crate) struct Answers {
    lane: Lane,
    poll: Poll,
    work: Receiver<Work>,
    /// Kept for as long as somebody may be woken by it.
    _waker: Arc<Waker>,
    commands: WeakUnboundedSender<Command>,
    connected: HashMap<Token, Connected>,
    tokens: HashMap<TargetId, Token>,
    next: usize,
    /// Connections that may have more than was read in a row.
    unread: Vec<Token>,
}

/// A connection that is listened to.
struct Connected {
    live: Arc<Live>,
    /// An answer of which a part has come.
    arriving: Option<Answer>,
    /// The other side has closed it, which is told once.
    is_closed: bool,
}

/// What came of reading from a connection.
enum Read {
    /// More is to come, or is there already.
    Part(Answer, bool),
    /// The scrape has an answer. The connection can be kept, or not.
    Done(Result<Body, Failure>, bool),
    /// It must be asked anew.
    Anew,
}

impl Answers {
    pub(crate) fn new(lane: Lane, commands: WeakUnboundedSender<Command>) -> io::Result<(Self, Inbox)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (inbox, work) = Inbox::new(Arc::clone(&waker));
        let (connected, tokens, unread) = (HashMap::new(), HashMap::new(), Vec::new());
        Ok((Self { lane, poll, work, _waker: waker, commands, connected, tokens, next: 0, unread }, inbox))
    }

    /// Works until nobody can give work any more.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let unread = std::mem::take(&mut self.unread);
            let retry = self.lane.outbox.is_waiting().then_some(RETRY_INTERVAL);
            let timeout = if unread.is_empty() { retry } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.unread = unread;
                    continue;
                }
                Err(error) => {
                    // There is no other way to wait.
                    tracing::error!(%error, "a lane of scraping cannot wait for its connections");
                    return;
                }
            }
            if events.is_empty() && unread.is_empty() {
                self.lane.retry();
            }
            unread.into_iter().for_each(|token| self.read(token));
            for event in &events {
                if let Some(connected) = self.connected.get_mut(&event.token()) {
                    connected.is_closed |= event.is_read_closed();
                    self.read(event.token());
                }
            }
            loop {
                match self.work.try_recv() {
                    Ok(work) => self.take(work),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        self.lane.outbox.retry();
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, work: Work) {
        match work {
            Work::Connected { live, stream } => self.keep(live, stream),
            Work::TimedOut { live, number } => {
                // What came in time counts, though the lane was busy with another's answer.
                if let Some(token) = self.tokens.get(&live.id).copied() {
                    self.read(token);
                }
                let mut kept = live.kept.lock();
                let Some(ask) = kept.ask.take_if(|ask| ask.number == number) else { return };
                self.close(&live, &mut kept);
                drop(kept);
                let answer = Err(fetch::late(&ask.spec));
                self.lane.take(Work::Scraped(Scraped::new(live, &ask, answer)));
            }
            Work::Ended { live, time_ms } => {
                // The connection may be that of an earlier life of the target.
                let token = self.tokens.remove(&live.id);
                if let Some(connected) = token.and_then(|token| self.connected.remove(&token)) {
                    connected.live.kept.lock().stream = None;
                }
                self.lane.take(Work::Ended { live, time_ms });
            }
            Work::Scraped(scraped) => self.lane.take(Work::Scraped(scraped)),
        }
    }

    /// Listens to a connection.
    fn keep(&mut self, live: Arc<Live>, stream: std::net::TcpStream) {
        let mut kept = live.kept.lock();
        let mut stream = TcpStream::from_std(stream);
        let token = Token(self.next);
        self.next = (self.next + 1) % WAKE.0;
        // One that cannot be listened to is opened anew each time.
        let is_heard = self.poll.registry().register(&mut stream, token, Interest::READABLE).is_ok();
        kept.stream = is_heard.then_some(stream);
        drop(kept);
        // Of this target or of one of the same name that is gone.
        if let Some(old) = self.tokens.insert(live.id, token) {
            self.connected.remove(&old);
        }
        self.connected.insert(token, Connected { live, arriving: None, is_closed: false });
    }

    /// Closes the connection of a target, if there is one.
    fn close(&mut self, live: &Arc<Live>, kept: &mut Kept) {
        kept.stream = None;
        if let Some(token) = self.tokens.get(&live.id).copied()
            && self.connected.get(&token).is_some_and(|connected| Arc::ptr_eq(&connected.live, live))
        {
            self.tokens.remove(&live.id);
            self.connected.remove(&token);
        }
    }

    /// Reads what a connection has.
    fn read(&mut self, token: Token) {
        let Some(connected) = self.connected.get_mut(&token) else { return };
        let (live, is_closed) = (Arc::clone(&connected.live), connected.is_closed);
        let mut kept = live.kept.lock();
        let Kept { stream: Some(stream), ask } = &mut *kept else {
            // The request could not be sent, so the clockwork has given it up.
            return self.close(&live, &mut kept);
        };
        let Some(asked) = ask else {
            // Nothing was asked: whatever comes ends the connection.
            if !matches!(recv(&*stream, &mut [0], RecvFlags::PEEK), Err(Errno::AGAIN | Errno::INTR)) {
                self.close(&live, &mut kept);
            }
            return;
        };
        let fetcher = &asked.spec.fetcher;
        let answer = connected.arriving.take().unwrap_or_else(|| fetcher.answer(&live));
        match read(stream, asked, answer) {
            Read::Part(answer, has_more) => {
                connected.arriving = Some(answer);
                self.unread.extend(has_more.then_some(token));
            }
            Read::Done(answer, is_kept) => {
                let ask = ask.take();
                if !is_kept || is_closed {
                    self.close(&live, &mut kept);
                }
                drop(kept);
                if let Some(ask) = ask {
                    self.lane.take(Work::Scraped(Scraped::new(live, &ask, answer)));
                }
            }
            Read::Anew => {
                let ask = ask.take();
                self.close(&live, &mut kept);
                drop(kept);
                if let (Some(ask), Some(commands)) = (ask, self.commands.upgrade()) {
                    // Without a clockwork everything ends.
                    let _ = commands.send(Command::Ask(live, ask));
                }
            }
        }
    }
}

/// Reads until the answer is whole, there is nothing more for now, or it was enough in a row.
fn read(stream: &TcpStream, ask: &Ask, mut answer: Answer) -> Read {
    let fetcher = &ask.spec.fetcher;
    for _ in 0..PIECES_MAX {
        let asked = match answer.advance(fetcher.body_bytes_max()) {
            Err(failure) => return Read::Done(Err(failure), false),
            Ok(Some(asked)) => asked,
            Ok(None) => match recv(stream, spare_capacity(answer.room()), RecvFlags::empty()) {
                Err(Errno::AGAIN) => return Read::Part(answer, false),
                Err(Errno::INTR) => continue,
                Ok((1.., _)) => continue,
                // It was closed while nobody was looking.
                _ if answer.is_empty() => return Read::Anew,
                Err(error) => return Read::Done(Err(plain::lost(&error.into())), false),
                Ok((0, _)) => match answer.ended() {
                    Err(failure) => return Read::Done(Err(failure), false),
                    Ok(asked) => asked,
                },
            },
        };
        let is_kept = asked.is_kept;
        return match fetcher.body(asked, answer) {
            Some(result) => Read::Done(result, is_kept),
            None => Read::Anew,
        };
    }
    Read::Part(answer, true)
}
