//! Asks name servers.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use vedette_config::discovery::DnsRecord;
use vedette_scrape::discovery::DnsAnswer;
use vedette_sys::Random;

use super::{
    message::{Reply, UDP_BYTES_MAX, question, reply},
    resolv_conf::ResolvConf,
};

/// For one attempt at one server.
const TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 2;
/// Packets that answer something else are passed over, but not for ever.
const FOREIGN_PACKETS_MAX: usize = 16;

/// The records of a name. That no server knows the name is no error, and no records.
pub(super) async fn look_up(
    conf: &ResolvConf,
    name: &str,
    record: DnsRecord,
) -> Result<Vec<DnsAnswer>, String> {
    let mut is_known_to_be_none = true;
    let mut last_error = String::new();
    for full in conf.names(name) {
        match ask_servers(&conf.servers, &full, record).await {
            Ok(Some(answers)) if !answers.is_empty() => return Ok(answers),
            Ok(_) => {}
            Err(error) => {
                is_known_to_be_none = false;
                last_error = error;
            }
        }
    }
    if is_known_to_be_none { Ok(Vec::new()) } else { Err(last_error) }
}

/// What the first server says that says anything; `None` where the name does not exist.
async fn ask_servers(
    servers: &[SocketAddr],
    name: &str,
    record: DnsRecord,
) -> Result<Option<Vec<DnsAnswer>>, String> {
    let mut last_error = "there is no name server".to_owned();
    for server in servers {
        match ask(*server, name, record).await {
            Ok(Reply::Known(answers)) => return Ok(Some(answers)),
            Ok(Reply::NoSuchName) => return Ok(None),
            Ok(Reply::Refused(code)) => last_error = format!("{server} answered {}", code_text(code)),
            Ok(Reply::Truncated) => last_error = format!("{server} gave half an answer by TCP, too"),
            Err(error) => last_error = format!("{server}: {error}"),
        }
    }
    Err(last_error)
}

async fn ask(server: SocketAddr, name: &str, record: DnsRecord) -> Result<Reply, String> {
    let id = u16::try_from(Random::from_system().below(1 << 16)).unwrap_or(0);
    let question = question(id, name, record)
        .ok_or_else(|| format!("{name:?} is no name; its parts have 1 to 63 letters"))?;
    let mut last = "no answer".to_owned();
    for _ in 0..ATTEMPTS {
        match timeout(TIMEOUT, by_udp(server, &question, record)).await {
            Ok(Ok(Reply::Truncated)) => {
                let answer = timeout(TIMEOUT, by_tcp(server, &question, record)).await;
                return answer.unwrap_or_else(|_| Err("i/o timeout".to_owned()));
            }
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => last = error,
            Err(_) => last = "i/o timeout".to_owned(),
        }
    }
    Err(last)
}

async fn by_udp(server: SocketAddr, question: &[u8], record: DnsRecord) -> Result<Reply, String> {
    let own: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let failed = |error: std::io::Error| error.to_string();
    // Each question comes from a port of its own, which a forger would have to guess, too.
    let socket = UdpSocket::bind(own).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(question).await.map_err(failed)?;
    let mut packet = vec![0; usize::from(UDP_BYTES_MAX)];
    for _ in 0..FOREIGN_PACKETS_MAX {
        let length = socket.recv(&mut packet).await.map_err(failed)?;
        if let Some(reply) = reply(&packet[..length], question, record) {
            return Ok(reply);
        }
    }
    Err("it answers something else".to_owned())
}

async fn by_tcp(server: SocketAddr, question: &[u8], record: DnsRecord) -> Result<Reply, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(server).await.map_err(failed)?;
    let mut framed = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    stream.write_all(&framed).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.map_err(failed)?;
    reply(&message, question, record).ok_or_else(|| "it answers something else".to_owned())
}

fn code_text(code: u8) -> String {
    match code {
        1 => "that the question is malformed".to_owned(),
        2 => "that it failed (SERVFAIL)".to_owned(),
        4 => "that it does not know such questions".to_owned(),
        5 => "that it refuses (REFUSED)".to_owned(),
        other => format!("code {other}"),
    }
}
