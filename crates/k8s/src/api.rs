//! Questions to one API server.
//!
//! A program that tells who we are is run before the first question, again when what it told expires,
//! and once when the server does not accept it. Tokens in files are looked at with every question.
//! Whoever gives up waiting for the program does not end it: the next one who asks has what it told.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedMutexGuard, watch},
    time::{Instant, timeout},
};
use vedette_config::{Auth, HttpClient};
use vedette_http_client::{
    Bytes, Certificate, Client, Limits, Options, Request, Response,
    header::{ACCEPT, RETRY_AFTER},
};
use vedette_sys::MonotonicTime;

use crate::{Connection, Error, Refusal, error::retry_after};

/// A refusal is short.
const REFUSAL_BYTES_MAX: usize = 1 << 20;
/// A program that failed is not run again at once for each of many questions.
const EXEC_RETRY_AFTER: Duration = Duration::from_secs(5);

/// An API server that can be asked.
pub struct Api {
    connection: Connection,
    options: Options,
    state: Arc<tokio::sync::Mutex<State>>,
    /// Grows when the server was away and answers again.
    returns: watch::Sender<u64>,
}

/// Who we are now.
#[derive(Default)]
struct State {
    current: Option<Current>,
    /// Tells credentials from those before.
    generation: u64,
    failed: Option<(MonotonicTime, String)>,
}

struct Current {
    client: Client,
    /// What it was made of.
    config: HttpClient,
    expires_unix_ms: Option<i64>,
}

/// As whom one asks: the client, and the number of the credentials that it was made of.
type Known = (Client, u64);

impl Api {
    /// Nothing is asked yet. Certificates that cannot be used are told by the first question.
    pub fn new(connection: Connection, options: Options) -> Self {
        Self { connection, options, state: Arc::default(), returns: watch::channel(0).0 }
    }

    /// How the server is reached.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Asks for a path with its query. Anything but success is an error.
    pub async fn get(&self, path: &str, accept: &str, timeout: Duration) -> Result<Response, Error> {
        let response = self.answer(path, accept, Limits { timeout, body_bytes_max: u64::MAX }).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(Error::Refused(Box::new(refusal(response).await?)))
    }

    /// Asks for a path with its query. Whatever the server says is an answer. The time that it may take
    /// begins before it is known who we are.
    pub async fn answer(&self, path: &str, accept: &str, limits: Limits) -> Result<Response, Error> {
        let began = Instant::now();
        let mut again = self.connection.exec.is_some();
        loop {
            let (client, generation) = self.client(limits.timeout.saturating_sub(began.elapsed())).await?;
            let request = self.request(path, accept)?;
            let left = Limits { timeout: limits.timeout.saturating_sub(began.elapsed()), ..limits };
            let response = client.send(request, left).await.map_err(Error::Transport)?;
            if response.status().as_u16() == 401 {
                self.forget(generation).await;
                if std::mem::take(&mut again) {
                    continue;
                }
            }
            return Ok(response);
        }
    }

    /// The certificates between us and the server: what it showed last, ours, and whom we trust. Nothing
    /// while credentials are made, or before any were.
    pub fn certificates(&self) -> Option<Vec<Certificate>> {
        let state = self.state.try_lock().ok()?;
        let uri = self.connection.server.as_str().parse().ok()?;
        state.current.as_ref().map(|current| current.client.certificates(&uri))
    }

    /// As whom the server is asked, for other servers of the cluster that know us by the same token; and a
    /// number that changes with it. A token in a file is told as its place.
    pub(crate) async fn auth(&self, limit: Duration) -> Result<(Auth, u64), Error> {
        let (config, generation) = self.config(limit).await?;
        Ok((config.auth, generation))
    }

    /// How the server is asked now: as its connection says, with what a program told.
    pub async fn http_client(&self, limit: Duration) -> Result<HttpClient, Error> {
        self.config(limit).await.map(|(config, _)| config)
    }

    async fn config(&self, limit: Duration) -> Result<(HttpClient, u64), Error> {
        self.client(limit).await?;
        let state = self.state.lock().await;
        let current = state.current.as_ref();
        current.map(|current| (current.config.clone(), state.generation)).ok_or_else(|| still_made(limit))
    }

    /// Tells all who wait before they ask again that the server, which was away, answers.
    pub fn came_back(&self) {
        self.returns.send_modify(|count| *count += 1);
    }

    /// Tells when the server has come back.
    pub(crate) fn returns(&self) -> watch::Receiver<u64> {
        self.returns.subscribe()
    }

    fn request(&self, path: &str, accept: &str) -> Result<Request<Bytes>, Error> {
        // A server may stand below a path, as behind a proxy.
        let base = self.connection.server.as_str();
        let base = base.split(['?', '#']).next().unwrap_or(base).trim_end_matches('/');
        let request = Request::get(format!("{base}{path}")).header(ACCEPT, accept).body(Bytes::new());
        request.map_err(|error| Error::Credentials(format!("the URL of the server cannot be used: {error}")))
    }

    /// Who we are, if that is known within the limit.
    async fn client(&self, limit: Duration) -> Result<Known, Error> {
        let known = async {
            let state = self.state.clone().lock_owned().await;
            if let Some(known) = state.known(&self.options) {
                return known;
            }
            let renewed = renew(state, self.connection.clone(), self.options.clone());
            if self.connection.exec.is_none() {
                return renewed.await;
            }
            // It goes on when we give up, so that a slow program is not begun again and again.
            let ended = tokio::spawn(renewed).await;
            ended.unwrap_or_else(|error| {
                Err(Error::Credentials(format!("the credential program could not be followed: {error}")))
            })
        };
        timeout(limit, known).await.unwrap_or_else(|_| Err(still_made(limit)))
    }

    /// Credentials that are not accepted are made anew.
    async fn forget(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation && self.connection.exec.is_some() {
            state.current = None;
        }
    }
}

impl State {
    /// What need not be made: credentials that hold, or a failure of a short time ago.
    fn known(&self, options: &Options) -> Option<Result<Known, Error>> {
        let clock = &options.clock;
        if let Some(current) = &self.current
            && current.expires_unix_ms.is_none_or(|expires| clock.unix_ms() < expires)
        {
            return Some(Ok((current.client.clone(), self.generation)));
        }
        let (at, reason) = self.failed.as_ref()?;
        let is_recent = clock.monotonic().since(*at) < EXEC_RETRY_AFTER;
        is_recent.then(|| Err(Error::Credentials(reason.clone())))
    }
}

/// Makes credentials while nobody else can.
async fn renew(
    mut state: OwnedMutexGuard<State>,
    connection: Connection,
    options: Options,
) -> Result<Known, Error> {
    match make(&connection, &options).await {
        Ok(current) => {
            let client = current.client.clone();
            let generation = state.generation + 1;
            *state = State { current: Some(current), generation, failed: None };
            Ok((client, generation))
        }
        Err(error) => {
            state.current = None;
            state.failed = Some((options.clock.monotonic(), error.told()));
            Err(error)
        }
    }
}

async fn make(connection: &Connection, options: &Options) -> Result<Current, Error> {
    let (config, expires_unix_ms) = match &connection.exec {
        Some(exec) => {
            let told = exec.ask(&connection.client).await?;
            (told.client, told.expires_unix_ms)
        }
        None => (connection.client.clone(), None),
    };
    let client = Client::new(&config, options);
    let client = client.map_err(|error| Error::Credentials(error.to_string()))?;
    Ok(Current { client, config, expires_unix_ms })
}

fn still_made(limit: Duration) -> Error {
    Error::Credentials(format!(
        "the credential program has not told who we are within {} s; run it by hand to see for what it waits",
        limit.as_secs_f64()
    ))
}

async fn refusal(mut response: Response) -> Result<Refusal, Error> {
    let code = response.status().as_u16();
    let wish = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
    let mut body = Vec::new();
    while body.len() < REFUSAL_BYTES_MAX {
        // Whatever came of the reason is better than none.
        let Ok(Some(piece)) = response.chunk().await else { break };
        body.extend_from_slice(&piece);
    }
    let refusal = Refusal::read(code, &body);
    Ok(Refusal { retry_after: wish.or(refusal.retry_after), ..refusal })
}

/// An API server that several watches ask.
pub(crate) type SharedApi = Arc<Api>;
