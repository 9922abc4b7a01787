//! Looks for containers of this node that belong to no pod of its cluster.

use std::{sync::Arc, time::Duration};

use vedette_host::ContainerIndex;
use vedette_k8s::{
    Api, NodePods, Pods, SharedWatch, StrayView, Strays, What,
    objects::{Node, Pod},
};
use vedette_model::{
    Directory, Host,
    status::{Health, Part, StatusBoard},
};
use vedette_ruler::{DetectionStage, RulerHandle};
use vedette_sys::{Clock, MonotonicTime};

use crate::clusters::Connected;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// After a start, the containers that run are found one after the other, and so are pods.
const SETTLE: Duration = Duration::from_secs(10);
/// Between two questions for the pods of this node, however many findings wait for the answer.
const ASK_PAUSE: Duration = Duration::from_secs(5);

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
    let mut asking = Asking { api, cluster: name.clone(), last: None, doubt: None };
    tokio::time::sleep(SETTLE).await;
    loop {
        let asked = asking.ask(strays.due(), &looking).await;
        let node = node(&pods, &nodes, &looking.node);
        let (this, cluster, watched) = (looking.clone(), name.clone(), pods.clone());
        let (may_judge, kubelet_tells) = (node.is_ok(), node.as_ref().is_ok_and(|tells| *tells));
        let judged = tokio::task::spawn_blocking(move || {
            let now_ns = this.clock.unix_ns();
            let containers = this.containers.all();
            let mut findings = Vec::new();
            let there = watched.objects();
            let view = StrayView {
                cluster: &cluster,
                host: &this.host.name,
                node: &this.node,
                containers: &containers,
                pods: Pods { who: &this.directory, there: &there },
                asked: asked.as_ref(),
                may_judge,
                kubelet_tells,
                now_ns,
            };
            strays.judge(&view, &mut findings);
            // The watch waits as long as its objects are read.
            drop(there);
            if let Err(rejected) = this.stage.report(now_ns, findings) {
                tracing::debug!(%rejected, "findings wait for the event store");
            }
            strays
        });
        let Ok(back) = judged.await else { return };
        strays = back;
        let (firing, left_out) = strays.figures();
        let state = node.err().or_else(|| asking.part(strays.due())).unwrap_or_else(Part::ok);
        let state = state.fact("findings", firing).fact("left out", left_out);
        looking.status.post(&part, state.fact("waiting for the API server", strays.due()));
        // What is due is told as soon as it is known to be so.
        if strays.due() == 0 || !asking.may_ask(&looking) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Asks the API server before a finding begins: what a watch tells may be old without anybody knowing.
struct Asking {
    api: Arc<Api>,
    cluster: Arc<str>,
    last: Option<MonotonicTime>,
    /// Why there was no answer the last time.
    doubt: Option<String>,
}

impl Asking {
    fn may_ask(&self, looking: &Looking) -> bool {
        self.last.is_none_or(|last| looking.clock.monotonic().since(last) >= ASK_PAUSE)
    }

    /// The pods of this node, if findings are due and it is time to ask.
    async fn ask(&mut self, due: usize, looking: &Looking) -> Option<NodePods> {
        if due == 0 || !self.may_ask(looking) {
            return None;
        }
        self.last = Some(looking.clock.monotonic());
        let now_ns = looking.clock.unix_ns();
        let answer = NodePods::ask(&self.api, self.cluster.clone(), &looking.node, now_ns).await;
        self.doubt = answer.as_ref().err().map(vedette_k8s::Error::told);
        answer.ok()
    }

    fn part(&self, due: usize) -> Option<Part> {
        let doubt = self.doubt.as_ref().filter(|_| due > 0)?;
        Some(Part::new(
            Health::Degraded,
            format!(
                "cannot judge: the watch knows no pod of {due} containers, and the API server does not say: {doubt}"
            ),
            "See that the API server is reached and can read its store. Until it answers, no finding begins.",
        ))
    }
}

/// Whether the kubelet of this node tells how its containers are, or why it cannot be judged now.
fn node(pods: &SharedWatch<Pod>, nodes: &SharedWatch<Node>, node: &str) -> Result<bool, Part> {
    for (health, what) in [(pods.health(), "pods"), (nodes.health(), "nodes")] {
        if let Some(trouble) = health.told() {
            return Err(Part::new(
                Health::Degraded,
                format!("cannot judge: {trouble}"),
                "See that the API server is reached and tells of pods and nodes.",
            ));
        }
        if !health.state().is_whole {
            let text = format!("cannot judge yet: the list of {what} is under way");
            return Err(Part::new(Health::Degraded, text, ""));
        }
    }
    if let Some((known, _)) = nodes.objects().get(node) {
        let ready = known.conditions().iter().find(|condition| &*condition.kind == "Ready");
        return Ok(ready.is_none_or(|ready| &*ready.status == "True"));
    }
    let text = format!("this machine is no node of the cluster: none is called {node}");
    Err(Part::new(Health::Off, text, "Where it is one by another name, give it as node."))
}
