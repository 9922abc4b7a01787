//! Servers that are encrypted: who we are by a certificate that a program tells, what ends and when, and parts
//! that are asked themselves.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::Handle,
};
use tokio_rustls::TlsAcceptor;
use vedette_config::{Auth, ClientTls, HttpClient, Secret, SecretSource};
use vedette_http_client::{CertificateRole, CertificateTrouble, Options, ProxyEnvironment};
use vedette_k8s::{
    Api, Connection, Error, Hub, Kubeconfig, Timing,
    parts::{self, Endpoints, Parts},
};
use vedette_model::cluster::{ClusterCertificateRole, ClusterPart, PartState};
use vedette_sys::{Clock, ManualClock, SystemClock};

/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(60);

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key in PEM.
struct Identity {
    cert: String,
    key: String,
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(2071, 1, 1);
        Self(CertifiedIssuer::self_signed(params, key()).expect("signed"))
    }

    /// Valid from 2000 to the first day of a year.
    fn sign(&self, name: &str, year: i32) -> Identity {
        let key = key();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        let cert = params.signed_by(&key, &self.0).expect("signed");
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("PEM")
    }
}

/// What was asked: the path, the header `Authorization`, and the certificate of whoever asked.
struct Asked {
    path: String,
    authorization: String,
    client: Option<CertificateDer<'static>>,
}

type Answer = Box<dyn Fn(&Asked) -> (u16, String) + Send + Sync>;

/// An encrypted server that can be changed while it runs.
struct Server {
    address: SocketAddr,
    identity: Arc<Mutex<Arc<ServerConfig>>>,
    answer: Arc<Mutex<Answer>>,
}

fn config(identity: &Identity, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
    Arc::new(builder.with_single_cert(vec![identity.der()], key).expect("fits"))
}

impl Server {
    async fn start(
        config: Arc<ServerConfig>,
        answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (identity, answer) =
            (Arc::new(Mutex::new(config)), Arc::new(Mutex::new(Box::new(answer) as Answer)));
        let (shown, told) = (identity.clone(), answer.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let config = shown.lock().expect("whole").clone();
                let told = told.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { return };
                    let client = stream.get_ref().1.peer_certificates().and_then(|all| all.first().cloned());
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let header = |name: &str| {
                        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                        lines
                            .find(|(known, _)| known.eq_ignore_ascii_case(name))
                            .map(|(_, value)| value.to_owned())
                    };
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    let authorization = header("authorization").unwrap_or_default();
                    let (code, body) = told.lock().expect("whole")(&Asked { path, authorization, client });
                    // One question for each connection, so that each begins with what is shown now.
                    let text = format!(
                        "HTTP/1.1 {code} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(text.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { address, identity, answer }
    }

    fn url(&self) -> url::Url {
        format!("https://{}", self.address).parse().expect("a URL")
    }

    fn show(&self, config: Arc<ServerConfig>) {
        *self.identity.lock().expect("whole") = config;
    }

    fn say(&self, answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) {
        *self.answer.lock().expect("whole") = Box::new(answer);
    }
}

fn options(clock: Arc<dyn Clock>) -> Options {
    Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock,
    }
}

fn inline(text: &str) -> SecretSource {
    SecretSource::Inline(Secret::new(text))
}

/// A connection whose certificate is told by a program: it prints the file `told`, and notes that it ran.
fn by_program(folder: &Path, server: &Server, authority: &Authority) -> Connection {
    let script = format!("cd {} && echo run >> runs && cat told", folder.display());
    std::fs::write(folder.join("ca.pem"), authority.0.pem()).expect("written");
    let text = json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url().as_str(), "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh", "args": ["-c", script]}}}]});
    let mut file = Kubeconfig::default();
    file.add(&folder.join("config"), &text.to_string()).expect("sound");
    file.connection(None).expect("a connection")
}

fn tell(folder: &Path, identity: &Identity, expires: &str) {
    let told = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {
        "clientCertificateData": identity.cert, "clientKeyData": identity.key, "expirationTimestamp": expires}});
    std::fs::write(folder.join("told"), told.to_string()).expect("written");
}

fn runs(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("runs")).unwrap_or_default().lines().count()
}

/// Role, name and end of the certificates in use.
fn told(api: &Api) -> Vec<(CertificateRole, String, i64)> {
    let all = api.certificates().expect("nobody makes any");
    all.into_iter().map(|one| (one.role, one.subject, one.not_after_unix_s)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_a_program_tells_is_shown_and_renewed() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (authority, others) = (Authority::new("cluster-ca"), Authority::new("other-ca"));
    let (one, two, three) =
        (authority.sign("one", 2081), authority.sign("two", 2091), authority.sign("three", 2095));
    let names = [("one", one.der()), ("two", two.der()), ("three", three.der())];
    let names_known = names.clone();
    let server =
        Server::start(config(&authority.sign("kube-apiserver", 2085), Some(&authority)), move |asked| {
            let name = names_known.iter().find(|(_, der)| asked.client.as_ref() == Some(der));
            (200, name.map_or("nobody", |(name, _)| *name).to_owned())
        })
        .await;
    // 2030-01-01; what expires does by the clock that we are handed.
    let clock = ManualClock::at(1_893_456_000_000_000_000);
    let api = Api::new(by_program(folder, &server, &authority), options(Arc::new(clock.clone())));
    let who = async || match api.get("/version", "*/*", SOON).await {
        Ok(answer) => {
            answer.bytes().await.map(|body| String::from_utf8_lossy(&body).into_owned()).expect("a body")
        }
        Err(error) => error.told(),
    };
    tell(folder, &one, "2030-01-01T01:00:00Z");
    assert_eq!((who().await, who().await, runs(folder)), ("one".into(), "one".into(), 1), "it is kept");
    // `date -u -d 2081-01-01 +%s`, and so on.
    let server_shows = (CertificateRole::Server, "kube-apiserver".to_owned(), 3_629_145_600);
    let trusted = (CertificateRole::Authority, "cluster-ca".to_owned(), 3_187_296_000);
    let ours = |name: &str, ends| (CertificateRole::Client, name.to_owned(), ends);
    assert_eq!(told(&api), [server_shows.clone(), trusted.clone(), ours("one", 3_502_915_200)]);

    // What expires is asked for again before the next question.
    tell(folder, &two, "2030-01-02T00:00:00Z");
    clock.advance(Duration::from_secs(3_601));
    assert_eq!((who().await, runs(folder)), ("two".into(), 2));
    assert_eq!(told(&api), [server_shows, trusted, ours("two", 3_818_448_000)]);

    // An API server refuses by 401 what it does not take: the program is asked once more.
    let (refused, taken) = (two.der(), names[2].1.clone());
    server.say(move |asked| match &asked.client {
        Some(der) if *der == refused => (401, "Unauthorized".to_owned()),
        Some(der) if *der == taken => (200, "three".to_owned()),
        _ => (500, String::new()),
    });
    tell(folder, &three, "2030-01-03T00:00:00Z");
    assert_eq!((who().await, runs(folder)), ("three".into(), 3));

    // One that the server's authority did not sign is refused by encryption itself, and named so.
    tell(folder, &others.sign("stranger", 2081), "2030-01-04T00:00:00Z");
    clock.advance(Duration::from_secs(3 * 86_400));
    let error = api.get("/version", "*/*", SOON).await.expect_err("refused");
    let Error::Transport(fault) = &error else { panic!("{}", error.told()) };
    assert_eq!(fault.certificate(), Some(CertificateTrouble::ClientRefused), "{}", error.told());

    // A certificate without its key is none.
    let half = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"clientCertificateData": one.cert}});
    std::fs::write(folder.join("told"), half.to_string()).expect("written");
    clock.advance(Duration::from_secs(86_400));
    let error = who().await;
    assert!(error.contains("a certificate or a key, not both"), "{error}");
}

/// A cluster that is well as far as it is asked; the scheduler wants a token.
fn well(asked: &Asked) -> (u16, String) {
    match asked.path.split('?').next().unwrap_or_default() {
        "/livez" => (200, "[+]ping ok\n[+]etcd ok\nlivez check passed\n".to_owned()),
        "/readyz" => (200, "[+]ping ok\nreadyz check passed\n".to_owned()),
        "/version" => (200, json!({"gitVersion": "v1.36.0"}).to_string()),
        "/healthz" if asked.authorization == "Bearer t" => (200, "ok".to_owned()),
        "/healthz" => (401, "Unauthorized".to_owned()),
        _ => (404, json!({"kind": "Status", "code": 404}).to_string()),
    }
}

async fn wait_part(parts: &Parts, name: &str, holds: impl Fn(&ClusterPart) -> bool) -> ClusterPart {
    let waited = tokio::time::timeout(SOON, async {
        loop {
            let status = parts.status();
            if let Some(part) = status.parts.iter().find(|part| part.part == name && holds(part)) {
                return part.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{name}: {:#?}", parts.status()))
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_parts_are_told_and_what_ended_is_named() {
    let authority = Authority::new("cluster-ca");
    let served = config(&authority.sign("kube-apiserver", 2085), None);
    let (server, scheduler) =
        (Server::start(served.clone(), well).await, Server::start(served.clone(), well).await);
    let tls = ClientTls { ca: Some(inline(&authority.0.pem())), ..ClientTls::default() };
    let auth = Auth::Authorization { scheme: "Bearer".to_owned(), credentials: Some(inline("t")) };
    let options = options(Arc::new(SystemClock));
    let hub = Arc::new(Hub::new(Handle::current(), options.clone(), Timing::default()));
    let client = HttpClient { auth, tls: tls.clone(), ..HttpClient::default() };
    let api = hub.cluster(Connection::to(server.url(), client));
    let endpoints = |part, use_cluster_token, tls: &ClientTls| Endpoints {
        part,
        urls: vec![scheduler.url()],
        client: HttpClient { tls: tls.clone(), ..HttpClient::default() },
        use_cluster_token,
    };
    let asked = parts::Config {
        interval: Duration::from_millis(500),
        timeout: Duration::from_secs(1),
        endpoints: vec![
            endpoints("scheduler", true, &tls),
            endpoints("coredns", false, &tls),
            endpoints("kube-proxy", true, &ClientTls::default()),
        ],
        ..parts::Config::default()
    };
    let parts = Parts::new("c".into());
    let (news, _kept) = tokio::sync::watch::channel(());
    let (shown, watching) = (parts.clone(), hub.clone());
    tokio::spawn(async move { parts::watch(shown, watching, api, asked, &options, news).await });

    let healthy = |part: &ClusterPart| part.state == PartState::Healthy;
    wait_part(&parts, "apiserver", healthy).await;
    wait_part(&parts, "scheduler", healthy).await;
    // Without the token it may not be asked, and without the authority it is not believed: neither is a failure.
    let barred = wait_part(&parts, "coredns", |part| part.cause == "endpoint_barred").await;
    assert_eq!(barred.state, PartState::Unknown, "{barred:?}");
    let foreign = wait_part(&parts, "kube-proxy", |part| part.cause == "endpoint_untrusted").await;
    assert!(foreign.state == PartState::Unknown && foreign.evidence.contains("x509"), "{foreign:?}");
    let certificates = |part: &str| -> Vec<(ClusterCertificateRole, String, i64)> {
        let status = parts.status();
        let all = status.certificates.iter().filter(|one| one.part == part);
        all.map(|one| (one.role, one.subject.clone(), one.not_after_unix_s)).collect()
    };
    let expected = [
        (ClusterCertificateRole::Server, "kube-apiserver".to_owned(), 3_629_145_600),
        (ClusterCertificateRole::Authority, "cluster-ca".to_owned(), 3_187_296_000),
    ];
    assert_eq!(certificates("apiserver"), expected);
    assert_eq!(certificates("scheduler"), expected);
    assert_eq!(certificates("kube-proxy"), expected[..1]);

    // The scheduler says that it is not well.
    scheduler.say(|_| (500, "[+]ping ok\n[-]leaderElection failed: reason withheld\n".to_owned()));
    let failed = wait_part(&parts, "scheduler", |part| part.state == PartState::Failed).await;
    assert_eq!(failed.evidence, "/healthz [-]leaderElection failed: reason withheld");

    // A certificate ends: the refusal is named, with which it was and when it ended.
    server.show(config(&authority.sign("kube-apiserver", 2001), None));
    let ended = wait_part(&parts, "apiserver", |part| part.state == PartState::Failed).await;
    assert_eq!(ended.cause, "certificate_expired", "{ended:?}");
    assert!(ended.evidence.contains("x509: certificate has expired"), "{ended:?}");
    assert!(ended.evidence.contains("kube-apiserver ended at 2001-01-01T00:00:00Z"), "{ended:?}");
    assert!(ended.next_step.contains("kubeadm certs"), "{ended:?}");
    // What is asked itself is told all the same, and what was told of before is told again once it is renewed.
    wait_part(&parts, "scheduler", |part| part.state == PartState::Failed).await;
    server.show(served);
    wait_part(&parts, "apiserver", healthy).await;

    // Credentials that are not believed hide all, and nothing has failed.
    server.say(|_| (401, "Unauthorized".to_owned()));
    let dark = wait_part(&parts, "apiserver", |part| part.state == PartState::Unknown).await;
    assert_eq!((dark.cause, &*dark.evidence), ("credentials", "/livez answers 401: Unauthorized"));
    wait_part(&parts, "etcd", |part| part.cause == "server_unasked").await;
}
