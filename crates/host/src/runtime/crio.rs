//! CRI-O's own interface, HTTP on the socket on which it speaks CRI: what CRI's lists lack, which is
//! the first process and the name under which CRI-O keeps a container.

use std::{collections::HashMap, path::Path, time::Duration};

use hyper::StatusCode;
use serde::Deserialize;

use super::{
    RuntimeContainer,
    http::{Connection, is_plain},
};

/// The name that CRI-O has in CRI.
pub(super) const RUNTIME_NAME: &str = "cri-o";
/// Containers that are asked for at once; the others come with the next question.
const ASKED_MAX: usize = 500;

/// What `/containers/{id}` tells, as far as it is needed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    pub(super) name: String,
    pub(super) pid: i64,
    pub(super) image: String,
}

/// What was told of containers. A container keeps its process and its name for life, so each is
/// asked for once.
#[derive(Debug, Default)]
pub(super) struct Infos(HashMap<String, Option<Info>>);

impl Infos {
    /// Adds what is known to what CRI told, and asks for what is not. A failure leaves all as it was,
    /// as CRI's answer stands by itself.
    pub(super) async fn add(
        &mut self,
        socket: &Path,
        timeout: Duration,
        containers: &mut [RuntimeContainer],
    ) {
        let there: std::collections::HashSet<&str> = containers.iter().map(|c| c.id.as_str()).collect();
        self.0.retain(|id, _| there.contains(id.as_str()));
        let unknown: Vec<String> = containers
            .iter()
            .map(|c| &c.id)
            .filter(|id| !self.0.contains_key(*id) && is_plain(id))
            .take(ASKED_MAX)
            .cloned()
            .collect();
        if !unknown.is_empty() {
            // Bounded as a whole, so that a slow answer for each does not add up.
            let _ = tokio::time::timeout(timeout, self.ask(socket, timeout, unknown)).await;
        }
        for container in containers {
            if let Some(Some(info)) = self.0.get(&container.id) {
                info.add_to(container);
            }
        }
    }

    async fn ask(&mut self, socket: &Path, timeout: Duration, unknown: Vec<String>) {
        let Ok(mut connection) = Connection::open(socket, timeout).await else { return };
        for id in unknown {
            match connection.get::<Info>(&format!("/containers/{id}")).await {
                // A container that is made but not started has no process yet.
                Ok(info) if info.pid == 0 => {}
                Ok(info) => _ = self.0.insert(id, Some(info)),
                // A sandbox may have no process of its own, of which CRI-O says that there is none.
                Err(failure) if failure.status == Some(StatusCode::NOT_FOUND) => _ = self.0.insert(id, None),
                // Its state is about to change: it is asked for again.
                Err(failure) if failure.status.is_some() => {}
                Err(_) => return,
            }
        }
    }
}

impl Info {
    fn add_to(&self, container: &mut RuntimeContainer) {
        container.pid = u32::try_from(self.pid).ok().filter(|pid| *pid != 0);
        container.name = super::bounded(&self.name);
        if !self.image.is_empty() {
            container.image = super::bounded(&self.image);
        }
    }
}
