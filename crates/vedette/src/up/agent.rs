//! `vedette agent`: gathers, scrapes and receives, spools and sends on. There is no store, and nothing is
//! judged.

use super::{prometheus::ForAgent, *};
use crate::agent::Unkept;

/// By then everything that is done at intervals was done once, and what only the start needed is freed.
const START_OVER: Duration = Duration::from_secs(15);

/// Runs until a signal asks it to end.
pub fn run(settings: &Settings) -> Result<()> {
    // Who scrapes many targets at once needs what the allocator keeps.
    if !settings.scrapes() {
        vedette_sys::keep_little_free_memory();
    }
    let path = settings.prometheus_config.as_deref();
    let read = |path| Ok::<_, anyhow::Error>((path, prometheus_file::read(path, &RealFs, Mode::Agent)?));
    let file = path.map(read).transpose()?;
    let (house, _lock) = open_house(settings)?;
    let runtime = start_runtime()?;
    let _entered = runtime.enter();

    let exports = prometheus::open_exports(settings, &house)?;
    let loaded = file.as_ref().map(|(_, loaded)| loaded);
    let ForAgent { onward, spool } = Onward::open_agent(loaded, settings, &house, exports.as_ref())?;
    prometheus::export_pushed(exports.as_ref(), &onward.receiver);
    let clusters = clusters::watch(settings, &house, None, &AuditDesks::default());
    let file = file.map(|(path, loaded)| FirstReading { path, loaded, onward: &onward, own: None });
    let prometheus = settings
        .scrapes()
        .then(|| Prometheus::start(file, &house, onward.sink.clone(), settings.scrape, clusters.clone()))
        .transpose()?
        .map(Arc::new);
    clusters::scrape_parts(settings, &house, &clusters, prometheus.as_deref());
    let mut collector = start_collector(settings, &house, onward.sink.clone())?;
    let index = collector.containers();
    let (stop, stopped) = watch::channel(false);
    let program = Arc::new(Own::new(settings, house.clock.unix_ns(), stop.clone(), prometheus.clone()));
    let unkept = Arc::new(Unkept(spool));
    let app = App {
        series: unkept.clone(),
        writer: Arc::new(PushDoor { samples: onward.receiver.clone(), audit: AuditDesks::default() }),
        external_labels: external_labels(&program),
        storage: unkept.clone(),
        targets: program.targets(),
        program,
        web: web_source(settings),
        admin: None,
        engine: Arc::new(engine(settings)),
        query_log: None,
        events: None,
        judgement: unkept,
        containers: Arc::new(move || index.all()),
        directory: house.directory.clone(),
        clusters: watched_clusters(&house),
        latest: Arc::new(LatestFigures(collector.latest())),
        kube_state: house.states.clone(),
        capacity: house.capacity.reader(),
        status: house.status.clone(),
        telemetry: house.telemetry.clone(),
        host: house.host.clone(),
        kernel: house.kernel.clone(),
        build: build_info(),
        ready: Arc::new(AtomicBool::new(true)),
        clock: house.clock.clone(),
    };
    let server = Server::bind(api_config(settings), app)?;
    let sink = onward.sink.clone();
    let mut states = clusters::store(settings, &house, sink, &server, prometheus.as_deref())?;
    println!("Vedette {} sends on: {}", env!("CARGO_PKG_VERSION"), address(&server));
    let graphite = listen_for_graphite(settings, &runtime, &onward.receiver, &stopped)?;
    let file = prometheus.as_ref().and_then(|prometheus| prometheus.file.clone());
    let follows = file.map(|file| runtime.spawn(prometheus::follow(file, stopped.clone())));
    runtime.spawn(async move {
        signal().await;
        let _ = stop.send(true);
    });
    runtime.spawn(async {
        tokio::time::sleep(START_OVER).await;
        vedette_sys::give_back_free_memory();
        vedette_sys::give_back_program_file();
    });
    let served = runtime.block_on(server.run(ended(stopped)));

    // Who brings samples ends before who takes them.
    if let Some(follows) = follows {
        let _ = runtime.block_on(follows);
    }
    if let Some(prometheus) = &prometheus {
        prometheus.stop();
    }
    states.stop();
    collector.stop();
    if let Some(graphite) = graphite {
        let _ = runtime.block_on(graphite);
    }
    onward.stop();
    if let Some(exports) = &exports {
        exports.stop();
    }
    served.context("the server failed")
}
