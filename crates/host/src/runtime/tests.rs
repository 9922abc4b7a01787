mod doubles;
mod faults;
mod peers;

use proptest::prelude::*;
use prost::Message as _;

use super::*;

#[test]
fn pods_are_joined_to_their_containers_and_both_apis_to_one() {
    let sandbox = cri::message::Sandbox {
        id: "s1".into(),
        metadata: Some(cri::message::SandboxMetadata {
            name: "web-0".into(),
            uid: "u".into(),
            namespace: "prod".into(),
        }),
    };
    let container = cri::message::Container {
        id: "c1".into(),
        pod_sandbox_id: "s1".into(),
        metadata: Some(cri::message::ContainerMetadata { name: "app".into(), attempt: 3 }),
        image: Some(cri::message::Image { image: "sha256:1".into(), ..Default::default() }),
        ..Default::default()
    };
    let cri = cri::join(
        "containerd",
        cri::message::Sandboxes { items: vec![sandbox] },
        cri::message::Containers { containers: vec![container] },
        &[],
    );
    let own = |id: &str, image: &str| containerd::message::Container {
        id: id.into(),
        image: image.into(),
        ..Default::default()
    };
    let task = containerd::message::Task { id: "c1".into(), pid: 42, ..Default::default() };
    let mut all = containerd::join(
        containerd::message::Containers { containers: vec![own("c1", "web:1"), own("x", "tool:2")] },
        containerd::message::Tasks { tasks: vec![task] },
        &[],
    );
    merge(&mut all, cri);
    let by = |id: &str| all.iter().find(|c| c.id == id).unwrap();
    let app = by("c1");
    assert_eq!(
        (app.pod.as_str(), app.namespace.as_str(), app.pod_container.as_str()),
        ("web-0", "prod", "app")
    );
    assert_eq!((app.attempt, app.pid, app.image.as_str(), app.sandbox), (Some(3), Some(42), "web:1", false));
    assert!(by("s1").sandbox && by("s1").pod == "web-0");
    assert_eq!((by("x").pod.as_str(), by("x").pid), ("", None));
}

#[test]
fn only_labels_that_are_allowed_come_through_under_names_that_series_can_have() {
    let labels = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<HashMap<_, _>>()
    };
    let all = labels(&[("app.kubernetes.io/name", "web"), ("token", "secret"), ("team", "a")]);
    let through = let_through(&all, &["app.*".to_owned(), "team".to_owned()]);
    let expected = [("container_label_app_kubernetes_io_name", "web"), ("container_label_team", "a")];
    assert_eq!(through, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(let_through(&all, &[]), [], "none by default");
    let many = (0..100).map(|i| (format!("l{i}"), "x".repeat(10_000))).collect();
    let through = let_through(&many, &["*".to_owned()]);
    assert_eq!(through.len(), LABELS_MAX);
    assert!(through.iter().all(|(_, value)| value.len() <= LABEL_CHARS_MAX));
}

#[test]
fn sizes_of_layers_keep_the_age_that_the_runtime_gives_them() {
    let stats = |id: &str, timestamp, bytes: Option<u64>| cri::message::ContainerStats {
        attributes: Some(cri::message::Attributes { id: id.into() }),
        writable_layer: Some(cri::message::FilesystemUsage {
            timestamp,
            used_bytes: bytes.map(|value| cri::message::Number { value }),
            inodes_used: None,
        }),
    };
    let list = cri::message::StatsList {
        stats: vec![
            stats("a", 7, Some(4096)),
            stats("never", 0, Some(0)),
            stats("none", 7, None),
            stats("late", 50, Some(1)),
        ],
    };
    let layers = cri::layers_of(list, 10, vedette_sys::MonotonicTime(100));
    let layer = |bytes, at| Layer { bytes, inodes: None, at: vedette_sys::MonotonicTime(at) };
    assert_eq!(
        layers,
        HashMap::from([("a".to_owned(), layer(4096, 97)), ("late".to_owned(), layer(1, 100))])
    );
}

/// One that does not wait for long.
fn asker(proc_root: &Path, labels: &[&str]) -> Asker {
    Asker {
        proc_root: proc_root.to_owned(),
        timeout: Duration::from_millis(200),
        interval: Duration::from_millis(50),
        retry: Duration::from_millis(10),
        labels: labels.iter().map(|&l| l.to_owned()).collect(),
    }
}

#[test]
fn a_socket_that_hangs_or_is_not_there_is_told_of_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first_told = |path: PathBuf| async {
        let asker = asker(Path::new("/nowhere"), &[]);
        let (tell, mut told) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(ask_on(path, asker, Arc::default(), tell));
        match told.recv().await {
            Some(Told::State { state, .. }) => state,
            other => panic!("{other:?}"),
        }
    };
    runtime.block_on(async {
        // It accepts and says nothing.
        let path = folder.path().join("hangs.sock");
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(first_told(path).await, SocketState::Fails(_)));
        // A file in its place.
        let path = folder.path().join("file.sock");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(first_told(path).await, SocketState::Fails(_)));
        assert_eq!(first_told(folder.path().join("none.sock")).await, SocketState::Absent);
    });
}

proptest! {
    #[test]
    fn garbage_from_a_runtime_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = cri::message::Sandboxes::decode(&*bytes);
        let _ = containerd::message::Envelope::decode(&*bytes);
        if let (Ok(c), Ok(t)) = (containerd::message::Containers::decode(&*bytes), containerd::message::Tasks::decode(&*bytes)) {
            let _ = containerd::join(c, t, &[]);
        }
        if let (Ok(s), Ok(c)) = (cri::message::Sandboxes::decode(&*bytes), cri::message::Containers::decode(&*bytes)) {
            let _ = cri::join("", s, c, &[]);
        }
        let _ = engine::meaning(&bytes);
        if let Ok(listed) = serde_json::from_slice(&bytes) {
            let _ = engine::join("", listed, &[]);
        }
    }
}
