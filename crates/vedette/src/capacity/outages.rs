//! Outages of the nodes of one cluster: found by each look at its objects, kept over restarts in one file, and
//! what they say of the next ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use vedette_capacity::{
    Survey,
    objects::Pod,
    outage::{
        Ledger, NodeSeen, Outage, PodSeen, PoolTimes, Shortfall, down_at_once_up_to, pool_times, shortfall,
    },
};
use vedette_sys::Fs;

use super::objects::{Kept, Machine};

/// A file that is larger was not written here.
const FILE_BYTES_MAX: usize = 64 << 20;
/// Nodes down at once of which the chance is told.
const DOWN_MAX: usize = 5;

/// What is known of the outages of a cluster.
pub struct Outages {
    ledger: Ledger,
    /// What the file does not hold yet.
    is_dirty: bool,
    fs: Arc<dyn Fs>,
    file: PathBuf,
}

/// What the outages say.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// By pool.
    pub pools: Vec<Pool>,
    /// Chances that so many nodes are down at a moment; the last: so many or more. Empty where no times
    /// of outages are known yet.
    pub down_at_once: Vec<f64>,
    /// Pods without a place to expect.
    pub shortfall: Option<Shortfall>,
}

/// A pool of nodes.
#[derive(Debug, Clone)]
pub struct Pool {
    /// How its nodes fail and come back.
    pub times: PoolTimes,
    /// Until pods ran again, on average.
    pub mean_to_run_again_ms: Option<f64>,
}

impl Outages {
    /// Takes up what was kept. What cannot be read is put aside and told, not removed.
    pub fn open(fs: Arc<dyn Fs>, file: PathBuf) -> (Self, Option<String>) {
        let read = match fs.read(&file) {
            Ok(bytes) if bytes.len() > FILE_BYTES_MAX => Err("it is too large".to_owned()),
            Ok(bytes) => Ledger::from_bytes(&bytes).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ledger::default()),
            Err(error) => Err(error.to_string()),
        };
        let (ledger, problem) = match read {
            Ok(ledger) => (ledger, None),
            Err(reason) => {
                let aside = file.with_extension("damaged");
                let put = fs.rename(&file, &aside);
                let kept = match put {
                    Ok(()) => format!("it is kept as {}", aside.display()),
                    Err(error) => format!("it cannot be put aside: {error}"),
                };
                let file = file.display();
                let problem = format!(
                    "outages of before cannot be read from {file}: {reason}; {kept}, and recording begins anew"
                );
                (Ledger::default(), Some(problem))
            }
        };
        (Self { ledger, is_dirty: false, fs, file }, problem)
    }

    /// What is recorded.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes a whole look at the cluster. What is new has to be kept: [`Outages::keep`].
    pub fn observe(
        &mut self,
        now_ms: i64,
        machines: &[Arc<Machine>],
        pool_labels: &[String],
        pods: &[Arc<Pod>],
    ) {
        let nodes: Vec<NodeSeen> = machines
            .iter()
            .map(|machine| NodeSeen {
                name: machine.node.metadata.name.clone(),
                pool: pool(machine, pool_labels),
                ready: machine.node.is_ready(),
                silent: machine.is_silent(),
                changed_ms: machine.changed_ms,
                heard_ms: machine.heard_ms,
                boot_id: machine.boot_id.clone(),
            })
            .collect();
        let pods: Vec<PodSeen<'_>> = pods.iter().filter_map(|pod| seen(pod)).collect();
        self.is_dirty |= self.ledger.observe(now_ms, &nodes, &pods);
    }

    /// Writes what is not kept yet; whether there was anything, or why it could not be written. Then it is still to
    /// be kept, and the next call tries again. Disks may be slow, so that it is written on a thread that may wait.
    pub async fn keep(&mut self) -> io::Result<bool> {
        if !self.is_dirty {
            return Ok(false);
        }
        let (fs, file, bytes) = (self.fs.clone(), self.file.clone(), self.ledger.to_bytes());
        tokio::task::spawn_blocking(move || write(&*fs, &file, &bytes)).await.map_err(io::Error::other)??;
        self.is_dirty = false;
        Ok(true)
    }

    /// What the outages say, with what the judgement says is lost.
    pub fn figures(
        &self,
        now_ms: i64,
        machines: &[Arc<Machine>],
        pool_labels: &[String],
        survey: Option<&Survey>,
    ) -> Figures {
        let Some(since_ms) = self.ledger.since_ms() else { return Figures::default() };
        let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
        for machine in machines {
            *nodes.entry(pool(machine, pool_labels)).or_default() += 1;
        }
        let recorded = self.ledger.outages();
        let names: BTreeSet<&String> =
            nodes.keys().chain(recorded.iter().map(|recorded| &recorded.outage.pool)).collect();
        // Of those whose end nobody saw no times are known; that they were counts all the same.
        let seen: Vec<Outage> = recorded.iter().filter(|r| !r.unseen).map(|r| r.outage.clone()).collect();
        let watched_ms = now_ms.saturating_sub(since_ms);
        let pools: Vec<Pool> = names
            .into_iter()
            .map(|name| {
                let count = nodes.get(name).copied().unwrap_or(0);
                let unseen = recorded.iter().filter(|r| r.unseen && r.outage.pool == *name).count();
                let again: Vec<f64> = recorded
                    .iter()
                    .filter(|r| r.outage.pool == *name)
                    .filter_map(|r| Some((r.pods_again_ms?.saturating_sub(r.outage.noticed_ms)) as f64))
                    .collect();
                Pool {
                    times: pool_times(name, count, watched_ms, &seen, unseen, now_ms),
                    mean_to_run_again_ms: (!again.is_empty())
                        .then(|| again.iter().sum::<f64>() / again.len() as f64),
                }
            })
            .collect();
        if pools.iter().all(|pool| pool.times.mean_to_recover_ms.is_none()) {
            return Figures { pools, ..Figures::default() };
        }
        let chances: Vec<(usize, f64)> =
            pools.iter().map(|pool| (pool.times.nodes, pool.times.down)).collect();
        let down_at_once = down_at_once_up_to(&chances, DOWN_MAX.min(machines.len()));
        let shortfall = survey.map(|survey| {
            let mean: Vec<f64> = survey.curve.iter().map(|point| point.mean_pending).collect();
            // The last chance stands for more nodes than were judged, too.
            shortfall(&down_at_once_up_to(&chances, mean.len() + 1), &mean)
        });
        Figures { pools, down_at_once, shortfall }
    }
}

/// Replaces the file at once: it is the old one or the new one, whatever happens.
fn write(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs.create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let temporary = path.with_extension("tmp");
    if fs.exists(&temporary) {
        fs.remove(&temporary)?;
    }
    let mut file = fs.open_append(&temporary)?;
    file.append(bytes)?;
    file.sync()?;
    drop(file);
    fs.rename(&temporary, path)
}

/// The pool of a node.
fn pool(machine: &Machine, labels: &[String]) -> String {
    let found = labels.iter().find_map(|label| machine.node.metadata.labels.get(label));
    found.map_or("default", String::as_str).to_owned()
}

/// A pod that somebody makes anew elsewhere.
fn seen(pod: &Pod) -> Option<PodSeen<'_>> {
    let owner = pod.metadata.owner_references.iter().find(|owner| owner.controller)?;
    let is_over = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
    let goes_with_node = matches!(owner.kind.as_str(), "DaemonSet" | "Node");
    if is_over || goes_with_node || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let running = pod.status.phase == "Running";
    Some(PodSeen { owner: &owner.uid, node: &pod.spec.node_name, running })
}

/// The machines and pods that a watch has.
pub fn objects<K>(kept: &vedette_k8s::Shelf<Kept<K>>) -> Vec<Arc<K>>
where
    K: super::objects::Kind,
{
    kept.iter().map(|(_, kept, _)| kept.object.clone()).collect()
}

#[cfg(test)]
mod tests;
