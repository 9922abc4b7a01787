//! Headers, limits, redirects and the words of errors, without encryption.

use hyper::{Response, header::LOCATION};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    server::{Server, status, text},
    *,
};

/// Reads the head of a request.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A server of raw answers, one for each connection.
async fn raw(answers: &'static [&'static [u8]]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            head(&mut stream).await;
            let _ = stream.write_all(answer).await;
        }
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn a_request_says_who_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("token"), "one\n").expect("written");
    std::fs::write(file("header"), "three\n").expect("written");
    let server = Server::plain(|asked| {
        text(format!(
            "{}|{}|{}",
            asked.header("authorization"),
            asked.header("x-a"),
            asked.header("user-agent")
        ))
    })
    .await;
    let url = server.url("http", "/metrics?a=b");

    let bearer = client(&format!(
        "authorization: {{credentials_file: {}}}\nhttp_headers: {{X-A: {{values: [one], secrets: [two], files: [{}]}}}}",
        file("token"),
        file("header")
    ));
    assert_eq!(body(&bearer, &url).await, "Bearer one|one,two,three|Vedette/test");
    std::fs::write(file("token"), "two").expect("written");
    assert_eq!(body(&bearer, &url).await, "Bearer two|one,two,three|Vedette/test");
    assert_eq!(server.connections(), 1, "connections are kept");
    std::fs::remove_file(file("token")).expect("removed");
    let error = refusal(&bearer, &url).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("unable to read file") && error.to_string().contains("token"),
        "{error}"
    );

    let basic = client("basic_auth: {username: u, password: 'p:w'}");
    assert_eq!(body(&basic, &url).await, "Basic dTpwOnc=||Vedette/test");
    let of_url = url.replace("http://", "http://u%40x:p@");
    assert_eq!(body(&client("scheme: http"), &of_url).await, "Basic dUB4OnA=||Vedette/test");
    assert_eq!(body(&basic, &of_url).await, "Basic dTpwOnc=||Vedette/test");
    let other = client("authorization: {type: Token, credentials: x}");
    assert_eq!(body(&other, &url).await, "Token x||Vedette/test");
}

#[tokio::test]
async fn a_deadline_holds_for_head_and_body() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/x", silent.local_addr().expect("an address"));
    let limits = Limits { timeout: Duration::from_millis(50), body_bytes_max: 100 };
    let client = client("scheme: http");
    let error = client.send(get(&url), limits).await.expect_err("silent");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), format!("Get \"{url}\": context deadline exceeded"));

    let half = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/x", half.local_addr().expect("an address"));
    let (hold, held) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = half.accept().await.expect("a connection");
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        let _ = held.await;
    });
    let limits = Limits { timeout: Duration::from_millis(2000), ..limits };
    let mut response = client.send(get(&url), limits).await.expect("a head");
    let mut read = Vec::new();
    let error = response.read(&mut read).await.expect_err("half a body");
    assert_eq!((error.kind(), read.as_slice()), (ErrorKind::Timeout, &b"half"[..]));
    drop(hold);
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let server = Server::plain(|_| text("x".repeat(11))).await;
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nxxxxxx\r\n6\r\nxxxxxx\r\n0\r\n\r\n";
    let liar = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nx";
    let client = client("scheme: http");
    let limits = Limits { body_bytes_max: 10, ..LIMITS };
    let answers: &'static [&'static [u8]] = Box::leak(Box::new([&chunked[..], &liar[..]]));
    let raw = raw(answers).await;
    for url in [&server.url("http", "/"), &raw, &raw] {
        let response = client.send(get(url), limits).await.expect("a head");
        let error = response.bytes().await.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::BodyTooLarge, "{error}");
        assert_eq!(error.to_string(), "body size limit exceeded");
    }
    let limits = Limits { body_bytes_max: 11, ..LIMITS };
    let response = client.send(get(&server.url("http", "/")), limits).await.expect("a head");
    assert_eq!(response.bytes().await.expect("fits").len(), 11);
}

#[tokio::test]
async fn redirects_are_followed_or_not() {
    let inner = Server::plain(|asked| {
        text(format!(
            "{} {} {} {}",
            asked.head.method(),
            asked.head.uri(),
            asked.header("authorization"),
            asked.body
        ))
    })
    .await;
    let elsewhere = inner.url("http", "/end").replace("127.0.0.1", "localhost");
    let there = inner.url("http", "/end");
    let outer = Server::plain(move |asked| {
        let (code, to) = match asked.head.uri().path() {
            "/see" => (303, there.as_str()),
            "/keep" => (307, there.as_str()),
            "/else" => (302, elsewhere.as_str()),
            "/loop" => (302, "/loop"),
            "/odd" => (302, "ftp://x/"),
            _ => return text("here"),
        };
        let mut answer = status(code, "moved");
        answer.headers_mut().insert(LOCATION, to.parse().expect("a value"));
        answer
    })
    .await;
    let url = |path: &str| outer.url("http", path);
    let client_of = |keys: &str| client(&format!("bearer_token: t\n{keys}"));
    let follows = client_of("follow_redirects: true");
    assert_eq!(body(&follows, &url("/see")).await, "GET /end Bearer t ");
    assert_eq!(body(&follows, &url("/else")).await, "GET /end  ", "another host gets no token");
    for (path, method) in [("/see", "GET /end Bearer t "), ("/keep", "POST /end Bearer t body")] {
        let request = Request::post(url(path)).body(Bytes::from("body")).expect("a request");
        let response = follows.send(request, LIMITS).await.expect("an answer");
        assert_eq!(response.bytes().await.expect("a body"), method);
    }
    assert!(refusal(&follows, &url("/loop")).await.to_string().contains("stopped after 10 redirects"));
    assert!(refusal(&follows, &url("/odd")).await.to_string().contains("Location"));
    let stays = client_of("follow_redirects: false");
    assert_eq!(fetch(&stays, &url("/see")).await.expect("an answer"), (303, "moved".to_owned()));
}

#[tokio::test]
async fn what_fails_is_named() {
    let client = client("scheme: http");
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let error = refusal(&client, &format!("http://u:secret@{free}/m")).await;
    assert_eq!(error.kind(), ErrorKind::Connect);
    let expected = format!("Get \"http://u:***@{free}/m\": dial tcp {free}: connect: connection refused");
    assert_eq!(error.to_string(), expected);
    let error = refusal(&client, "http://no-such-host.invalid:9/").await.to_string();
    assert!(error.contains("dial tcp: lookup no-such-host.invalid"), "{error}");
    let url = raw(&[b"SSH-2.0-OpenSSH\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]).await;
    let error = refusal(&client, &url).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("malformed HTTP response"), "{error}");
    let error = refusal(&client, &url).await.to_string();
    assert!(error.ends_with(": EOF"), "{error}");
    let error = refusal(&client, &url).await;
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for _ in 0..2 {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            head(&mut stream).await;
            let _ = stream.write_all(ANSWER).await;
            // The second request on this connection is read and not answered.
            head(&mut stream).await;
        }
    });
    let client = client("scheme: http");
    assert_eq!(body(&client, &url).await, "ok");
    assert_eq!(body(&client, &url).await, "ok");
}

#[tokio::test]
async fn a_socket_in_the_file_system_is_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    Server::unix(&path, |asked| text(format!("{} {}", asked.header("host"), asked.head.uri())));
    let options = Options { unix_socket: Some(path), ..options() };
    let client = Client::new(&config("scheme: http"), &options).expect("a client");
    assert_eq!(body(&client, "http://docker/v1/x?y").await, "docker /v1/x?y");
    let missing = Options { unix_socket: Some(folder.path().join("none")), ..options };
    let client = Client::new(&config("scheme: http"), &missing).expect("a client");
    let error = refusal(&client, "http://docker/").await.to_string();
    assert!(error.contains("dial unix") && error.contains("no such file"), "{error}");
}

#[test]
fn what_no_header_can_hold_is_refused() {
    let error = |keys: &str| Client::new(&config(keys), &options()).err().map(|e| e.to_string());
    assert!(error("http_headers: {'a b': {values: [x]}}").expect("refused").contains("a b"));
    let answer: Response<()> = Response::new(());
    assert_eq!(status_text(answer.status()), "200 OK");
}
