//! Connections from files and surroundings.

use std::path::Path;

use vedette_config::Secret;

use super::*;

const FILE: &str = r"
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c, user: token, namespace: mine}}
- {name: eight, context: {cluster: g, user: extra}}
- {name: nine, context: {cluster: c, user: nobody}}
- {name: two, context: {cluster: d, user: certificate}}
- {name: three, context: {cluster: e, user: both}}
- {name: four, context: {cluster: c, user: exec}}
- {name: five, context: {cluster: none, user: token}}
- {name: six, context: {cluster: f, user: name}}
- {name: seven, context: {cluster: c, user: file}}
clusters:
- {name: c, cluster: {server: 'https://one.example:6443/below', certificate-authority: ca.pem}}
- name: d
  cluster:
    server: https://two.example
    tls-server-name: other.example
    certificate-authority-data: Y2E=
    proxy-url: http://proxy.example:3128
- name: g
  cluster:
    server: https://me:SECRET7@seven.example
    proxy-url: http://me:SECRET8@proxy.example:3128
    extensions: [{name: client.authentication.k8s.io/exec, extension: {key: SECRET9}}]
- {name: e, cluster: {server: 'https://x', insecure-skip-tls-verify: true}}
- {name: f, cluster: {server: 'https://x', insecure-skip-tls-verify: true, certificate-authority: ca.pem}}
users:
- {name: token, user: {token: SECRET1, as: somebody, as-groups: [g, h]}}
- name: extra
  user:
    as: somebody
    as-user-extra: {example.com/Tenant: [a, b], scopes: [x]}
    exec: {apiVersion: client.authentication.k8s.io/v1, command: ./who, provideClusterInfo: true}
- {name: nobody, user: {as-groups: [g]}}
- {name: certificate, user: {client-certificate-data: Y2VydA==, client-key-data: U0VDUkVUMg==}}
- {name: both, user: {token: SECRET3, username: u, password: SECRET4}}
- {name: name, user: {username: u, password: SECRET4}}
- {name: file, user: {token: SECRET1, tokenFile: token}}
- name: exec
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: ./who
      args: [--key, SECRET5]
      env: [{name: A, value: SECRET6}]
      provideClusterInfo: true
";

fn file() -> Kubeconfig {
    let mut file = Kubeconfig::default();
    file.add(Path::new("/etc/k/config"), FILE).expect("sound");
    file
}

fn inline(text: &str) -> SecretSource {
    SecretSource::Inline(Secret::new(text))
}

#[test]
fn a_context_joins_a_cluster_and_a_user() {
    let file = file();
    let one = file.connection(None).expect("the current one");
    assert_eq!(one.server.as_str(), "https://one.example:6443/below");
    assert_eq!((one.client.auth, one.namespace.as_deref()), (bearer(inline("SECRET1")), Some("mine")));
    assert_eq!(
        one.client.tls.ca,
        Some(SecretSource::File("/etc/k/ca.pem".into())),
        "a path begins in the folder"
    );
    let names: Vec<(&str, usize)> = one.client.headers.iter().map(|h| (&*h.name, h.values.len())).collect();
    assert_eq!(names, [("Impersonate-User", 1), ("Impersonate-Group", 2)]);
    assert!(one.client.proxy.from_environment);
    let two = file.connection(Some("two")).expect("another");
    assert_eq!(two.client.tls.identity, Some((inline("cert"), inline("SECRET2"))));
    assert_eq!((two.client.tls.ca, &*two.client.tls.server_name), (Some(inline("ca")), "other.example"));
    assert_eq!(two.client.proxy.url.map(String::from).as_deref(), Some("http://proxy.example:3128/"));
    let seven = file.connection(Some("seven")).expect("a token in a file");
    assert_eq!(seven.client.auth, bearer(SecretSource::File("/etc/k/token".into())), "the file goes first");
    assert!(file.connection(Some("four")).expect("a program").exec.is_some());
    assert_eq!(file.contexts().count(), 9);
}

#[test]
fn whom_one_acts_as_is_told_whole() {
    let eight = file().connection(Some("eight")).expect("a connection");
    let headers = eight.client.headers.iter();
    let headers: Vec<(&str, String)> = headers.map(|h| (&*h.name, h.values.join(","))).collect();
    let expected = [
        ("Impersonate-User", "somebody"),
        // As client-go writes it: the slash may not stand in the name of a header.
        ("Impersonate-Extra-example.com%2FTenant", "a,b"),
        ("Impersonate-Extra-scopes", "x"),
    ];
    assert_eq!(headers, expected.map(|(name, values)| (name, values.to_owned())));
}

#[test]
fn no_secret_is_shown() {
    let file = file();
    let mut shown = format!("{file:?}");
    for context in ["one", "two", "four", "seven", "eight"] {
        let connection = file.connection(Some(context)).expect("sound");
        shown += &format!("{connection:?} {}", connection.address());
    }
    for broken in [
        "users: [{name: u, user: {token: SECRET1, client-key-data: [SECRET2]}}]",
        "users: {SECRET1: SECRET2",
        "users: [{name: u, user: {exec: SECRET5}}]",
    ] {
        shown += &Kubeconfig::default().add(Path::new("f"), broken).expect_err("broken").to_string();
    }
    assert!(!shown.contains("SECRET"), "{shown}");
}

#[test]
fn what_cannot_be_used_is_named() {
    let file = file();
    for (context, words) in [
        ("three", "a token and a name contradict"),
        ("five", "no cluster \"none\""),
        ("six", "insecure-skip-tls-verify"),
        ("nine", "as-groups"),
        ("ten", "no context \"ten\"; there are: one, eight"),
    ] {
        let error = file.connection(Some(context)).expect_err(context).to_string();
        assert!(error.contains(words), "{context}: {error}");
    }
    for (text, words) in
        [("", "names no cluster"), ("clusters: [{name: c}]", "current-context"), ("a: [", "f:1")]
    {
        let mut file = Kubeconfig::default();
        let error = file.add(Path::new("f"), text).and_then(|()| file.connection(None).map(drop));
        let error = error.expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    for (exec, words) in [
        ("{apiVersion: client.authentication.k8s.io/v1alpha1, command: x}", "v1beta1"),
        ("{apiVersion: client.authentication.k8s.io/v1}", "no command"),
        ("{apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}", "terminal"),
    ] {
        let text = format!(
            "{{current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}],
            clusters: [{{name: k, cluster: {{server: 'https://h'}}}}], users: [{{name: u, user: {{exec: {exec}}}}}]}}"
        );
        let mut file = Kubeconfig::default();
        file.add(Path::new("f"), &text).expect("sound");
        let error = file.connection(None).expect_err(exec).to_string();
        assert!(error.contains(words), "{exec}: {error}");
    }
}

#[test]
fn of_several_files_the_first_that_names_something_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let a = write("a", "clusters: [{name: c, cluster: {server: 'https://a'}}]\ncurrent-context: x\n");
    let b = write(
        "b",
        "clusters: [{name: c, cluster: {server: 'https://b'}}]\ncurrent-context: y\n\
         contexts: [{name: x, context: {cluster: c}}]\n",
    );
    let list = std::env::join_paths([&a, &folder.path().join("none"), &b]).expect("paths");
    let list = list.into_string().expect("text");
    let env = |name: &str| (name == "KUBECONFIG").then(|| list.clone());
    let surroundings = Surroundings { env: &env, service_account: folder.path() };
    let found = Connection::found(surroundings, None).expect("a connection");
    assert_eq!(found.server.as_str(), "https://a/");
}

#[test]
fn a_pod_knows_its_own_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let env = |name: &str| match name {
        "KUBERNETES_SERVICE_HOST" => Some("fd00::1".to_owned()),
        "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
        _ => None,
    };
    let surroundings = Surroundings { env: &env, service_account: folder.path() };
    let error = Connection::found(surroundings, None).expect_err("no token").to_string();
    assert!(error.contains("token"), "{error}");
    for (name, text) in [("token", "t"), ("ca.crt", "c"), ("namespace", "mine\n")] {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let found = Connection::found(surroundings, None).expect("a connection");
    assert_eq!(found.server.as_str(), "https://[fd00::1]/");
    assert_eq!(found.namespace.as_deref(), Some("mine"));
    assert_eq!(found.client.auth, bearer(SecretSource::File(folder.path().join("token"))));
    let nowhere = Surroundings { env: &|_| None, service_account: folder.path() };
    assert!(Connection::found(nowhere, None).expect_err("nowhere").to_string().contains("kubeconfig_file"));
}
