//! Trust, client certificates and HTTP/2.

use super::{
    server::{Authority, Identity, Server, self_signed, server_config, text},
    *,
};

fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

async fn serve(identity: &Identity, clients: Option<&Authority>, protocols: &[&str]) -> Server {
    let config = server_config(identity, clients, protocols);
    Server::tls(config, |asked| text(format!("{:?}", asked.head.version()))).await
}

#[tokio::test]
async fn only_whom_one_trusts_is_spoken_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let server = serve(&authority.sign(&["localhost", "127.0.0.1"]), None, &["h2", "http/1.1"]).await;
    let url = server.url("https", "/");
    let ca = write(&folder, "ca.pem", &authority.pem());

    assert_eq!(body(&client(&format!("tls_config: {{ca_file: {ca}}}")), &url).await, "HTTP/2.0");
    let without = client(&format!("enable_http2: false\ntls_config: {{ca_file: {ca}}}"));
    assert_eq!(body(&without, &url).await, "HTTP/1.1");
    let inline = authority.pem().replace('\n', "\\n");
    let inline = client(&format!("tls_config: {{ca: \"{inline}\", min_version: TLS13}}"));
    assert_eq!(body(&inline, &url).await, "HTTP/2.0");
    let careless = client("tls_config: {insecure_skip_verify: true, max_version: TLS12}");
    assert_eq!(body(&careless, &url).await, "HTTP/2.0");

    let error = refusal(&client("scheme: https"), &url).await;
    assert_eq!(error.kind(), ErrorKind::Tls);
    let unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(error.to_string(), format!("Get \"{url}\": {unknown}"));
    let named = client(&format!("tls_config: {{ca_file: {ca}, server_name: other.example}}"));
    let error = refusal(&named, &url).await.to_string();
    assert!(error.contains("certificate is valid for") && error.contains("not other.example"), "{error}");
    let named = client(&format!("tls_config: {{ca_file: {ca}, server_name: localhost}}"));
    assert_eq!(body(&named, &url).await, "HTTP/2.0");

    let plain = Server::plain(|_| text("")).await;
    let error = refusal(&careless, &plain.url("https", "/")).await.to_string();
    assert!(error.contains("server gave HTTP response to HTTPS client"), "{error}");
}

#[tokio::test]
async fn a_list_of_trust_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Authority::new(), Authority::new());
    let server = serve(&old.sign(&["127.0.0.1"]), None, &[]).await;
    let url = server.url("https", "/");
    let ca = write(&folder, "ca.pem", &old.pem());
    let client = client(&format!("tls_config: {{ca_file: {ca}}}"));
    for _ in 0..2 {
        assert_eq!(body(&client, &url).await, "HTTP/1.1");
    }
    assert_eq!(server.connections(), 1, "nothing changed");
    // Connections that are open do not outlive the trust that they were made by.
    write(&folder, "ca.pem", &new.pem());
    assert!(refusal(&client, &url).await.to_string().contains("unknown authority"));
    write(&folder, "ca.pem", "nothing");
    assert!(refusal(&client, &url).await.to_string().contains("no certificate in"));
    write(&folder, "ca.pem", &old.pem());
    assert_eq!(body(&client, &url).await, "HTTP/1.1");
}

#[tokio::test]
async fn a_client_has_a_certificate_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let server = serve(&servers.sign(&["127.0.0.1"]), Some(&clients), &[]).await;
    let url = server.url("https", "/");
    let ca = write(&folder, "ca.pem", &servers.pem());
    let nobody = client(&format!("tls_config: {{ca_file: {ca}}}"));
    let error = refusal(&nobody, &url).await.to_string();
    assert!(error.contains("remote error: tls: certificate required"), "{error}");

    let stranger = others.sign(&["x"]);
    let (cert, key) = (write(&folder, "c.pem", &stranger.cert), write(&folder, "k.pem", &stranger.key));
    let client = client(&format!("tls_config: {{ca_file: {ca}, cert_file: {cert}, key_file: {key}}}"));
    let error = refusal(&client, &url).await.to_string();
    assert!(error.contains("remote error: tls:"), "{error}");
    let known = clients.sign(&["x"]);
    write(&folder, "c.pem", &known.cert);
    let error = refusal(&client, &url).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}: the key is not yet that of the certificate");
    write(&folder, "k.pem", &known.key);
    assert_eq!(body(&client, &url).await, "HTTP/1.1");
}

#[tokio::test]
async fn certificates_in_use_are_told_also_where_they_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = serve(&servers.sign_until(&["127.0.0.1"], 2091), Some(&clients), &[]).await;
    let url = server.url("https", "/");
    let uri: Uri = url.parse().expect("a URL");
    let known = clients.sign_until(&["x"], 2081);
    let (ca, cert, key) = (
        write(&folder, "ca.pem", &servers.pem()),
        write(&folder, "c.pem", &known.cert),
        write(&folder, "k.pem", &known.key),
    );
    let keys = format!("tls_config: {{ca_file: {ca}, cert_file: {cert}, key_file: {key}}}");
    let told = |client: &Client| -> Vec<(CertificateRole, i64)> {
        client.certificates(&uri).into_iter().map(|one| (one.role, one.not_after_unix_s)).collect()
    };
    // `date -u -d 2091-01-01 +%s`, and so on; authorities of the tests end in 4096.
    let (client_ends, server_ends) = (3_502_915_200, 3_818_448_000);
    let (ours, trusted) =
        ((CertificateRole::Client, client_ends), (CertificateRole::Authority, 67_090_118_400));
    let trusting = client(&keys);
    assert_eq!(told(&trusting), [trusted, ours], "the server has shown nothing yet");
    assert_eq!(body(&trusting, &url).await, "HTTP/1.1");
    assert_eq!(told(&trusting), [(CertificateRole::Server, server_ends), trusted, ours]);
    assert!(trusting.certificates(&"http://127.0.0.1/".parse().expect("a URL")).is_empty());
    // Whoever does not look at them has seen them all the same.
    let careless = client("tls_config: {insecure_skip_verify: true}");
    let error = refusal(&careless, &url).await;
    assert_eq!(error.certificate(), Some(CertificateTrouble::ClientRefused), "{error}");
    assert_eq!(told(&careless), [(CertificateRole::Server, server_ends)]);

    let ended = serve(&servers.sign_until(&["127.0.0.1"], 2001), None, &[]).await;
    let error = refusal(&trusting, &ended.url("https", "/")).await;
    assert_eq!(error.certificate(), Some(CertificateTrouble::ServerOutdated), "{error}");
    assert!(error.to_string().contains("x509: certificate has expired"), "{error}");
    assert_eq!(told(&trusting)[0], (CertificateRole::Server, 978_307_200));
    let error = refusal(&client("scheme: https"), &url).await;
    assert_eq!(error.certificate(), Some(CertificateTrouble::ServerDistrusted), "{error}");
    assert_eq!(refusal(&trusting, "http://127.0.0.1:1/").await.certificate(), None);
}

#[tokio::test]
async fn a_certificate_that_is_itself_the_list_of_trust_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = self_signed("localhost");
    let server = serve(&own, None, &[]).await;
    let ca = write(&folder, "ca.pem", &own.cert);
    let client_of = |name: &str| client(&format!("tls_config: {{ca_file: {ca}, server_name: {name}}}"));
    assert_eq!(body(&client_of("localhost"), &server.url("https", "/")).await, "HTTP/1.1");
    // Its name must fit all the same, and no other certificate of the kind will do.
    let error = refusal(&client_of("elsewhere"), &server.url("https", "/")).await.to_string();
    assert!(error.contains("not elsewhere"), "{error}");
    let other = serve(&self_signed("localhost"), None, &[]).await;
    let error = refusal(&client_of("localhost"), &other.url("https", "/")).await;
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
}

#[test]
fn what_cannot_be_used_is_told_when_the_client_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let pem = Authority::new().sign(&["x"]);
    let cert = write(&folder, "c.pem", &pem.cert);
    for (keys, words) in [
        ("tls_config: {ca_file: /nowhere/ca.pem}".to_owned(), "unable to read file /nowhere/ca.pem"),
        ("tls_config: {ca: nothing}".to_owned(), "no certificate"),
        (format!("tls_config: {{cert_file: {cert}, key_file: {cert}}}"), "private key"),
        ("tls_config: {max_version: TLS11}".to_owned(), "TLS12"),
    ] {
        let error = Client::new(&config(&keys), &options()).err().expect("refused").to_string();
        assert!(error.contains(words), "{error}");
    }
}
