//! Encryption, users, headers and reload of a `web.yml`, asked by real TLS clients.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use vedette_model::status::Health;
use vedette_sys::ManualClock;

use super::{Running, http, start_app, test_app, test_config};
use crate::{Config, Error, Server, WebSettings, WebSource};

/// Who vouches for others.
struct Authority(Issuer<'static, KeyPair>, CertificateDer<'static>, String);

struct Identity {
    chain: CertificateDer<'static>,
    key: Vec<u8>,
    chain_pem: String,
    key_pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no name");
        // Whose issuer has its own name counts as signed by itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signs");
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self(Issuer::new(params, key), der, pem)
    }

    fn vouch(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("signs");
        Identity {
            chain: certificate.der().clone(),
            key: key.serialize_der(),
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

fn client(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&Identity>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.1.clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
            builder.with_client_auth_cert(vec![identity.chain.clone()], key).expect("an identity")
        }
    }
}

async fn connect(address: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The answer to one request, or `None` where the connection ended without.
async fn ask(address: SocketAddr, config: ClientConfig, headers: &str) -> Option<http::Reply> {
    let talk = async {
        let mut stream = connect(address, config).await.ok()?;
        let request =
            format!("GET /-/healthy HTTP/1.1\r\nHost: vedette.example\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(http::Reply {
            status,
            head: head.to_owned(),
            bytes: body.as_bytes().to_vec(),
            body: body.to_owned(),
        })
    };
    tokio::time::timeout(http::PATIENCE, talk).await.expect("an answer or an end")
}

fn login(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// Settings that change under the server.
struct Source(Mutex<Result<WebSettings, String>>);

impl WebSource for Source {
    fn read(&self) -> Result<WebSettings, String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

/// `{users}` stands for one user, alice, with the password `secret`.
fn settings(yaml: &str, identity: &Identity, client_ca: Option<&str>) -> WebSettings {
    let users = format!("basic_auth_users: {{alice: {}}}", bcrypt::hash("secret", 4).expect("hashes"));
    let yaml = yaml.replace("{users}", &users);
    WebSettings {
        config: vedette_config::web::parse(Path::new("web.yml"), &yaml).expect("sound"),
        certificate: identity.chain_pem.clone().into_bytes(),
        key: identity.key_pem.clone().into_bytes(),
        client_ca: client_ca.map(|pem| pem.as_bytes().to_vec()),
    }
}

const TLS: &str = "tls_server_config: {cert_file: c, key_file: k}\n";

async fn serve(config: Config, settings: WebSettings) -> (Running, Arc<Source>) {
    let source = Arc::new(Source(Mutex::new(Ok(settings))));
    let (mut app, folder) = test_app();
    app.web = Some(source.clone());
    (start_app(config, app, folder).await, source)
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

#[tokio::test]
async fn users_come_in_over_an_encrypted_connection() {
    let authority = Authority::new();
    let yaml = format!("{TLS}{{users}}\nhttp_server_config: {{headers: {{X-Frame-Options: sameorigin}}}}\n");
    let (running, _) = serve(test_config(), settings(&yaml, &authority.vouch("localhost"), None)).await;
    let address = running.address;
    for (headers, status) in [
        (String::new(), 401),
        (login("alice", "secret"), 200),
        (login("alice", "secret"), 200),
        (login("alice", "Secret"), 401),
        (login("bob", "secret"), 401),
        ("Authorization: Bearer secret\r\n".to_owned(), 401),
    ] {
        for version in BOTH {
            let reply =
                ask(address, client(&authority, &[version], None), &headers).await.expect("an answer");
            assert_eq!(reply.status, status, "{headers}");
            assert_eq!(reply.header("x-frame-options"), Some("sameorigin"));
            let asks = (status == 401).then_some("Basic");
            assert_eq!(reply.header("www-authenticate"), asks);
        }
    }
    // Pages of others are refused for users too.
    let foreign = format!("{}Sec-Fetch-Site: cross-site\r\n", login("alice", "secret"));
    let reply = ask(address, client(&authority, BOTH, None), &foreign).await.expect("an answer");
    assert_eq!(reply.status, 200, "reading is what a browser forbids by itself");
    let plain = http::raw(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("an answer");
    assert!(plain.status == 400 && plain.body.contains("https://"), "{}", plain.body);
    running.stop().await;
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_wanted() {
    let authority = Authority::new();
    let identity = authority.vouch("localhost");
    for (yaml, protocol) in [
        (TLS.to_owned(), &b"h2"[..]),
        (format!("{TLS}http_server_config: {{http2: false}}\n"), &b"http/1.1"[..]),
    ] {
        let short = Config { header_timeout: Duration::from_secs(1), ..test_config() };
        let (running, _) = serve(short, settings(&yaml, &identity, None)).await;
        let mut config = client(&authority, BOTH, None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = connect(running.address, config).await.expect("connects");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        if protocol == b"h2" {
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.expect("speaks");
            let connection = tokio::spawn(connection);
            let address = format!("https://localhost:{}/-/healthy", running.address.port());
            for _ in 0..3 {
                let request = hyper::Request::get(&address).body(String::new()).expect("a request");
                assert_eq!(sender.send_request(request).await.expect("an answer").status(), 200);
            }
            // A client that asks nothing more is let go.
            let ended = tokio::time::timeout(http::PATIENCE, connection).await;
            assert!(ended.is_ok_and(|ended| ended.is_ok()), "the connection stayed");
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn certificates_of_clients_are_looked_at_as_configured() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = authority.vouch("localhost");
    let (known, unknown) = (authority.vouch("agent.example"), stranger.vouch("agent.example"));
    let other = authority.vouch("other.example");
    let names = ", client_allowed_sans: [x, agent.example]";
    for (kind, more, allowed) in [
        // Nobody, one we know, one we do not, one we know of another name.
        ("NoClientCert", "", [true, true, true, true]),
        ("RequestClientCert", "", [true, true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true, true]),
        ("RequireAnyClientCert", names, [false, true, true, false]),
        ("VerifyClientCertIfGiven", "", [true, true, false, true]),
        ("VerifyClientCertIfGiven", names, [true, true, false, false]),
        ("RequireAndVerifyClientCert", "", [false, true, false, true]),
        ("RequireAndVerifyClientCert", names, [false, true, false, false]),
    ] {
        let ca = if kind == "NoClientCert" { "" } else { ", client_ca_file: ca" };
        let yaml =
            format!("tls_server_config: {{cert_file: c, key_file: k, client_auth_type: {kind}{ca}{more}}}\n");
        let (running, _) = serve(test_config(), settings(&yaml, &server, Some(&authority.2))).await;
        for (identity, allowed) in [None, Some(&known), Some(&unknown), Some(&other)].into_iter().zip(allowed)
        {
            for version in BOTH {
                let reply = ask(running.address, client(&authority, &[version], identity), "").await;
                assert_eq!(reply.is_some(), allowed, "{kind}{more} {}", identity.is_some());
                let expected = if kind == "RequireAndVerifyClientCert" { 200 } else { 421 };
                assert!(reply.is_none_or(|r| r.status == expected), "{kind}");
            }
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn only_the_versions_that_are_configured_are_spoken() {
    let authority = Authority::new();
    let identity = authority.vouch("localhost");
    for (versions, spoken) in [
        ("min_version: TLS13", [false, true]),
        ("max_version: TLS12", [true, false]),
        ("min_version: TLS12", [true, true]),
        (
            "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384], curve_preferences: [CurveP384]",
            [true, true],
        ),
        ("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]", [false, true]),
    ] {
        let yaml = format!("tls_server_config: {{cert_file: c, key_file: k, {versions}}}\n");
        let (running, _) = serve(test_config(), settings(&yaml, &identity, None)).await;
        for (version, spoken) in BOTH.iter().zip(spoken) {
            let stream = connect(running.address, client(&authority, &[version], None)).await;
            assert_eq!(stream.is_ok(), spoken, "{versions} {version:?}");
            if let Ok(stream) = stream
                && versions.contains("P384")
            {
                let group = stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name());
                assert_eq!(group, Some(rustls::NamedGroup::secp384r1));
            }
        }
        running.stop().await;
    }
}

#[test]
fn what_cannot_be_offered_is_refused_by_name() {
    let authority = Authority::new();
    let identity = authority.vouch("localhost");
    let refused = |settings: WebSettings| {
        let source = Arc::new(Source(Mutex::new(Ok(settings))));
        match Server::check(test_config(), Some(source)) {
            Err(Error::Web(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    for (key, words) in [
        ("min_version: TLS10", &["min_version", "TLS12"][..]),
        ("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]", &["cipher_suites", "CBC"]),
        ("curve_preferences: [X25519, CurveP521]", &["curve_preferences", "CurveP521", "CurveP384"]),
        ("client_auth_type: RequireAndVerifyClientCert", &["client_ca_file"]),
    ] {
        let yaml = format!("tls_server_config: {{cert_file: c, key_file: k, {key}}}\n");
        let text = refused(settings(&yaml, &identity, None));
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    let other = authority.vouch("localhost");
    for (certificate, key, word) in [
        (b"".to_vec(), identity.key_pem.clone(), "cert_file"),
        (b"nonsense".to_vec(), identity.key_pem.clone(), "cert_file"),
        (identity.chain_pem.clone().into_bytes(), "nonsense".into(), "key_file"),
        (identity.chain_pem.clone().into_bytes(), other.key_pem, "together"),
    ] {
        let good = settings(TLS, &identity, None);
        let text = refused(WebSettings { certificate, key: key.clone().into_bytes(), ..good });
        assert!(text.contains(word) && !text.contains(&key), "{text}");
    }
}

/// The certificate that the server shows.
async fn shown(address: SocketAddr, authority: &Authority) -> Option<CertificateDer<'static>> {
    let stream = connect(address, client(authority, BOTH, None)).await.ok()?;
    stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone().into_owned())
}

#[tokio::test]
async fn what_changes_is_in_force_for_the_next_connection() {
    let authority = Authority::new();
    let (old, new) = (authority.vouch("localhost"), authority.vouch("localhost"));
    let source = Arc::new(Source(Mutex::new(Ok(settings(TLS, &old, None)))));
    let (mut app, folder) = test_app();
    let clock = Arc::new(ManualClock::at(super::NOW_MS * 1_000_000));
    app.clock = clock.clone();
    app.web = Some(source.clone());
    let status = app.status.clone();
    let running = start_app(test_config(), app, folder).await;
    assert_eq!(shown(running.address, &authority).await, Some(old.chain.clone()));
    let change = |to: Result<WebSettings, String>| {
        *source.0.lock().expect("not poisoned") = to;
        clock.advance(Duration::from_secs(2));
    };
    change(Ok(settings(&format!("{TLS}{{users}}"), &new, None)));
    assert_eq!(shown(running.address, &authority).await, Some(new.chain.clone()));
    let reply = ask(running.address, client(&authority, BOTH, None), "").await.expect("an answer");
    assert_eq!(reply.status, 401);
    // What cannot be used changes nothing and is told.
    let broken = WebSettings { key: b"nonsense".to_vec(), ..settings(TLS, &old, None) };
    for broken in [Ok(broken), Err("cannot read web.yml: gone".to_owned())] {
        change(broken);
        assert_eq!(shown(running.address, &authority).await, Some(new.chain.clone()));
        let part = status.get("web server").expect("posted");
        assert_eq!(part.health, Health::Degraded);
        assert!(part.message.contains("stay in force"), "{}", part.message);
    }
    change(Ok(settings(TLS, &old, None)));
    assert_eq!(shown(running.address, &authority).await, Some(old.chain.clone()));
    assert_eq!(status.get("web server").expect("posted").health, Health::Ok);
    running.stop().await;
}

#[tokio::test]
async fn others_than_this_machine_are_served_only_with_a_login() {
    let authority = Authority::new();
    let identity = authority.vouch("localhost");
    let anywhere = || Config { listen: SocketAddr::from(([0, 0, 0, 0], 0)), ..test_config() };
    let (app, _folder) = test_app();
    let refused = Server::bind(anywhere(), app).map(|_| ()).expect_err("refused").to_string();
    assert!(refused.contains("--web-config"), "{refused}");
    let (mut app, _folder) = test_app();
    app.web = Some(Arc::new(Source(Mutex::new(Ok(settings(TLS, &identity, None))))));
    assert!(Server::bind(anywhere(), app).is_err());
    let source = Arc::new(Source(Mutex::new(Ok(settings("{users}", &identity, None)))));
    let (mut app, folder) = test_app();
    let clock = Arc::new(ManualClock::at(super::NOW_MS * 1_000_000));
    app.clock = clock.clone();
    app.web = Some(source.clone());
    let running = start_app(anywhere(), app, folder).await;
    let address = SocketAddr::from(([127, 0, 0, 1], running.address.port()));
    let named = |host: &str, headers: &str| {
        format!("GET /version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")
    };
    let status = async |headers: &str| {
        http::raw(address, named("vedette.example", headers).as_bytes()).await.expect("an answer").status
    };
    assert_eq!((status("").await, status(&login("alice", "secret")).await), (401, 200));
    // Without users it would be open to all.
    *source.0.lock().expect("not poisoned") = Ok(settings("{}", &identity, None));
    clock.advance(Duration::from_secs(2));
    assert_eq!(status("").await, 401);
    running.stop().await;
}

#[tokio::test]
async fn too_many_and_too_slow_clients_are_turned_away() {
    let authority = Authority::new();
    let yaml = format!("{TLS}rate_limit: {{burst: 2, interval: 1h}}\n");
    let short = Config { header_timeout: Duration::from_millis(50), ..test_config() };
    let (running, _) = serve(short, settings(&yaml, &authority.vouch("localhost"), None)).await;
    // Says nothing, so that nothing can be encrypted.
    let mut silent = TcpStream::connect(running.address).await.expect("connects");
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(http::PATIENCE, silent.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && answer.is_empty());
    // An encrypted connection on which nothing is asked.
    if let Ok(mut mute) = connect(running.address, client(&authority, BOTH, None)).await {
        let ended = tokio::time::timeout(http::PATIENCE, mute.read_to_end(&mut answer)).await;
        assert!(ended.is_ok());
    }
    running.stop().await;
    let (running, _) = serve(test_config(), settings(&yaml, &authority.vouch("localhost"), None)).await;
    let local = "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for status in [200, 200, 429] {
        let mut stream = connect(running.address, client(&authority, BOTH, None)).await.expect("connects");
        stream.write_all(local.as_bytes()).await.expect("sends");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.starts_with(format!("HTTP/1.1 {status}").as_bytes()));
    }
    running.stop().await;
}

#[tokio::test]
async fn curl_comes_in() {
    let authority = Authority::new();
    let (server, agent) = (authority.vouch("localhost"), authority.vouch("agent.example"));
    let yaml = "tls_server_config: {cert_file: c, key_file: k, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca}\n{users}\n";
    let (running, _) = serve(test_config(), settings(yaml, &server, Some(&authority.2))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path
    };
    let port = running.address.port();
    let output = tokio::process::Command::new("curl")
        .args(["-sS", "--http2", "-u", "alice:secret", "-w", " %{http_version} %{http_code}"])
        .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
        .arg("--cacert")
        .arg(file("ca.pem", &authority.2))
        .arg("--cert")
        .arg(file("agent.pem", &agent.chain_pem))
        .arg("--key")
        .arg(file("agent.key", &agent.key_pem))
        .arg(format!("https://localhost:{port}/-/healthy"))
        .stdin(Stdio::null())
        .output()
        .await;
    match output {
        Err(error) => println!("SKIPPED curl: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            // Not every curl speaks HTTP/2.
            assert!(said.starts_with("Vedette is healthy.") && said.ends_with(" 200"), "{said} {complaint}");
        }
    }
    running.stop().await;
}
