//! Questions to one API server.
//!
//! A program that tells who we are is run before the first question, again when what it told expires,
//! and once when the server does not accept it. Tokens in files are looked at with every question.

use std::{sync::Arc, time::Duration};

use vedette_http_client::{
    Bytes, Client, Limits, Options, Request, Response,
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
    state: tokio::sync::Mutex<State>,
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
    expires_unix_ms: Option<i64>,
}

impl Api {
    /// Nothing is asked yet. Certificates that cannot be used are told by the first question.
    pub fn new(connection: Connection, options: Options) -> Self {
        Self { connection, options, state: tokio::sync::Mutex::default() }
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

    /// Asks for a path with its query. Whatever the server says is an answer.
    pub async fn answer(&self, path: &str, accept: &str, limits: Limits) -> Result<Response, Error> {
        let mut again = self.connection.exec.is_some();
        loop {
            let (client, generation) = self.client().await?;
            let request = self.request(path, accept)?;
            let response = client.send(request, limits).await.map_err(Error::Transport)?;
            if response.status().as_u16() == 401 {
                self.forget(generation).await;
                if std::mem::take(&mut again) {
                    continue;
                }
            }
            return Ok(response);
        }
    }

    fn request(&self, path: &str, accept: &str) -> Result<Request<Bytes>, Error> {
        // A server may stand below a path, as behind a proxy.
        let base = self.connection.server.as_str();
        let base = base.split(['?', '#']).next().unwrap_or(base).trim_end_matches('/');
        let request = Request::get(format!("{base}{path}")).header(ACCEPT, accept).body(Bytes::new());
        request.map_err(|error| Error::Credentials(format!("the URL of the server cannot be used: {error}")))
    }

    async fn client(&self) -> Result<(Client, u64), Error> {
        let mut state = self.state.lock().await;
        let clock = &self.options.clock;
        if let Some(current) = &state.current
            && current.expires_unix_ms.is_none_or(|expires| clock.unix_ms() < expires)
        {
            return Ok((current.client.clone(), state.generation));
        }
        if let Some((at, reason)) = &state.failed
            && clock.monotonic().since(*at) < EXEC_RETRY_AFTER
        {
            return Err(Error::Credentials(reason.clone()));
        }
        let made = self.make().await;
        match made {
            Ok(current) => {
                let client = current.client.clone();
                *state = State { current: Some(current), generation: state.generation + 1, failed: None };
                Ok((client, state.generation))
            }
            Err(error) => {
                state.current = None;
                state.failed = Some((clock.monotonic(), error.told()));
                Err(error)
            }
        }
    }

    async fn make(&self) -> Result<Current, Error> {
        let (config, expires_unix_ms) = match &self.connection.exec {
            Some(exec) => {
                let told = exec.ask(&self.connection.client).await?;
                (told.client, told.expires_unix_ms)
            }
            None => (self.connection.client.clone(), None),
        };
        let client = Client::new(&config, &self.options);
        let client = client.map_err(|error| Error::Credentials(error.to_string()))?;
        Ok(Current { client, expires_unix_ms })
    }

    /// Credentials that are not accepted are made anew.
    async fn forget(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation && self.connection.exec.is_some() {
            state.current = None;
        }
    }
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
