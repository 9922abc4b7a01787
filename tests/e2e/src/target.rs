//! A web server whose answers a test writes byte by byte: targets of scrapes, sound and hostile, and lists
//! of targets.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;

/// Starts it; it ends with the test. Each request is answered by what the function writes for its path;
/// whether it gives true says if the connection stays.
pub fn serve(answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Result<SocketAddr> {
    serve_at((Ipv4Addr::LOCALHOST, 0).into(), answer)
}

/// The same at an address that somebody else has chosen.
pub fn serve_at(
    address: SocketAddr,
    answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                // Nobody's test waits for a client that sends nothing.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(300)));
                while let Some(path) = request(&mut stream) {
                    if !answer(&path, &mut stream) {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// Writes a whole answer.
pub fn answer(stream: &mut TcpStream, status: u16, content_type: &str, body: &[u8]) -> bool {
    let head = format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).is_ok()
}

/// The path of the next request.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut bytes = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        head.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8(head).ok()?.split(' ').nth(1).map(str::to_owned)
}
