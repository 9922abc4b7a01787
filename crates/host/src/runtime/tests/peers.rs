//! Docker, Podman and CRI-O by their doubles: what each tells, and how seldom it is asked.

use super::{
    doubles::{Double, Reply},
    *,
};

const WEB: &str = "916f7905d3a7ff137481dd06c45bd9a6792d697231bc3e1e331c02b9b899bce3";
const APP: &str = "b7e71eb2e72ea9b1c8e75b6f4ac9b2d5d8f4b7ddfae6d2f7a80cd1d2a4c8f001";
const HOLDER: &str = "c0ffee00e72ea9b1c8e75b6f4ac9b2d5d8f4b7ddfae6d2f7a80cd1d2a4c8f002";

/// A folder with a socket's place and a /proc.
pub(super) struct Place(pub(super) tempfile::TempDir);

impl Place {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.path().join("engine.sock")
    }

    pub(super) fn process(&self, pid: u32, cgroup: &str) {
        let folder = self.0.path().join("proc").join(pid.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
    }

    pub(super) fn asker(&self, labels: &[&str]) -> Asker {
        // Nobody waits for it: it only ends what hangs.
        Asker { timeout: Duration::from_secs(20), ..asker(&self.0.path().join("proc"), labels) }
    }
}

/// What a task tells.
pub(super) struct Heard {
    told: mpsc::Receiver<Told>,
    _tasks: JoinSet<()>,
}

impl Heard {
    pub(super) fn of(socket: PathBuf, asker: Asker) -> Self {
        let (tell, told) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        tasks.spawn(ask_on(socket, asker, Arc::default(), tell));
        Self { told, _tasks: tasks }
    }

    pub(super) async fn until<T>(&mut self, mut wanted: impl FnMut(Told) -> Option<T>) -> T {
        loop {
            let told = tokio::time::timeout(Duration::from_secs(60), self.told.recv()).await;
            if let Some(found) = wanted(told.expect("it tells").expect("the task lives")) {
                return found;
            }
        }
    }

    pub(super) async fn update(&mut self) -> Vec<RuntimeContainer> {
        self.until(|told| if let Told::Update { update, .. } = told { Some(update.containers) } else { None })
            .await
    }

    pub(super) async fn state(&mut self) -> SocketState {
        self.until(|told| if let Told::State { state, .. } = told { Some(state) } else { None }).await
    }
}

pub(super) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("it ends");
    });
}

fn json(text: &str) -> Reply {
    Reply::Json(text.to_owned())
}

fn docker(driver: &str) -> Vec<(&'static str, Reply)> {
    let version = r#"{"Version":"20.10.24","ApiVersion":"1.41","Components":[{"Name":"Engine","Version":"20.10.24","Details":{"ApiVersion":"1.41"}}]}"#;
    let list = format!(
        r#"[{{"Id":"{WEB}","Names":["/web/db","/web"],"Image":"local/bb:1","ImageID":"sha256:43","Command":"sh","Created":1,"Ports":[],"SizeRw":3145728,"Labels":{{"team":"a","token":"secret"}},"State":"running","Mounts":[]}},
           {{"Id":"{APP}","Names":["/k8s_app_web-0"],"Image":"sha256:1","Labels":{{"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"prod","io.kubernetes.pod.uid":"u","io.kubernetes.container.name":"app","io.kubernetes.docker.type":"container"}}}},
           {{"Id":"{HOLDER}","Names":null,"Image":"pause","Labels":{{"io.kubernetes.pod.name":"web-0","io.kubernetes.docker.type":"podsandbox","io.kubernetes.container.name":"POD"}}}},
           {{"Id":"../../images","Names":["/evil"],"Image":"","Labels":null}}]"#
    );
    vec![
        ("/version", json(version)),
        ("/info", Reply::Json(format!(r#"{{"Driver":"{driver}"}}"#))),
        ("/containers/json", Reply::Json(list)),
    ]
}

fn inspected(double: &Double, id: &str, pid: u32) {
    let text = format!(r#"{{"Id":"{id}","State":{{"Status":"running","Pid":{pid}}},"RestartCount":2}}"#);
    double.replies.lock().insert(format!("/containers/{id}/json"), Reply::Json(text));
}

#[test]
fn docker_tells_names_images_pods_and_processes_and_is_asked_for_each_process_once() {
    run(async {
        let place = Place::new();
        place.process(42, &format!("/docker/{WEB}"));
        // Its number belongs to another by now.
        place.process(43, "/user.slice");
        let double = Double::start(&place.socket(), &docker("overlay2"));
        inspected(&double, WEB, 42);
        inspected(&double, APP, 43);
        let mut heard = Heard::of(place.socket(), place.asker(&["team"]));
        let containers = heard.update().await;
        assert_eq!(containers.len(), 3, "an id that is a path is no container: {containers:?}");
        let web = &containers[0];
        assert_eq!(
            (web.runtime.as_str(), web.name.as_str(), web.image.as_str()),
            ("docker", "web", "local/bb:1")
        );
        assert_eq!(web.labels, [("container_label_team".to_owned(), "a".to_owned())]);
        assert_eq!((web.pid, web.cgroup.clone()), (Some(42), Some(format!("/docker/{WEB}"))));
        let app = &containers[1];
        assert_eq!((app.pod.as_str(), app.namespace.as_str(), app.pod_uid.as_str()), ("web-0", "prod", "u"));
        assert_eq!((app.pod_container.as_str(), app.name.as_str()), ("app", "k8s_app_web-0"));
        assert_eq!((app.pid, &app.cgroup, app.sandbox), (None, &None, false));
        assert!(
            containers[2].sandbox && containers[2].pod_container == "POD" && containers[2].name.is_empty()
        );

        let inspect = format!("/containers/{WEB}/json");
        heard.update().await;
        heard.update().await;
        assert_eq!(double.asked(&inspect), 1, "a process is asked for once");
        // It was started again.
        std::fs::remove_dir_all(place.0.path().join("proc/42")).unwrap();
        place.process(44, &format!("/docker/{WEB}"));
        inspected(&double, WEB, 44);
        heard
            .until(|told| match told {
                Told::Update { update, .. } => (update.containers[0].pid == Some(44)).then_some(()),
                _ => None,
            })
            .await;
        assert_eq!(double.asked("/containers/json?size=true"), 0, "we count overlays ourselves");
    });
}

#[test]
fn docker_s_events_are_told_at_once_and_their_end_begins_a_new_session() {
    run(async {
        let place = Place::new();
        let double = Double::start(&place.socket(), &docker("overlay2"));
        // Nothing but events wakes it.
        let asker = Asker { interval: Duration::from_secs(600), ..place.asker(&[]) };
        let mut heard = Heard::of(place.socket(), asker);
        heard.update().await;
        let event = |action: &str| {
            format!(
                r#"{{"status":"{action}","Type":"container","Action":"{action}","Actor":{{"ID":"{WEB}","Attributes":{{}}}}}}"#
            )
        };
        for line in ["{", "", &event("exec_create: sh"), &event("oom")] {
            double.events.send(line.to_owned()).await.unwrap();
        }
        let oom = heard
            .until(
                |told| if let Told::OomKill { container_id, .. } = told { Some(container_id) } else { None },
            )
            .await;
        assert_eq!(oom, WEB);
        double.events.send(event("die")).await.unwrap();
        let ended = heard
            .until(|told| if let Told::Exit { container_id } = told { Some(container_id) } else { None })
            .await;
        assert_eq!(ended, WEB);
        heard.update().await;
        double.events.send(event("start")).await.unwrap();
        heard.update().await;
        drop(double);
        assert!(matches!(heard.state().await, SocketState::Fails(_)));
        let _double = Double::start(&place.socket(), &docker("overlay2"));
        heard.update().await;
    });
}

#[test]
fn sizes_of_layers_are_asked_for_where_only_the_engine_can_tell() {
    run(async {
        let place = Place::new();
        let _double = Double::start(&place.socket(), &docker("btrfs"));
        let mut heard = Heard::of(place.socket(), place.asker(&[]));
        let layers =
            heard.until(|told| if let Told::Layers(layers) = told { Some(layers) } else { None }).await;
        assert_eq!(layers.get(WEB).map(|layer| layer.bytes), Some(3_145_728));
        assert_eq!(layers.len(), 1, "of the others it tells nothing");
    });
}

#[test]
fn podman_tells_of_pods_by_its_own_interface() {
    run(async {
        let place = Place::new();
        let scope = |id: &str| format!("/machine.slice/libpod-{id}.scope/container");
        place.process(42, &scope(APP));
        let list = format!(
            r#"[{{"AutoRemove":false,"Id":"{APP}","Image":"docker.io/local/bb:1","IsInfra":false,"Labels":null,"Mounts":[],"Names":["shop-web"],"Namespaces":{{}},"Networks":[],"Pid":42,"Pod":"f00","PodName":"shop","Ports":null,"Size":{{"rootFsSize":9,"rwSize":77}},"State":"running"}},
               {{"Id":"{HOLDER}","Names":["shop-infra"],"IsInfra":true,"Pid":0,"Pod":"f00","PodName":"shop"}}]"#
        );
        let replies = [
            (
                "/version",
                json(
                    r#"{"Version":"4.3.1","ApiVersion":"1.41","Components":[{"Name":"Podman Engine","Version":"4.3.1","Details":{"APIVersion":"4.3.1","MinAPIVersion":"4.0.0"}},{"Name":"Conmon"}]}"#,
                ),
            ),
            ("/info", json(r#"{"Driver":"vfs"}"#)),
            ("/v4.3.1/libpod/containers/json", Reply::Json(list)),
        ];
        let _double = Double::start(&place.socket(), &replies);
        let mut heard = Heard::of(place.socket(), place.asker(&[]));
        assert_eq!(heard.state().await, SocketState::Answers("podman 4.3.1".into()));
        let containers = heard.update().await;
        let app = &containers[0];
        assert_eq!(
            (app.runtime.as_str(), app.name.as_str(), app.pod.as_str()),
            ("podman", "shop-web", "shop")
        );
        assert_eq!((app.pod_container.as_str(), app.pod_uid.as_str()), ("shop-web", "f00"));
        assert_eq!((app.pid, app.cgroup.clone()), (Some(42), Some(scope(APP))));
        assert!(containers[1].sandbox && containers[1].pod_container == "POD" && containers[1].pid.is_none());
        let layers =
            heard.until(|told| if let Told::Layers(layers) = told { Some(layers) } else { None }).await;
        assert_eq!(layers.get(APP).map(|layer| layer.bytes), Some(77));
    });
}

pub(super) fn crio() -> Vec<(&'static str, Reply)> {
    let version = cri::message::Version { runtime_name: "cri-o".into(), runtime_version: "1.34.1".into() };
    let sandbox = cri::message::Sandbox {
        id: HOLDER.into(),
        metadata: Some(cri::message::SandboxMetadata {
            name: "web-0".into(),
            uid: "u".into(),
            namespace: "prod".into(),
        }),
    };
    let container = cri::message::Container {
        id: APP.into(),
        pod_sandbox_id: HOLDER.into(),
        metadata: Some(cri::message::ContainerMetadata { name: "app".into(), attempt: 1 }),
        image: Some(cri::message::Image { image: "43f7".into(), ..Default::default() }),
        ..Default::default()
    };
    let stats = cri::message::StatsList {
        stats: vec![cri::message::ContainerStats {
            attributes: Some(cri::message::Attributes { id: APP.into() }),
            writable_layer: Some(cri::message::FilesystemUsage {
                timestamp: 7,
                used_bytes: Some(cri::message::Number { value: 4096 }),
                inodes_used: None,
            }),
        }],
    };
    let service =
        |name: &str| -> &'static str { Box::leak(format!("/runtime.v1.RuntimeService/{name}").into()) };
    vec![
        (service("Version"), Reply::grpc(&version)),
        (service("ListPodSandbox"), Reply::grpc(&cri::message::Sandboxes { items: vec![sandbox] })),
        (service("ListContainers"), Reply::grpc(&cri::message::Containers { containers: vec![container] })),
        (service("ListContainerStats"), Reply::grpc(&stats)),
    ]
}

#[test]
fn crio_is_asked_by_cri_and_once_for_each_container_by_its_own_interface() {
    run(async {
        let place = Place::new();
        place.process(42, &format!("/kubepods.slice/crio-{APP}.scope"));
        let double = Double::start(&place.socket(), &crio());
        let info = format!("/containers/{APP}");
        let text = r#"{"name":"k8s_app_web-0_prod_u_1","pid":42,"image":"quay.io/web:1","image_ref":"quay.io/web@sha256:1","created_time":1,"labels":{},"annotations":{},"crio_annotations":{},"log_path":"/l","root":"/r","sandbox":"s","ip_addresses":["10.0.0.1"]}"#;
        double.replies.lock().insert(info.clone(), json(text));
        let mut heard = Heard::of(place.socket(), place.asker(&[]));
        assert_eq!(heard.state().await, SocketState::Answers("cri-o 1.34.1".into()));
        let containers = heard.update().await;
        let app = containers.iter().find(|c| c.id == APP).unwrap();
        assert_eq!((app.runtime.as_str(), app.name.as_str()), ("cri-o", "k8s_app_web-0_prod_u_1"));
        assert_eq!((app.pod.as_str(), app.pod_container.as_str(), app.attempt), ("web-0", "app", Some(1)));
        assert_eq!((app.image.as_str(), app.pid), ("quay.io/web:1", Some(42)));
        assert_eq!(app.cgroup, Some(format!("/kubepods.slice/crio-{APP}.scope")));
        let holder = containers.iter().find(|c| c.id == HOLDER).unwrap();
        assert!(holder.sandbox && holder.pid.is_none(), "it has none of its own: {holder:?}");
        let layers =
            heard.until(|told| if let Told::Layers(layers) = told { Some(layers) } else { None }).await;
        assert_eq!(layers.get(APP).map(|layer| layer.bytes), Some(4096));
        heard.update().await;
        heard.update().await;
        assert_eq!((double.asked(&info), double.asked(&format!("/containers/{HOLDER}"))), (1, 1));
    });
}

#[test]
fn a_runtime_is_recognized_by_what_it_speaks_and_not_by_the_name_of_its_socket() {
    run(async {
        for (name, replies, version) in [
            ("docker.sock", crio(), "cri-o 1.34.1"),
            ("containerd.sock", docker("overlay2"), "docker 20.10.24"),
        ] {
            let place = Place::new();
            let socket = place.0.path().join(name);
            let _double = Double::start(&socket, &replies);
            let mut heard = Heard::of(socket, place.asker(&[]));
            assert_eq!(heard.state().await, SocketState::Answers(version.into()), "{name}");
        }
    });
}
