//! The parts that work by `prometheus.yml`.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use vedette_collector::{
    discovery::{Discovery, DiscoverySet, PreparedSets, TargetSink},
    scrape::Scraper,
};
use vedette_config::prometheus::{Alertmanager, Config, ScrapeJob};
use vedette_http_client::{Client, Options};
use vedette_ingest::{OtlpSettings, Receiver};
use vedette_model::TargetGroup;
use vedette_remote::{MergedReader, ReadSource, ReadTransport, Remote};
use vedette_response::Alertmanagers;
use vedette_ruler::RulerHandle;
use vedette_sys::Clock;

use super::{Follower, Loaded};

/// The rules of the files, behind those that are always judged.
pub struct Rules {
    /// Judges.
    pub ruler: RulerHandle,
    /// How, but for what the file says.
    pub config: vedette_alerting::Config,
    /// Groups that do not come from the file.
    pub own: Vec<vedette_alerting::Group>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Follower for Rules {
    fn apply(&self, loaded: &Loaded) -> Result<(), String> {
        let config = vedette_alerting::Config {
            external_labels: loaded.config.global.external_labels.clone(),
            ..self.config.clone()
        };
        let groups = self.own.iter().chain(&loaded.groups).cloned().collect();
        self.ruler.replace_rules(config, groups, self.clock.unix_ms()).map_err(|e| e.to_string())
    }
}

/// The receivers of remote write.
pub struct RemoteWriting {
    /// Sends.
    pub remote: Arc<Remote>,
    /// What clients are given.
    pub client: Options,
    /// By what name the spool gets what is pushed, and from whom: while there is somebody to send it to.
    pub pushed: Option<(&'static str, Arc<Receiver>)>,
}

impl Follower for RemoteWriting {
    fn check(&self, loaded: &Loaded) -> Result<(), String> {
        Remote::check(&loaded.config.remote_write, &self.client).map_err(|error| error.to_string())
    }

    fn apply(&self, loaded: &Loaded) -> Result<(), String> {
        let config = &loaded.config;
        let applied = self.remote.apply(&config.remote_write, &config.global.external_labels, &self.client);
        applied.map_err(|error| error.to_string())?;
        if let Some((name, receiver)) = &self.pushed {
            receiver.send_on(name, (!config.remote_write.is_empty()).then(|| self.remote.sink()));
        }
        Ok(())
    }
}

/// What others push.
pub struct Pushed {
    /// Takes it.
    pub receiver: Arc<Receiver>,
    /// How OTLP is taken, but for what the file says.
    pub otlp: OtlpSettings,
}

impl Follower for Pushed {
    fn apply(&self, loaded: &Loaded) -> Result<(), String> {
        self.receiver.set_otlp(OtlpSettings { translation: loaded.config.otlp.clone(), ..self.otlp.clone() });
        Ok(())
    }
}

/// The sources of remote read.
pub struct RemoteReading {
    /// Reads from them.
    pub reader: Arc<MergedReader>,
    /// What clients are given.
    pub client: Options,
    /// On which they work.
    pub runtime: Handle,
}

/// A longer answer of a source is refused.
const READ_BYTES_MAX: u64 = 512 << 20;

impl RemoteReading {
    fn sources(&self, loaded: &Loaded) -> Result<Vec<ReadSource>, String> {
        let labels = &loaded.config.global.external_labels;
        let source = |read| {
            let transport = ReadTransport::new(read, &self.client, self.runtime.clone(), READ_BYTES_MAX);
            transport.map(|transport| ReadSource::new(read, labels, Arc::new(transport)))
        };
        let sources: Result<Vec<_>, _> = loaded.config.remote_read.iter().map(source).collect();
        sources.map_err(|error| format!("remote read: {error}"))
    }
}

impl Follower for RemoteReading {
    fn check(&self, loaded: &Loaded) -> Result<(), String> {
        self.sources(loaded).map(drop)
    }

    fn apply(&self, loaded: &Loaded) -> Result<(), String> {
        self.reader.set_sources(self.sources(loaded)?);
        Ok(())
    }
}

/// Scrape jobs and Alertmanagers, and the discovery of both: those of the file, and jobs that are ours.
pub struct Scraping {
    alertmanagers: Alertmanagers,
    client: Options,
    scraper: Arc<Scraper>,
    discovery: Arc<Discovery>,
    state: Mutex<Jobs>,
}

/// What is scraped and discovered now.
#[derive(Default)]
struct Jobs {
    of_file: Vec<ScrapeJob>,
    /// Those of the file.
    alertmanagers: Vec<DiscoverySet>,
    /// Ours, by whom they belong to.
    own: BTreeMap<Arc<str>, Vec<OwnJob>>,
}

/// A scrape job that no file has.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnJob {
    /// The job; its name begins with [`OWN_JOBS`].
    pub job: ScrapeJob,
    /// How it is shown, without secrets.
    pub yaml: String,
}

/// How the names of jobs begin that no file has.
pub const OWN_JOBS: &str = "part_metrics/";

impl Scraping {
    /// Nothing is scraped yet.
    pub fn new(
        scraper: Arc<Scraper>,
        discovery: Arc<Discovery>,
        alertmanagers: Alertmanagers,
        client: Options,
    ) -> Self {
        Self { alertmanagers, client, scraper, discovery, state: Mutex::default() }
    }

    /// Puts these jobs in the place of those that this owner had, beside those of the file.
    pub fn set_own_jobs(&self, owner: &Arc<str>, jobs: Vec<OwnJob>) -> Result<(), String> {
        let mut state = self.state.lock();
        let mut own = state.own.clone();
        own.insert(owner.clone(), jobs);
        let next = Jobs { of_file: state.of_file.clone(), alertmanagers: state.alertmanagers.clone(), own };
        let prepared = self.discovery.prepare(next.sets()).map_err(|e| e.to_string())?;
        self.put_to_work(&mut state, next, prepared)
    }

    /// One of our own jobs.
    pub fn own_job(&self, name: &str) -> Option<OwnJob> {
        let state = self.state.lock();
        state.own.values().flatten().find(|own| own.job.name == name).cloned()
    }

    fn put_to_work(&self, state: &mut Jobs, next: Jobs, prepared: PreparedSets) -> Result<(), String> {
        self.scraper.set_jobs(next.all().cloned().collect()).map_err(|e| e.to_string())?;
        self.discovery.run(prepared);
        *state = next;
        Ok(())
    }
}

impl Jobs {
    fn all(&self) -> impl Iterator<Item = &ScrapeJob> {
        self.of_file.iter().chain(self.own.values().flatten().map(|own| &own.job))
    }

    /// What is to be discovered, of jobs and of Alertmanagers.
    fn sets(&self) -> Vec<DiscoverySet> {
        let of_job =
            |job: &ScrapeJob| DiscoverySet { name: job.name.clone(), discoveries: job.discoveries.clone() };
        self.all().map(of_job).chain(self.alertmanagers.iter().cloned()).collect()
    }

    fn of_config(config: &Config) -> Self {
        let of_alertmanagers = |(number, group): (usize, &Alertmanager)| DiscoverySet {
            name: format!("{ALERTMANAGERS}{number}]"),
            discoveries: group.discoveries.clone(),
        };
        let alertmanagers = config.alerting.alertmanagers.iter().enumerate().map(of_alertmanagers).collect();
        Self { of_file: config.scrape_jobs.clone(), alertmanagers, own: BTreeMap::new() }
    }
}

impl Follower for Arc<Scraping> {
    fn check(&self, loaded: &Loaded) -> Result<(), String> {
        let config = &loaded.config;
        let is_reserved =
            |job: &&ScrapeJob| number_of_alertmanagers(&job.name).is_some() || job.name.starts_with(OWN_JOBS);
        if let Some(job) = config.scrape_jobs.iter().find(is_reserved) {
            return Err(format!("the name of the scrape job {:?} is reserved; choose another", job.name));
        }
        self.discovery.prepare(Jobs::of_config(config).sets()).map_err(|e| e.to_string())?;
        check_clients(config, &self.client)
    }

    fn apply(&self, loaded: &Loaded) -> Result<(), String> {
        let config = &loaded.config;
        let mut state = self.state.lock();
        let next = Jobs { own: state.own.clone(), ..Jobs::of_config(config) };
        let prepared = self.discovery.prepare(next.sets()).map_err(|e| e.to_string())?;
        let applied = self.alertmanagers.apply(&config.alerting, &config.global.external_labels);
        applied.map_err(|e| format!("alertmanagers: {e}"))?;
        self.put_to_work(&mut state, next, prepared)
    }
}

/// What is discovered, on its way to those who work with it.
pub struct Targets {
    /// Takes those of scrape jobs.
    pub scraper: Arc<Scraper>,
    /// Takes those of alerts.
    pub alertmanagers: Alertmanagers,
}

/// How sets of Alertmanagers are named, with their number behind and a bracket.
const ALERTMANAGERS: &str = "alerting.alertmanagers[";

fn number_of_alertmanagers(set: &str) -> Option<usize> {
    set.strip_prefix(ALERTMANAGERS)?.strip_suffix(']')?.parse().ok()
}

impl TargetSink for Targets {
    fn set_groups(&self, set: &str, discovery: usize, groups: &[TargetGroup]) {
        match number_of_alertmanagers(set) {
            Some(number) => self.alertmanagers.set_groups(number, discovery, groups),
            None => self.scraper.set_groups(set, discovery, groups),
        }
    }
}

/// Whether all clients of the scrape jobs can be made, for who only checks the file.
pub fn check_clients(config: &Config, options: &Options) -> Result<(), String> {
    for job in &config.scrape_jobs {
        let made = Client::new(&job.client, options);
        made.map_err(|error| format!("scrape job {:?}: {error}", job.name))?;
    }
    Ok(())
}
