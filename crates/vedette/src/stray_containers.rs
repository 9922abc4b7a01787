//! Looks for containers of this node that belong to no pod of its cluster.

use std::{sync::Arc, time::Duration};

use vedette_host::ContainerIndex;
use vedette_k8s::{
    SharedWatch, StrayView, Strays, What,
    objects::{Node, Object as _, Pod},
};
use vedette_model::{
    Directory, Host,
    status::{Health, Part, StatusBoard},
};
use vedette_ruler::{DetectionStage, RulerHandle};
use vedette_sys::Clock;

use crate::clusters::Connected;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// After a start, the containers that run are found one after the other, and so are pods.
const SETTLE: Duration = Duration::from_secs(10);

/// What is needed to look.
#[derive(Clone)]
pub struct Looking {
    /// Takes findings.
    pub stage: Arc<DetectionStage>,
    /// Knows findings of before a restart.
    pub ruler: RulerHandle,
    /// The containers that run.
    pub containers: ContainerIndex,
    /// Knows pods.
    pub directory: Directory,
    /// This machine.
    pub host: Arc<Host>,
    /// Its name in the cluster.
    pub node: Arc<str>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it is said how it goes.
    pub status: StatusBoard,
}

/// Looks until the program ends.
pub async fn look(connected: Connected, looking: Looking) {
    let Connected { name, hub, api } = connected;
    let pods: Arc<SharedWatch<Pod>> = hub.watch(&api, What::default());
    let nodes: Arc<SharedWatch<Node>> = hub.watch(&api, What::default());
    let part = format!("containers without pod {name}");
    let mut strays = Strays::default();
    let before = looking.ruler.view().findings.into_iter();
    strays.take_up(before.filter(|finding| finding.labels.get("cluster") == Some(&*name)));
    tokio::time::sleep(SETTLE).await;
    loop {
        let refusal = cannot_judge(&pods, &nodes, &looking.node);
        let (this, cluster) = (looking.clone(), name.clone());
        let may_judge = refusal.is_none();
        let judged = tokio::task::spawn_blocking(move || {
            let now_ns = this.clock.unix_ns();
            let containers = this.containers.all();
            let view = StrayView {
                cluster: &cluster,
                host: &this.host.name,
                containers: &containers,
                pods: &this.directory,
                may_judge,
                now_ns,
            };
            let mut findings = Vec::new();
            strays.judge(&view, &mut findings);
            if let Err(rejected) = this.stage.report(now_ns, findings) {
                tracing::debug!(%rejected, "findings wait for the event store");
            }
            strays
        });
        let Ok(back) = judged.await else { return };
        strays = back;
        let (firing, left_out) = strays.figures();
        let state = refusal.unwrap_or_else(Part::ok);
        looking.status.post(&part, state.fact("findings", firing).fact("left out", left_out));
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why it cannot be judged now.
fn cannot_judge(pods: &SharedWatch<Pod>, nodes: &SharedWatch<Node>, node: &str) -> Option<Part> {
    for (health, what) in [(pods.health(), "pods"), (nodes.health(), "nodes")] {
        let state = health.state();
        if let Some(trouble) = &state.trouble {
            let text = format!("cannot judge: {}", trouble.told(health.resource(), state.is_whole));
            return Some(Part::new(
                Health::Degraded,
                text,
                "See that the API server is reached and tells of pods and nodes.",
            ));
        }
        if !state.is_whole {
            return Some(Part::new(
                Health::Degraded,
                format!("cannot judge yet: the list of {what} is under way"),
                "",
            ));
        }
    }
    if nodes.objects().iter().any(|(_, known, _)| &*known.meta().name == node) {
        return None;
    }
    let text = format!("this machine is no node of the cluster: none is called {node}");
    Some(Part::new(Health::Off, text, "Where it is one by another name, give it as node."))
}
