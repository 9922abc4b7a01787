//! By a proxy: plain, through a tunnel, and SOCKS.

use std::sync::Mutex;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::{
    server::{Authority, Server, server_config, status, text},
    *,
};

/// What proxies were asked for.
type Log = Arc<Mutex<Vec<String>>>;

/// A proxy that opens tunnels to `target` whatever name is asked for, or answers `refusal`.
async fn tunnels(target: String, refusal: Option<&'static str>) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let log = Log::default();
    let seen = log.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            seen.lock().expect("a log").push(String::from_utf8_lossy(&head).into_owned());
            if let Some(refusal) = refusal {
                let _ = stream.write_all(refusal.as_bytes()).await;
                continue;
            }
            let mut inner = TcpStream::connect(&target).await.expect("a target");
            let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut inner).await });
        }
    });
    (address.to_string(), log)
}

#[tokio::test]
async fn a_plain_request_names_the_whole_url_to_the_proxy() {
    let proxy =
        Server::plain(|asked| text(format!("{} {}", asked.head.uri(), asked.header("proxy-authorization"))))
            .await;
    let address = proxy.address;
    let client = client(&format!("proxy_url: http://u:p@{address}\nno_proxy: direct.example,127.0.0.1"));
    assert_eq!(body(&client, "http://far.example:9/m?x").await, "http://far.example:9/m?x Basic dTpw");
    assert_eq!(body(&client, &proxy.url("http", "/m")).await, "/m ", "an exception goes directly");
}

#[tokio::test]
async fn an_encrypted_request_goes_through_a_tunnel() {
    let authority = Authority::new();
    let identity = authority.sign(&["far.example"]);
    let server = Server::tls(server_config(&identity, None, &["h2"]), |asked| {
        text(format!("{:?} {}", asked.head.version(), asked.header("proxy-authorization")))
    })
    .await;
    let (proxy, log) = tunnels(server.address.to_string(), None).await;
    let ca = authority.pem().replace('\n', "\\n");
    let keys = format!("proxy_connect_header: {{X-P: [one, two]}}\ntls_config: {{ca: \"{ca}\"}}");
    let direct = client(&format!("proxy_url: http://u:p@{proxy}\n{keys}"));
    for _ in 0..2 {
        assert_eq!(body(&direct, "https://far.example/").await, "HTTP/2.0 ", "the server sees no proxy");
    }
    let environment =
        ProxyEnvironment { https: Some(format!("http://{proxy}")), ..ProxyEnvironment::default() };
    let options = Options { proxy_environment: environment, ..options() };
    let config = config(&format!("proxy_from_environment: true\n{keys}"));
    let client = Client::new(&config, &options).expect("a client");
    assert_eq!(body(&client, "https://far.example/").await, "HTTP/2.0 ");
    let log = log.lock().expect("a log");
    assert_eq!(log.len(), 2);
    assert!(log[0].starts_with("CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n"), "{log:?}");
    for line in ["user-agent: Vedette/test", "proxy-authorization: Basic dTpw", "x-p: one", "x-p: two"] {
        assert!(log[0].contains(&format!("{line}\r\n")), "{log:?} lacks {line}");
    }
    assert!(!log[1].contains("proxy-authorization"));
}

#[tokio::test]
async fn a_proxy_itself_may_be_encrypted() {
    let authority = Authority::new();
    let identity = authority.sign(&["127.0.0.1"]);
    let proxy = Server::tls(server_config(&identity, None, &["h2", "http/1.1"]), |asked| {
        text(format!("{:?} {}", asked.head.version(), asked.head.uri()))
    })
    .await;
    let ca = authority.pem().replace('\n', "\\n");
    let client = client(&format!("proxy_url: https://{}\ntls_config: {{ca: \"{ca}\"}}", proxy.address));
    assert_eq!(body(&client, "http://far.example/m").await, "HTTP/1.1 http://far.example/m");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named() {
    let refused = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    for (answer, words) in [(refused, "407 Proxy Authentication Required"), ("nonsense\r\n\r\n", "malformed")]
    {
        let (proxy, _) = tunnels(String::new(), Some(answer)).await;
        let client = client(&format!("proxy_url: http://{proxy}"));
        let error = refusal(&client, "https://far.example/").await;
        assert_eq!(error.kind(), ErrorKind::Proxy, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let error =
        refusal(&client(&format!("proxy_url: http://{free}")), "http://far.example/").await.to_string();
    assert!(error.contains("proxyconnect tcp: dial tcp"), "{error}");
    let plain = Server::plain(|_| status(502, "no way")).await;
    let through = client(&format!("proxy_url: http://{}", plain.address));
    assert_eq!(fetch(&through, "http://far.example/").await.expect("an answer").0, 502);
}

/// A SOCKS proxy for one connection: checks the password, tells what was asked for.
async fn socks(target: String, reply: u8) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.expect("a greeting");
        assert_eq!(greeting, [5, 1, 2]);
        stream.write_all(&[5, 2]).await.expect("written");
        let mut login = [0; 5];
        stream.read_exact(&mut login).await.expect("a login");
        assert_eq!(&login, b"\x01\x01u\x01p");
        stream.write_all(&[1, 0]).await.expect("written");
        let mut request = vec![0; 5];
        stream.read_exact(&mut request).await.expect("a request");
        let mut rest = vec![0; usize::from(request[4]) + 2];
        stream.read_exact(&mut rest).await.expect("a name");
        request.extend(rest);
        stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.expect("written");
        if reply == 0 {
            let mut inner = TcpStream::connect(target).await.expect("a target");
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut inner).await });
        }
        request
    });
    (address.to_string(), asked)
}

#[tokio::test]
async fn a_socks_proxy_looks_names_up() {
    let server = Server::plain(|asked| text(asked.head.uri().to_string())).await;
    let (proxy, asked) = socks(server.address.to_string(), 0).await;
    let through = client(&format!("proxy_url: socks5://u:p@{proxy}"));
    assert_eq!(body(&through, "http://far.example:81/m").await, "/m");
    assert_eq!(asked.await.expect("asked"), b"\x05\x01\x00\x03\x0bfar.example\x00\x51");
    let (proxy, _asked) = socks(String::new(), 4).await;
    let through = client(&format!("proxy_url: socks5://u:p@{proxy}"));
    let error = refusal(&through, "http://far.example:81/m").await.to_string();
    assert!(error.contains("host unreachable"), "{error}");
}
