//! Scrapes and discovery, with what `prometheus.yml` makes of them and of this process, and when it is read again.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::watch};
use vedette_collector::{
    discovery::{Discovery, DiscoveryParts},
    scrape::{self, Scraper},
};
use vedette_config::prometheus::Mode;
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_ingest::{OtlpSettings, Receiver};
use vedette_model::{Labels, Sink};
use vedette_remote::{Exports, MergedReader, Remote, Spool, SpoolConfig, Tee};
use vedette_response::{AlertmanagerOptions, Alertmanagers};
use vedette_ruler::RulerHandle;
use vedette_sys::{Clock, MonotonicTime};
use vedette_tsdb::{
    Tsdb,
    prometheus::{Refused, chunks},
};

use super::{House, Stores};
use crate::clusters::Clusters;
use crate::config::Settings;
use crate::outlet::Outbox;
use crate::prometheus_file::{
    Follower, LOOK_INTERVAL, Loaded, PrometheusFile, Pushed, RemoteReading, RemoteWriting, Rules, Scraping,
    Targets, check_clients,
};

/// How long alerts that wait may take when the program ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Scraping, and the file at work.
pub struct Prometheus {
    /// Nothing where scrape jobs of our own are all that there is.
    pub(crate) file: Option<Arc<PrometheusFile>>,
    pub(crate) scraping: Arc<Scraping>,
    pub(crate) scraper: Arc<Scraper>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) alertmanagers: Alertmanagers,
}

/// Samples on their way to the receivers of remote write, beside the store.
pub(super) struct Onward {
    remote: Arc<Remote>,
    /// What is kept here and elsewhere, as one; nothing with an agent.
    pub(super) reader: Option<Arc<MergedReader>>,
    /// Takes what is stored here and sent on.
    pub(super) sink: Arc<dyn Sink>,
    /// Takes what others push.
    pub(super) receiver: Arc<Receiver>,
    /// How OTLP is taken, but for what the file says.
    otlp: OtlpSettings,
}

/// What an agent has in the place of stores.
pub(super) struct ForAgent {
    pub(super) onward: Onward,
    pub(super) spool: Arc<Spool>,
}

impl Onward {
    /// Opens the spool in the data folder. What the stores take goes into it as well, if there is a
    /// receiver; they come and go with the configuration.
    pub(super) fn open(
        loaded: &Loaded,
        settings: &Settings,
        house: &House,
        stores: &Stores,
        exports: Option<&Exports>,
    ) -> Result<Self> {
        let remote = open_remote(Some(loaded), settings, house)?;
        let reader = Arc::new(MergedReader::new(
            stores.series.clone(),
            store_start(stores.series.clone(), house.clock.clone()),
            |encoding, data, out| chunks::decode(encoding, data, out, &mut Refused::default()).is_some(),
            house.status.clone(),
        ));
        house.telemetry.register(reader.clone());
        let tee = Arc::new(Tee::new(stores.ingest.clone(), remote.sink()));
        house.telemetry.register(tee.clone());
        let receiver = stores.ingest.receiver().clone();
        let sink = beside(exports, tee);
        Ok(Self { remote, reader: Some(reader), sink, receiver, otlp: otlp(settings) })
    }

    /// The same of an agent: the spool is all that there is, and whoever pushes waits for it.
    pub(super) fn open_agent(
        loaded: Option<&Loaded>,
        settings: &Settings,
        house: &House,
        exports: Option<&Exports>,
    ) -> Result<ForAgent> {
        let remote = open_remote(loaded, settings, house)?;
        let receiver = Receiver::without_store(super::ingest_config(settings), house.clock.clone());
        let receiver = Arc::new(receiver);
        receiver.send_on(PUSHED_TO, Some(remote.sink()));
        house.telemetry.register(receiver.clone());
        let spool = remote.spool().clone();
        let sink = beside(exports, remote.sink());
        let onward = Self { sink, remote, reader: None, receiver, otlp: otlp(settings) };
        Ok(ForAgent { onward, spool })
    }

    /// Stops sending; what is not acknowledged waits on disk.
    pub(super) fn stop(&self) {
        self.remote.stop();
    }
}

/// By what name the spool gets what is pushed.
const PUSHED_TO: &str = "remote write";

fn open_remote(loaded: Option<&Loaded>, settings: &Settings, house: &House) -> Result<Arc<Remote>> {
    let spool = SpoolConfig::new(settings.data_dir.join("remote"));
    let writes = loaded.map_or(&[][..], |loaded| &loaded.config.remote_write);
    Ok(Arc::new(Remote::open(spool, writes, remote_parts(house))?))
}

fn remote_parts(house: &House) -> vedette_remote::Parts {
    vedette_remote::Parts {
        fs: house.fs.clone(),
        clock: house.clock.clone(),
        status: house.status.clone(),
        telemetry: house.telemetry.clone(),
    }
}

/// Opens the exports, if there are any.
pub(super) fn open_exports(settings: &Settings, house: &House) -> Result<Option<Exports>> {
    let Some(config) = &settings.export else { return Ok(None) };
    let mut config = config.clone();
    if config.machine.is_empty() {
        config.machine.clone_from(&house.host.name);
    }
    Ok(Some(Exports::open(config, &remote_parts(house), &client_options(&house.clock))?))
}

/// Hands what `store` took to the exports, if there are any.
pub(super) fn beside(exports: Option<&Exports>, store: Arc<dyn Sink>) -> Arc<dyn Sink> {
    exports.map_or(store.clone(), |exports| exports.beside(store))
}

/// Hands what others push to the exports, if there are any.
pub(super) fn export_pushed(exports: Option<&Exports>, receiver: &Receiver) {
    if let Some(exports) = exports {
        receiver.send_on("exports", Some(exports.sink()));
    }
}

fn otlp(settings: &Settings) -> OtlpSettings {
    OtlpSettings {
        type_and_unit_labels: settings.scrape.type_and_unit_labels,
        delta: settings.otlp_delta,
        lookback_ms: i64::try_from(settings.query.lookback.as_millis()).unwrap_or(i64::MAX),
        ..OtlpSettings::default()
    }
}

/// The time from which on the store has everything, looked up once in a while: that walks over it.
fn store_start(series: Arc<Tsdb>, clock: Arc<dyn Clock>) -> Arc<dyn Fn() -> i64 + Send + Sync> {
    const LOOK_INTERVAL: Duration = Duration::from_secs(60);
    let known: Mutex<Option<(MonotonicTime, i64)>> = Mutex::new(None);
    Arc::new(move || {
        let mut known = known.lock();
        let now = clock.monotonic();
        match *known {
            Some((at, start_ms)) if now.since(at) < LOOK_INTERVAL => start_ms,
            _ => {
                let start_ms = series.stats().first_ms.unwrap_or(i64::MAX);
                *known = Some((now, start_ms));
                start_ms
            }
        }
    })
}

/// How rules are judged that do not come from the file.
pub(super) struct OwnRules {
    pub(super) ruler: RulerHandle,
    pub(super) config: vedette_alerting::Config,
    pub(super) groups: Vec<vedette_alerting::Group>,
    /// Where alerts go.
    pub(super) outbox: Arc<Outbox>,
}

/// The file as it was read at the start, and what works by it beside scraping.
pub(super) struct FirstReading<'a> {
    pub(super) path: &'a Path,
    pub(super) loaded: Loaded,
    pub(super) onward: &'a Onward,
    /// Nothing with an agent.
    pub(super) own: Option<OwnRules>,
}

impl Prometheus {
    /// Starts to scrape for `sink`, and what the first reading of the file asks for, if there is one. An agent judges no
    /// rules and tells nobody of alerts.
    pub(super) fn start(
        file: Option<FirstReading<'_>>,
        house: &House,
        sink: Arc<dyn Sink>,
        features: scrape::Features,
        clusters: Arc<Clusters>,
    ) -> Result<Self> {
        let client = client_options(&house.clock);
        let config = scrape::Config {
            features,
            user_agent: client.user_agent.clone(),
            seed: Labels::from_pairs([("host", house.host.name.as_str())]).stable_hash(),
            ..scrape::Config::default()
        };
        let scraper = Arc::new(Scraper::start(&config, &house.surroundings(sink), client.clone())?);
        let alertmanagers = Alertmanagers::new(
            AlertmanagerOptions::new(client.clone()),
            Handle::current(),
            house.status.clone(),
            &house.telemetry,
        );
        let discovery = Arc::new(Discovery::new(DiscoveryParts {
            sink: Arc::new(Targets { scraper: scraper.clone(), alertmanagers: alertmanagers.clone() }),
            runtime: Handle::current(),
            http: client.clone(),
            clusters: Some(clusters),
            fs: house.fs.clone(),
            clock: house.clock.clone(),
            status: house.status.clone(),
            telemetry: house.telemetry.clone(),
        }));
        let scraping = Arc::new(Scraping::new(
            scraper.clone(),
            discovery.clone(),
            alertmanagers.clone(),
            client.clone(),
        ));
        let put_to_work = |file| follow_file(file, house, &scraping, &alertmanagers, client);
        let file = file.map(put_to_work).transpose()?.map(Arc::new);
        Ok(Self { file, scraping, scraper, discovery, alertmanagers })
    }

    /// Ends scrapes; what was scraped is handed over.
    pub(super) fn stop(&self) {
        self.scraper.stop();
    }

    /// Sends alerts that wait, as far as that does not take too long.
    pub(super) async fn drain(&self) {
        self.alertmanagers.drain(DRAIN_TIMEOUT).await;
    }
}

/// Puts the first reading to work, and what works by it behind it.
fn follow_file(
    file: FirstReading<'_>,
    house: &House,
    scraping: &Arc<Scraping>,
    alertmanagers: &Alertmanagers,
    client: Options,
) -> Result<PrometheusFile> {
    let FirstReading { path, loaded, onward, own } = file;
    let mut followers: Vec<Box<dyn Follower>> = Vec::new();
    if let Some(OwnRules { ruler, config, groups, outbox }) = own {
        outbox.forward_to(alertmanagers.clone());
        followers.push(Box::new(Rules { ruler, config, own: groups, clock: house.clock.clone() }));
    }
    if let Some(reader) = onward.reader.clone() {
        let (client, runtime) = (client.clone(), Handle::current());
        followers.push(Box::new(RemoteReading { reader, client, runtime }));
    }
    followers.push(Box::new(Pushed { receiver: onward.receiver.clone(), otlp: onward.otlp.clone() }));
    followers.push(Box::new(scraping.clone()));
    // The last, as a receiver that is taken away and comes back begins anew: nothing after it can fail.
    // Until it is told of those of the first reading the spool keeps their samples.
    followers.push(Box::new(RemoteWriting {
        remote: onward.remote.clone(),
        client,
        // An agent's receiver has nothing else, and keeps the spool whatever is configured.
        pushed: onward.reader.is_some().then(|| (PUSHED_TO, onward.receiver.clone())),
    }));
    PrometheusFile::start(
        path,
        loaded,
        followers,
        (house.fs.clone(), house.clock.clone()),
        &house.status,
        &house.telemetry,
    )
}

/// Reads the file again on SIGHUP and when it has changed, until the program ends.
pub(super) async fn follow(file: Arc<PrometheusFile>, mut stopped: watch::Receiver<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("cannot listen for SIGHUP; changed files are read all the same");
        return;
    };
    loop {
        let asked = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            signal = hangup.recv() => signal.is_some(),
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
        };
        let file = file.clone();
        let read = tokio::task::spawn_blocking(move || {
            if asked {
                // The error is told where all look for it.
                let _ = file.reload();
            } else {
                file.reload_if_changed();
            }
        });
        if let Err(error) = read.await {
            tracing::error!(%error, "reading the configuration again failed");
        }
    }
}

/// Whether the file could be put to work: how many scrape jobs and rules it has.
pub(super) fn check(path: &Path, clock: &Arc<dyn Clock>) -> Result<(usize, usize)> {
    let loaded = crate::prometheus_file::read(path, &vedette_sys::RealFs, Mode::Server)?;
    check_clients(&loaded.config, &client_options(clock))
        .map_err(|error| anyhow!(error))
        .with_context(|| format!("{} cannot be used", path.display()))?;
    let rules = loaded.groups.iter().map(|group| group.rules.len()).sum();
    Ok((loaded.config.scrape_jobs.len(), rules))
}

pub(super) fn client_options(clock: &Arc<dyn Clock>) -> Options {
    Options {
        user_agent: concat!("Vedette/", env!("CARGO_PKG_VERSION")).to_owned(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::read(&|name| std::env::var(name).ok()),
        clock: clock.clone(),
    }
}
