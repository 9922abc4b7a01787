//! Doors for the fuzz targets to what is read from the spool's disk, and good records to begin with. Built
//! only with `--cfg fuzzing` and for tests, which try each record and some changes of it.

use std::{path::Path, sync::Arc, time::Duration};

use vedette_config::prometheus::{Metadata, Queue, WriteMessage};
use vedette_model::{Exemplar, Labels, NativeHistogram};
use vedette_sys::{Clock as _, Flush, LogConfig, ManualClock, Random, RecordLog, SimFs};
use vedette_wire::remote_write::{Request, v2};

use crate::{
    Answer, Outcome, ReceiverMetrics, Spool, SpoolConfig, Target,
    receiver::Receiver,
    spool::record::{self, Entries, Entry, HEADER_BYTES, Writer},
};

pub use crate::export::answers::{bulk_answer, bulk_answers, redis_answer, redis_answers};

const KEY: &str = "far";
const START_NS: i64 = 1_700_000_000_000_000_000;

/// Reads a record; then a spool reads it from its disk, as one that was written whole, and a receiver
/// sends what is in it. All of it leaves memory, and what is sent can be read.
pub fn spool_record(bytes: &[u8]) {
    let mut body = Vec::new();
    if record::header(bytes).is_some()
        && record::body(bytes, &mut snap::raw::Decoder::new(), &mut body).is_ok()
    {
        read(&body);
    }
    for message in [WriteMessage::V1, WriteMessage::V2] {
        send(bytes, message);
    }
}

fn read(body: &[u8]) {
    for entry in Entries::new(body) {
        match entry {
            Ok(Entry::Definition { labels, .. } | Entry::Exemplar { labels, .. }) => {
                assert!(labels.count() <= body.len());
            }
            Ok(Entry::Row(row)) => assert!(row.count() <= body.len()),
            Ok(Entry::Histogram { message, .. }) => {
                if let Ok((_, Ok(histogram))) = message.decode() {
                    let _ = histogram.validate();
                }
            }
            Err(_) => {}
        }
    }
}

fn send(bytes: &[u8], message: WriteMessage) {
    let mut record = bytes.to_vec();
    if let Some(number) = record.get_mut(8..16) {
        // Behind what the receiver has read already.
        number.copy_from_slice(&1_u64.to_le_bytes());
    }
    let (fs, clock) = (SimFs::new(1), ManualClock::at(START_NS));
    let metrics = Arc::new(ReceiverMetrics::default());
    let open = || {
        let config = SpoolConfig::new("spool");
        let receivers = [(KEY.to_owned(), metrics.losses.clone())];
        Spool::open(config, Arc::new(fs.clone()), Arc::new(clock.clone()), &receivers)
            .expect("a spool on a sound disk opens")
            .0
    };
    drop(open());
    let log = LogConfig { segment_bytes_max: u64::MAX, record_bytes_max: 256 << 20, flush: Flush::Always };
    let folder = Path::new("spool/log");
    let (mut log, _) = RecordLog::open(Arc::new(fs.clone()), folder, log, &mut |_, _| {}).expect("a log");
    log.append(&record).expect("written");
    drop(log);

    let spool = open();
    let mut reader = spool.reader(KEY);
    let now = clock.monotonic();
    let target = Arc::new(target(message));
    let mut receiver = Receiver::new(target, metrics.clone(), spool.clone(), Random::new(1), now);
    while let Ok(Some(record)) = reader.read() {
        receiver.take(&record, now, clock.unix_ms());
    }
    clock.advance(Duration::from_secs(60));
    let now = clock.monotonic();
    while let Some(attempt) = receiver.poll(now, clock.unix_ms()) {
        check(&attempt.body, attempt.message);
        receiver.answered(attempt.id, Outcome::Answer(Answer { status: 200, ..Answer::default() }), now);
    }
    assert_eq!(receiver.points_in_memory(), 0);
    let seq = receiver.acknowledged();
    spool.acknowledge(KEY, seq).expect("a sound disk");
}

/// What is sent can be read.
fn check(body: &[u8], message: WriteMessage) {
    let body = snap::raw::Decoder::new().decompress_vec(body).expect("compressed");
    match message {
        WriteMessage::V1 => assert!(Request::new(&body).all(|item| item.is_ok())),
        WriteMessage::V2 => assert!(v2::Request::new(&body).all(|item| item.is_ok())),
    }
}

fn target(message: WriteMessage) -> Target {
    Target {
        key: KEY.into(),
        name: KEY.into(),
        url: "http://far/".into(),
        external_labels: Labels::from_pairs([("cluster", "east")]),
        relabel: Vec::new(),
        send_exemplars: true,
        send_native_histograms: true,
        message,
        queue: Queue {
            capacity: 500,
            max_shards: 2,
            min_shards: 1,
            max_samples_per_send: 100,
            batch_send_deadline: Duration::from_secs(5),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            retry_on_rate_limit: false,
            sample_age_limit: Duration::ZERO,
        },
        metadata: Metadata { send: false, send_interval: Duration::from_secs(60), max_samples_per_send: 2 },
    }
}

/// Records of all kinds of entries, compressed and not.
pub fn spool_records() -> Vec<Vec<u8>> {
    [1_u32, 50]
        .map(|series| {
            let mut writer = Writer::default();
            writer.begin();
            let numbers: Vec<u32> = (0..series).collect();
            for number in &numbers {
                let n = number.to_string();
                writer.define(*number, &Labels::from_pairs([("__name__", "up"), ("n", &n)]));
            }
            let values: Vec<f64> = numbers.iter().map(|number| f64::from(*number)).collect();
            let starts: Vec<i64> = numbers.iter().map(|number| i64::from(*number)).collect();
            writer.row(5, &numbers, &values, &starts);
            writer.row(6, &numbers, &values, &[]);
            writer.histogram(0, 7, 3, &NativeHistogram { sum: 2.0, ..NativeHistogram::stale() });
            let labels = Labels::from_pairs([("trace_id", "1")]);
            writer.exemplar(0, &Exemplar { labels, value: 0.5, time_ms: 7 });
            let record = writer.finish(1, 8, &mut snap::raw::Encoder::new()).1.to_vec();
            assert!(record.len() > HEADER_BYTES);
            record
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_changed_records_are_read_and_sent() {
        for record in spool_records() {
            spool_record(&record);
            let mut random = Random::new(3);
            for _ in 0..60 {
                let mut changed = record.clone();
                for _ in 0..=random.below(3) {
                    let at = usize::try_from(random.below(changed.len() as u64)).unwrap();
                    changed[at] = u8::try_from(random.below(256)).unwrap();
                }
                if random.one_in(4) {
                    changed.truncate(usize::try_from(random.below(changed.len() as u64)).unwrap());
                }
                spool_record(&changed);
            }
        }
    }
}
