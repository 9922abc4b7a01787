//! Targets of `kubernetes_sd_configs`, from watches that all who discover in the same cluster share.
//!
//! Nothing is told until the first lists are whole, so that a start does not look like an end. Watches
//! of what is only attached to targets, and that the account may not read, are named and done without.

mod groups;
mod labels;
mod sources;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};
use vedette_config::discovery::{Kubernetes, Role};
use vedette_model::TargetGroup;

use crate::{Connection, Error, Hub, Surroundings, any_change};
use groups::Groups;
use sources::Sources;

/// Takes all groups that are known, if that is news, and how the watches are. `false` where nobody wants
/// to be told any more.
pub type Tell = Box<dyn Fn(Option<Vec<TargetGroup>>, Result<(), String>) -> bool + Send + Sync>;

/// Changes that come together are told together.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After work of some length there is a rest of so many times that length: discovery in a busy cluster
/// takes at most a twentieth of a core.
const REST_FACTOR: u32 = 19;
/// When files that name the cluster are looked at again.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// One entry of `kubernetes_sd_configs`.
pub struct Discoverer {
    hub: Arc<Hub>,
    config: Kubernetes,
    place: Place,
}

/// How it is known where the cluster is.
enum Place {
    /// As the entry says; the folder of the account of our pod, if it says nothing.
    Written(PathBuf),
    /// It is known already.
    Known(Box<Connection>),
}

impl Discoverer {
    /// Nothing is asked yet. `service_account` is the folder of the account of our pod.
    pub fn new(hub: Arc<Hub>, config: &Kubernetes, service_account: PathBuf) -> Self {
        Self { hub, config: config.clone(), place: Place::Written(service_account) }
    }

    /// The same in a cluster that is known, wherever the entry says that one is.
    pub fn within(hub: Arc<Hub>, config: &Kubernetes, connection: Connection) -> Self {
        Self { hub, config: config.clone(), place: Place::Known(Box::new(connection)) }
    }

    /// Tells targets until nobody wants to know.
    pub async fn run(self, tell: Tell) {
        let connection = loop {
            match self.connection() {
                Ok(connection) => break connection,
                Err(error) => {
                    if !tell(None, Err(error.told())) {
                        return;
                    }
                    sleep(CONNECT_AGAIN_AFTER).await;
                }
            }
        };
        let namespaces = self.namespaces(&connection);
        let api = self.hub.cluster(connection);
        let sources = Arc::new(Sources::open(&self.hub, &api, &self.config, &namespaces));
        let mut receivers = sources.receivers();
        let mut groups = Groups::new(&self.config);
        loop {
            for receiver in &mut receivers {
                receiver.mark_unchanged();
            }
            let begin = self.hub.clock().monotonic();
            let states = sources.states();
            let mut known = None;
            if states.may_tell {
                let sources = sources.clone();
                let built = spawn_blocking(move || {
                    let all = groups.build(&sources);
                    (groups, all)
                });
                // The runtime ends.
                let Ok((back, all)) = built.await else { return };
                (groups, known) = (back, Some(all));
            }
            // As long as nothing is whole there is nothing to say but what goes wrong.
            if (known.is_some() || states.trouble.is_err()) && !tell(known, states.trouble) {
                return;
            }
            let rest = self.hub.clock().monotonic().since(begin).saturating_mul(REST_FACTOR);
            any_change(&mut receivers).await;
            sleep(rest.clamp(PAUSE, PAUSE_MAX)).await;
        }
    }

    fn connection(&self) -> Result<Connection, Error> {
        let service_account = match &self.place {
            Place::Known(connection) => return Ok(Connection::clone(connection)),
            Place::Written(folder) => folder,
        };
        if let Some(server) = &self.config.api_server {
            return Ok(Connection::to(server.clone(), self.config.client.clone()));
        }
        if let Some(file) = &self.config.kubeconfig_file {
            return Connection::by_kubeconfig(std::slice::from_ref(file), None);
        }
        let env = |name: &str| std::env::var(name).ok();
        let surroundings = Surroundings { env: &env, service_account };
        let connection = Connection::in_cluster(surroundings)?;
        if self.config.own_namespace && connection.namespace.is_none() {
            let file = service_account.join("namespace");
            return Err(Error::Credentials(format!(
                "own_namespace is asked for, but {} does not tell which that is",
                file.display()
            )));
        }
        Ok(connection)
    }

    /// The namespaces, each once; all where there is none.
    fn namespaces(&self, connection: &Connection) -> Vec<Option<Box<str>>> {
        let own = connection.namespace.iter().filter(|_| self.config.own_namespace);
        let names: BTreeSet<&String> = self.config.namespaces.iter().chain(own).collect();
        // Nodes live in no namespace.
        if names.is_empty() || self.config.role == Role::Node {
            return vec![None];
        }
        names.into_iter().map(|name| (!name.is_empty()).then(|| name.as_str().into())).collect()
    }
}
