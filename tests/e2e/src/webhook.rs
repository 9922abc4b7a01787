//! A receiver of notifications that can be told to fail.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;

/// An HTTP server on loopback that keeps every JSON body posted to it.
#[derive(Clone)]
pub struct Webhook {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Value>>>,
    status: Arc<AtomicU16>,
}

impl Webhook {
    /// Starts it; it ends with the test.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let hook = Self {
            address: listener.local_addr()?,
            bodies: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
        };
        let server = hook.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        Ok(hook)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What it answers from now on.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Everything that was accepted so far.
    pub fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All alerts in all bodies, as (alertname, status, alert).
    pub fn alerts(&self) -> Vec<(String, String, Value)> {
        let bodies = self.bodies();
        let alerts = bodies.iter().flat_map(|b| b["alerts"].as_array().cloned().unwrap_or_default());
        alerts
            .map(|a| {
                let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
                (text(&a["labels"]["alertname"]), text(&a["status"]), a)
            })
            .collect()
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let status = self.status.load(Ordering::SeqCst);
            if status == 200 {
                self.bodies
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(serde_json::from_slice(&body).ok()?);
            }
            write!(writer, "HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n").ok()?;
        }
    }
}
