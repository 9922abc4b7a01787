//! Requests to servers and proxies that run in the test.

mod encryption;
mod plain;
mod proxies;
mod server;
mod tokens;

use std::{path::Path, sync::Arc, time::Duration};

use vedette_config::prometheus::{Mode, Surroundings, parse};
use vedette_sys::{Clock, SimFs, SystemClock};

use crate::*;

/// A client with these keys, as a scrape job has them.
fn config(keys: &str) -> HttpClient {
    let text = format!("scrape_configs:\n- job_name: test\n  {}\n", keys.replace('\n', "\n  "));
    let fs = SimFs::new(1);
    let surroundings = Surroundings { fs: &fs, env: &|_| None };
    let config = parse(Path::new("/p.yml"), &text, Mode::Server, surroundings);
    config.unwrap_or_else(|e| panic!("{e}\n{text}")).scrape_jobs.remove(0).client
}

fn options() -> Options {
    with_clock(Arc::new(SystemClock))
}

fn with_clock(clock: Arc<dyn Clock>) -> Options {
    Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock,
    }
}

fn client(keys: &str) -> Client {
    Client::new(&config(keys), &options()).unwrap_or_else(|e| panic!("{e}"))
}

/// Generous: nothing here is about how fast a machine is.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(60), body_bytes_max: 1 << 20 };

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).expect("a request")
}

/// Status and body of an answer.
async fn fetch(client: &Client, url: &str) -> Result<(u16, String), Error> {
    let response = client.send(get(url), LIMITS).await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn body(client: &Client, url: &str) -> String {
    fetch(client, url).await.unwrap_or_else(|e| panic!("{e}")).1
}

async fn refusal(client: &Client, url: &str) -> Error {
    fetch(client, url).await.expect_err(url)
}
