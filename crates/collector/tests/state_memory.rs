//! What storing the state of a cluster takes: a little of each row, never its text.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use vedette_collector::{
    Surroundings,
    state::{Elsewhere, PageEnd, StateKeeper, StatePage, StateSource},
};
use vedette_model::{Batch, Host, Payload, Rejected, Sink, status::StatusBoard, telemetry::Telemetry};
use vedette_sys::SystemClock;
use vedette_test_allocator::Counting;

const ROWS: usize = 100_000;
/// The text of a row has some 200.
const ROW_BYTES_MAX: usize = 64;
/// A piece of the page, a batch with its definitions, and what the threads need.
const BESIDE_BYTES_MAX: usize = 4 << 20;
const ROUNDS: usize = 3;
/// Generous: a machine may be busy.
const SOON_MS: usize = 120_000;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// A page that is made while it is read.
#[derive(Default)]
struct Made {
    bytes: AtomicUsize,
}

impl StatePage for Made {
    fn write(&self, take: &mut dyn FnMut(&str) -> bool) -> PageEnd {
        let (mut piece, mut bytes) = (String::new(), 0);
        for number in 0..ROWS {
            let _ = writeln!(
                piece,
                "kube_pod_container_status_ready{{namespace=\"team-{}\",pod=\"web-{}-6f7d8c9b5d-{number:05x}\",\
                 uid=\"{number:08x}-1111-2222-3333-444444444444\",container=\"application\"}} 1",
                number % 40,
                number / 30
            );
            if piece.len() > 100 << 10 || number + 1 == ROWS {
                bytes += piece.len();
                if !take(&piece) {
                    return PageEnd::Cut;
                }
                piece.clear();
            }
        }
        self.bytes.store(bytes, Relaxed);
        PageEnd::Whole
    }
}

/// Takes all and keeps nothing.
#[derive(Default)]
struct Counter {
    samples: AtomicUsize,
    defined: AtomicUsize,
}

impl Sink for Counter {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        if let Payload::Samples(samples) = &batch.payload {
            self.samples.fetch_add(samples.rows.iter().map(|row| row.values.len()).sum(), Relaxed);
            self.defined.fetch_add(samples.defined.len(), Relaxed);
        }
        Ok(())
    }
}

#[test]
fn a_row_that_is_known_takes_little_and_its_text_nothing() {
    let (page, sink) = (Arc::<Made>::default(), Arc::<Counter>::default());
    let surroundings = Surroundings {
        sink: sink.clone(),
        clock: Arc::new(SystemClock),
        status: StatusBoard::default(),
        telemetry: Telemetry::default(),
        host: Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() }),
    };
    let before = ALLOCATOR.begin();
    let source = StateSource {
        cluster: "c".into(),
        names_cluster: false,
        interval: Duration::from_millis(50),
        page: page.clone(),
        elsewhere: Arc::new(|| Elsewhere::No),
    };
    let mut keeper = StateKeeper::start(vec![source], &surroundings).expect("a thread");
    let wanted = (ROWS + 5) * ROUNDS;
    for _ in 0..SOON_MS / 10 {
        if sink.samples.load(Relaxed) >= wanted {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    keeper.stop();
    let (samples, defined) = (sink.samples.load(Relaxed), sink.defined.load(Relaxed));
    assert!(samples >= wanted, "{samples} samples");
    assert_eq!(defined, ROWS + 5, "known rows are not defined again");
    let (bytes, peak) = (page.bytes.load(Relaxed), ALLOCATOR.peak().saturating_sub(before));
    let peak_max = ROWS * ROW_BYTES_MAX + BESIDE_BYTES_MAX;
    println!("{ROWS} rows, a page of {bytes} bytes: {peak} bytes at most");
    assert!(bytes > peak_max, "the page must be larger than what is allowed: {bytes}");
    assert!(peak < peak_max, "{peak} bytes");
}
