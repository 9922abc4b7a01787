//! Against the examples that AWS publishes with the description of the signature: its test suite and
//! the worked example of its documentation.

use std::time::Duration;

use vedette_config::Secret;
use vedette_sys::ManualClock;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z, the time of all examples.
const TIME: u64 = 1_440_938_160;

fn config(service: &str) -> SigV4 {
    SigV4 {
        region: "us-east-1".into(),
        access_key: "AKIDEXAMPLE".into(),
        secret_key: Some(Secret::new(SECRET)),
        service_name: service.into(),
        ..SigV4::default()
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(Duration::from_secs(TIME).as_nanos() as i64))
}

fn nothing(_: &str) -> Option<String> {
    None
}

/// The value of the header `Authorization` that a request gets.
fn signed(service: &str, mut request: Request<Bytes>) -> String {
    let signer = Signer::new(&config(service), &nothing, &clock()).expect("keys");
    signer.sign(&mut request).expect("signed");
    assert_eq!(request.headers()[DATE], "20150830T123600Z");
    request.headers()[AUTHORIZATION].to_str().expect("text").to_owned()
}

#[test]
fn requests_of_the_published_suite_get_their_signatures() {
    for (method, url, signature) in [
        // get-vanilla, get-vanilla-query-order-key-case, post-vanilla
        (
            "GET",
            "https://example.amazonaws.com/",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "https://example.amazonaws.com/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST",
            "https://example.amazonaws.com/",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
    ] {
        let request = Request::builder().method(method).uri(url).body(Bytes::new()).expect("a request");
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        assert_eq!(signed("service", request), expected, "{method} {url}");
    }
}

#[test]
fn the_worked_example_of_the_documentation_comes_out_step_by_step() {
    let mut request = Request::builder()
        .uri("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded;  charset=utf-8 ")
        .header("accept", "not signed")
        .body(Bytes::new())
        .expect("a request");
    let key = signing_key(SECRET, "20150830", "us-east-1", "iam");
    let probe = hex(hmac::sign(&key, b"").as_ref());
    let known = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9";
    let bytes: Vec<u8> =
        (0..32).map(|i| u8::from_str_radix(&known[2 * i..2 * i + 2], 16).expect("hex")).collect();
    let known = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    assert_eq!(probe, hex(hmac::sign(&known, b"").as_ref()), "the key that is derived");
    request.headers_mut().insert(DATE, HeaderValue::from_static("20150830T123600Z"));
    let (canonical, names) = canonical(&request);
    assert_eq!(names, "content-type;host;x-amz-date");
    assert_eq!(
        hash(canonical.as_bytes()),
        "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
    );
    let signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
    assert!(signed("iam", request).ends_with(signature));
}

#[test]
fn the_body_the_port_and_the_path_are_signed() {
    let request = |url: &str, body: &'static str| {
        Request::builder()
            .method("POST")
            .uri(url)
            .body(Bytes::from_static(body.as_bytes()))
            .expect("a request")
    };
    let url = "https://aps.example/workspaces/ws-1/api/v1/remote_write";
    let all = [
        signed("aps", request(url, "a")),
        signed("aps", request(url, "b")),
        signed("aps", request(&url.replace("example", "example:8443"), "a")),
        signed("aps", request(&url.replace("ws-1", "ws-2"), "a")),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    // The port of the scheme is not sent.
    assert_eq!(signed("aps", request(&url.replace("example", "example:443"), "a")), all[0]);
    let (canonical, _) = canonical(&request("http://h:9090/a%20b/c", ""));
    assert!(canonical.starts_with("POST\n/a%2520b/c\n\nhost:h:9090\n"), "{canonical}");
}

#[test]
fn keys_are_found_where_the_tools_of_aws_find_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("credentials");
    let write = |text: &str| std::fs::write(&path, text).expect("written");
    write(
        "# keys\n[default]\naws_access_key_id = D\naws_secret_access_key=s=\n[ team ]\naws_access_key_id=T\n\
         aws_secret_access_key = t\naws_session_token = x/y\n[empty]\naws_access_key_id=\n",
    );
    let file = path.display().to_string();
    let find = |profile: &str, pairs: &[(&str, &str)]| {
        let env = |name: &str| {
            let all = pairs.iter().copied().chain([("AWS_SHARED_CREDENTIALS_FILE", file.as_str())]);
            all.into_iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_owned())
        };
        let config = SigV4 { region: "r".into(), profile: profile.into(), ..SigV4::default() };
        let signer = Signer::new(&config, &env, &clock())?;
        let found = signer.credentials()?;
        Ok::<_, Error>((found.access_key, found.secret_key, found.token.unwrap_or_default()))
    };
    let all = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    let in_env = [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "e"), ("AWS_SESSION_TOKEN", "z")];
    assert_eq!(find("", &[]).expect("default"), all("D", "s=", ""));
    assert_eq!(find("", &in_env).expect("environment"), all("E", "e", "z"));
    assert_eq!(find("team", &in_env).expect("profile"), all("T", "t", "x/y"));
    assert_eq!(find("", &[("AWS_PROFILE", "team")]).expect("profile"), all("T", "t", "x/y"));
    for profile in ["empty", "nobody"] {
        let error = find(profile, &[]).expect_err(profile).to_string();
        assert!(error.contains("has no keys of the profile"), "{error}");
    }
    let none = Signer::new(&SigV4 { region: "r".into(), ..SigV4::default() }, &nothing, &clock());
    assert!(none.err().expect("no keys").to_string().contains("proxy that signs requests"));
    let none = Signer::new(&SigV4::default(), &nothing, &clock());
    assert!(none.err().expect("no region").to_string().contains("AWS_REGION"));
    // A file that changes is read again.
    let env = |name: &str| (name == "AWS_SHARED_CREDENTIALS_FILE").then(|| file.clone());
    let config = SigV4 { region: "r".into(), ..SigV4::default() };
    let signer = Signer::new(&config, &env, &clock()).expect("keys");
    write("[default]\naws_access_key_id=N\naws_secret_access_key=n\n");
    assert_eq!(signer.credentials().expect("keys").access_key, "N");
}

#[test]
fn times_are_written_as_they_are_signed() {
    for (seconds, text) in [
        (0, "19700101T000000Z"),
        (951_782_399, "20000228T235959Z"),
        (951_782_400, "20000229T000000Z"),
        (TIME as i64, "20150830T123600Z"),
        (4_107_542_400, "21000301T000000Z"),
    ] {
        assert_eq!(time_text(seconds), text);
    }
}
