//! OAuth 2.0: tokens are kept, renewed, and asked for in the way that the server likes.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature;
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use vedette_sys::ManualClock;

use super::{
    server::{Server, status, text},
    *,
};

/// A server that gives numbered tokens for an hour and logs what it was asked.
async fn giver(in_body: bool) -> (Server, Arc<Mutex<Vec<String>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (seen, count) = (log.clone(), AtomicUsize::new(0));
    let server = Server::plain(move |asked| {
        let authorization = asked.header("authorization");
        seen.lock().expect("a log").push(format!("{authorization} {}", asked.body));
        if in_body != authorization.is_empty() {
            return status(401, "{\"error\": \"invalid_client\"}");
        }
        let number = count.fetch_add(1, Ordering::SeqCst);
        text(format!(
            "{{\"access_token\": \"t{number}\", \"token_type\": \"bearer\", \"expires_in\": \"3600\"}}"
        ))
    })
    .await;
    (server, log)
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_renewed_in_time() {
    let (giver, log) = giver(false).await;
    let server = Server::plain(|asked| match asked.head.uri().path() {
        "/refuse" => status(401, ""),
        _ => text(asked.header("authorization")),
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s").expect("written");
    let clock = ManualClock::at(1_000_000_000);
    let config = config(&format!(
        "oauth2: {{client_id: 'i d', client_secret_file: {}, token_url: '{}', scopes: [a, b], \
         endpoint_params: {{x: 'y z'}}}}",
        secret.display(),
        giver.url("http", "/token")
    ));
    let client = Client::new(&config, &with_clock(Arc::new(clock.clone()))).expect("a client");
    let url = server.url("http", "/");
    let both = tokio::join!(body(&client, &url), body(&client, &url));
    assert_eq!(both, ("Bearer t0".to_owned(), "Bearer t0".to_owned()));
    assert_eq!(
        log.lock().expect("a log").as_slice(),
        [
            // `i+d:s`
            "Basic aStkOnM= grant_type=client_credentials&scope=a+b&x=y+z"
        ]
    );
    clock.advance(Duration::from_secs(3580));
    assert_eq!(body(&client, &url).await, "Bearer t0");
    clock.advance(Duration::from_secs(11));
    assert_eq!(body(&client, &url).await, "Bearer t1");
    // Another secret, or a server that refuses the token, ends it.
    std::fs::write(&secret, "t").expect("written");
    assert_eq!(body(&client, &url).await, "Bearer t2");
    assert_eq!(fetch(&client, &server.url("http", "/refuse")).await.expect("an answer").0, 401);
    assert_eq!(body(&client, &url).await, "Bearer t3");
}

#[tokio::test]
async fn a_server_may_want_the_secret_in_the_body() {
    let (giver, log) = giver(true).await;
    let server = Server::plain(|asked| text(asked.header("authorization"))).await;
    let clock = ManualClock::at(0);
    let config = config(&format!(
        "oauth2: {{client_id: i, client_secret: s, token_url: '{}'}}",
        giver.url("http", "/token")
    ));
    let client = Client::new(&config, &with_clock(Arc::new(clock.clone()))).expect("a client");
    for token in ["Bearer t0", "Bearer t1"] {
        assert_eq!(body(&client, &server.url("http", "/")).await, token);
        clock.advance(Duration::from_secs(4000));
    }
    // What the server likes is found out once.
    let body = " grant_type=client_credentials&client_id=i&client_secret=s";
    assert_eq!(
        log.lock().expect("a log").as_slice(),
        ["Basic aTpz grant_type=client_credentials", body, body]
    );
}

#[tokio::test]
async fn no_token_is_an_error_that_says_why() {
    for (code, answer, words) in [
        (403, "go\naway", "oauth2: cannot fetch token: 403 Forbidden; response: goaway"),
        (200, "{}", "missing access_token"),
        (200, "<html>", "no JSON"),
    ] {
        let giver = Server::plain(move |_| status(code, answer)).await;
        let client = client(&format!(
            "oauth2: {{client_id: i, client_secret: s, token_url: '{}'}}",
            giver.url("http", "/token")
        ));
        let error = refusal(&client, "http://127.0.0.1:9/").await;
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_assertion_is_signed() {
    let (giver, log) = giver(true).await;
    let server = Server::plain(|asked| text(asked.header("authorization"))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key.pem");
    std::fs::write(&key, include_str!("rsa-test-key.pem")).expect("written");
    let config = config(&format!(
        "oauth2: {{client_id: me, grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', \
         client_certificate_key_file: {}, client_certificate_key_id: k1, signature_algorithm: RS384, \
         audience: them, claims: {{extra: [1]}}, scopes: [a], token_url: '{}'}}",
        key.display(),
        giver.url("http", "/token")
    ));
    let clock = ManualClock::at(5_000_000_000);
    let client = Client::new(&config, &with_clock(Arc::new(clock))).expect("a client");
    assert_eq!(body(&client, &server.url("http", "/")).await, "Bearer t0");
    let log = log.lock().expect("a log").clone();
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(log[0].trim().as_bytes()).into_owned().collect();
    assert_eq!(form[0].1, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let parts: Vec<&str> = form[1].1.split('.').collect();
    let plain = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64");
    let json = |part| serde_json::from_slice::<serde_json::Value>(&plain(part)).expect("JSON");
    assert_eq!(json(parts[0]), serde_json::json!({"alg": "RS384", "typ": "JWT", "kid": "k1"}));
    let mut claims = json(parts[1]);
    assert!(claims["jti"].take().as_str().is_some_and(|id| id.len() > 20));
    let expected = serde_json::json!({
        "iss": "me", "sub": "me", "jti": null, "aud": "them", "iat": 5, "exp": 605, "scope": "a", "extra": [1]
    });
    assert_eq!(claims, expected);
    let public = SubjectPublicKeyInfoDer::from_pem_slice(include_bytes!("rsa-test-key.pub")).expect("PEM");
    // The key itself stands behind 24 bytes that say that it is one of RSA.
    let public = signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA384, &public[24..]);
    let signed = format!("{}.{}", parts[0], parts[1]);
    public.verify(signed.as_bytes(), &plain(parts[2])).expect("signed");
}

#[tokio::test]
async fn each_request_is_signed_for_aws_and_no_other_server_gets_a_signature() {
    let other = Server::plain(|asked| text(asked.header("authorization"))).await;
    let away = other.url("http", "/").replace("127.0.0.1", "localhost");
    let server = Server::plain(move |asked| match asked.head.uri().path() {
        "/away" => {
            let mut answer = status(302, "");
            answer.headers_mut().insert(header::LOCATION, away.parse().expect("a header"));
            answer
        }
        _ => text(format!("{} {}", asked.header("x-amz-date"), asked.header("authorization"))),
    })
    .await;
    let clock = ManualClock::at(1_440_938_160_000_000_000);
    let sigv4 = vedette_config::SigV4 {
        region: "us-east-1".into(),
        access_key: "AKIDEXAMPLE".into(),
        secret_key: Some(vedette_config::Secret::new("s")),
        ..vedette_config::SigV4::default()
    };
    let config = HttpClient { auth: Auth::SigV4(Box::new(sigv4)), ..config("") };
    let client = Client::new(&config, &with_clock(Arc::new(clock.clone()))).expect("a client");
    let first = body(&client, &server.url("http", "/")).await;
    let head = "20150830T123600Z AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/aps/aws4_request, \
                SignedHeaders=host;x-amz-date, Signature=";
    assert!(first.starts_with(head), "{first}");
    assert_eq!(body(&client, &server.url("http", "/")).await, first, "the same at the same time");
    clock.advance(Duration::from_secs(1));
    assert_ne!(body(&client, &server.url("http", "/")).await, first);
    assert_eq!(body(&client, &server.url("http", "/away")).await, "");
}
