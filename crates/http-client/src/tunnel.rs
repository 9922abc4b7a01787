//! Through a proxy to a server: HTTP's `CONNECT` and SOCKS 5 (RFC 1928, 1929).

use std::net::IpAddr;

use hyper::header::{HeaderName, PROXY_AUTHORIZATION, USER_AGENT};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Error, ErrorKind, connect::Ways, error::io_text, proxy::Server, stream::Stream};

/// An answer to `CONNECT` with a longer head is none.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Asks an HTTP proxy for a tunnel.
pub(crate) async fn open(
    stream: &mut Stream,
    proxy: &Server,
    host: &str,
    port: u16,
    ways: &Ways,
) -> Result<(), Error> {
    let at = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut head = format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n").into_bytes();
    let mut add = |name: &HeaderName, value: &[u8]| {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    if !ways.tunnel_headers.contains_key(USER_AGENT) {
        add(&USER_AGENT, ways.user_agent.as_bytes());
    }
    if let Some(value) = proxy.authorization()
        && !ways.tunnel_headers.contains_key(PROXY_AUTHORIZATION)
    {
        add(&PROXY_AUTHORIZATION, value.as_bytes());
    }
    for (name, value) in &ways.tunnel_headers {
        add(name, value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.map_err(|e| broken(&e))?;
    stream.flush().await.map_err(|e| broken(&e))?;

    // Byte by byte, as what follows the head belongs to the server; it happens once a connection.
    let mut answer = Vec::with_capacity(256);
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == HEAD_BYTES_MAX {
            return Err(Error::new(ErrorKind::Proxy, "the answer of the proxy to CONNECT is too long"));
        }
        answer.push(stream.read_u8().await.map_err(|e| broken(&e))?);
    }
    let line = answer.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(3, ' ');
    let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !version.starts_with("HTTP/1.") || status.len() != 3 {
        return Err(Error::new(ErrorKind::Proxy, "malformed HTTP response to CONNECT by the proxy"));
    }
    if !status.starts_with('2') {
        // Go's programs say the reason of the status line only.
        let reason = words.next().filter(|reason| !reason.is_empty()).unwrap_or(status);
        let shown: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(Error::new(ErrorKind::Proxy, format!("the proxy answered CONNECT: {status} {shown}")));
    }
    Ok(())
}

/// Asks a SOCKS proxy for a connection. It looks names up itself.
pub(crate) async fn socks5(stream: &mut Stream, proxy: &Server, host: &str, port: u16) -> Result<(), Error> {
    const VERSION: u8 = 5;
    const NO_AUTH: u8 = 0;
    const BY_PASSWORD: u8 = 2;
    let refuse =
        |reason: &str| Error::new(ErrorKind::Proxy, format!("socks connect {host}:{port}: {reason}"));
    let method = if proxy.user.is_some() { BY_PASSWORD } else { NO_AUTH };
    write(stream, &[VERSION, 1, method]).await?;
    if read::<2>(stream).await? != [VERSION, method] {
        return Err(refuse("no acceptable authentication methods"));
    }
    if let Some((name, password)) = &proxy.user {
        let mut request = vec![1];
        for text in [name, password] {
            let length = u8::try_from(text.len()).map_err(|_| refuse("invalid username/password"))?;
            request.push(length);
            request.extend_from_slice(text.as_bytes());
        }
        write(stream, &request).await?;
        if read::<2>(stream).await?[1] != 0 {
            return Err(refuse("username/password authentication failed"));
        }
    }
    let mut request = vec![VERSION, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
        Err(_) => {
            request.push(3);
            request.push(u8::try_from(host.len()).map_err(|_| refuse("FQDN too long"))?);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    write(stream, &request).await?;
    let [version, reply, _, kind] = read::<4>(stream).await?;
    if version != VERSION {
        return Err(refuse("unexpected protocol version"));
    }
    if reply != 0 {
        return Err(refuse(match reply {
            2 => "connection not allowed by ruleset",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "TTL expired",
            7 => "command not supported",
            8 => "address type not supported",
            _ => "general SOCKS server failure",
        }));
    }
    // The address that the proxy uses is of no interest.
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(read::<1>(stream).await?[0]),
        _ => return Err(refuse("unknown address type")),
    };
    let mut rest = vec![0; length + 2];
    stream.read_exact(&mut rest).await.map_err(|e| broken(&e))?;
    Ok(())
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> Result<(), Error> {
    stream.write_all(bytes).await.map_err(|e| broken(&e))?;
    stream.flush().await.map_err(|e| broken(&e))
}

async fn read<const N: usize>(stream: &mut Stream) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|e| broken(&e))?;
    Ok(bytes)
}

fn broken(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Proxy, format!("proxyconnect tcp: {}", io_text(error)))
}
