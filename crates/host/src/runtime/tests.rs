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

proptest! {
    #[test]
    fn garbage_from_a_runtime_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = cri::message::Sandboxes::decode(&*bytes);
        let _ = containerd::message::Envelope::decode(&*bytes);
        if let (Ok(c), Ok(t)) = (containerd::message::Containers::decode(&*bytes), containerd::message::Tasks::decode(&*bytes)) {
            let _ = containerd::join(c, t);
        }
        if let (Ok(s), Ok(c)) = (cri::message::Sandboxes::decode(&*bytes), cri::message::Containers::decode(&*bytes)) {
            let _ = cri::join("", s, c);
        }
    }
}
