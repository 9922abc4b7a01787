//! Writers against a store that remembers everything.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use vedette_model::{Batch, Labels, Origin, Payload, Rejected, Sink, is_stale};

use super::{
    PageEnd, StatePage,
    writer::{Ended, Round, Writer},
};

/// Samples by the labels of their series; `None` ends it.
#[derive(Default)]
struct Store(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    epoch: u64,
    names: HashMap<u32, Labels>,
    samples: BTreeMap<(String, i64), Option<f64>>,
    families: Vec<String>,
    defined: usize,
    largest: usize,
    /// What the next batches are answered; the last comes first.
    answers: Vec<Rejected>,
    /// How many batches are taken before those answers.
    taken_before: usize,
}

impl Sink for Store {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        let mut kept = self.0.lock();
        let kept = &mut *kept;
        if kept.taken_before > 0 {
            kept.taken_before -= 1;
        } else if let Some(answer) = kept.answers.pop() {
            return Err(answer);
        }
        if kept.epoch != batch.origin.epoch {
            kept.epoch = batch.origin.epoch;
            kept.names.clear();
        }
        let Payload::Samples(samples) = &batch.payload else { panic!("only samples") };
        kept.defined += samples.defined.len();
        for definition in &samples.defined {
            let before = kept.names.insert(definition.series, definition.labels.clone());
            assert_eq!(before, None, "a number stands for one series");
        }
        kept.largest = kept.largest.max(samples.rows.iter().map(|row| row.series.len()).sum());
        for row in &samples.rows {
            assert_eq!(row.series.len(), row.values.len());
            for (number, value) in row.series.iter().zip(&row.values) {
                let labels = kept.names.get(number).ok_or(Rejected::UnknownSeries(*number))?;
                assert_eq!(row.newest_only, is_stale(*value), "markers end nothing that went on elsewhere");
                let value = (!is_stale(*value)).then_some(*value);
                let before = kept.samples.insert((labels.to_string(), row.time_ms), value);
                assert_eq!(before, None, "one sample at a time: {labels}");
            }
        }
        for number in &samples.released {
            assert!(kept.names.remove(number).is_some(), "what is released was there");
        }
        kept.families
            .extend(samples.metadata.iter().map(|m| format!("{} {} {}", m.family, m.kind.as_str(), m.help)));
        Ok(())
    }
}

/// Pieces of a page.
struct Pieces(Vec<String>);

impl StatePage for Pieces {
    fn write(&self, take: &mut dyn FnMut(&str) -> bool) -> PageEnd {
        if self.0.is_empty() {
            return PageEnd::NotYet;
        }
        if self.0.iter().all(|piece| take(piece)) { PageEnd::Whole } else { PageEnd::Cut }
    }
}

fn page(text: &str) -> Pieces {
    Pieces(vec![text.to_owned()])
}

fn writer(store: &Arc<Store>, labels: &[(&str, &str)], series_max: u32) -> Writer {
    let origin =
        Origin { tenant: "default".into(), cluster: "h".into(), source: "h/state/c".into(), epoch: 1 };
    Writer::new(store.clone(), origin, labels.iter().copied(), series_max)
}

const LABELS: [(&str, &str); 2] = [("job", "kube-state-metrics"), ("instance", "c")];

/// A round that waits for the store so many times.
fn patient_round(writer: &mut Writer, page: &Pieces, time_ms: i64, mut patience: usize) -> Round {
    let mut wait = || {
        patience = patience.saturating_sub(1);
        patience > 0
    };
    writer.round(page, time_ms, &|| 0.5, &mut wait, &|| false)
}

fn round(writer: &mut Writer, page: &Pieces, time_ms: i64) -> Round {
    patient_round(writer, page, time_ms, 0)
}

/// What the store has of a time, but for what the round tells of itself.
fn at(store: &Store, time_ms: i64) -> Vec<(String, Option<f64>)> {
    let kept = store.0.lock();
    let of_time = kept.samples.iter().filter(|((_, time), _)| *time == time_ms);
    of_time
        .filter(|((name, _), _)| !name.starts_with("up{") && !name.starts_with("scrape_"))
        .map(|((name, _), value)| (name.clone(), *value))
        .collect()
}

#[test]
fn rows_get_the_labels_of_a_scrape_and_keep_their_own() {
    let store = Arc::<Store>::default();
    let mut writer = writer(&store, &[LABELS[0], LABELS[1], ("cluster", "c")], 100);
    let text = "# HELP kube_pod_info About\\na pod.\n# TYPE kube_pod_info gauge\n\
        kube_pod_info{cluster=\"c\",pod=\"a\\\"b\",node=\"\"} 1\nkube_x{job=\"own\",instance=\"\"} -2.5\n\
        # HELP kube_b_total B.\n# TYPE kube_b_total counter\nkube_b_total{} NaN\n";
    let done = round(&mut writer, &page(text), 7);
    assert_eq!((done.ended, done.rows, done.refused(), done.added, done.series), (Ended::Stored, 3, 0, 3, 8));
    let told = at(&store, 7);
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    let job = "job=\"kube-state-metrics\"";
    assert_eq!(
        names,
        [
            format!("kube_b_total{{cluster=\"c\", instance=\"c\", {job}}}"),
            format!("kube_pod_info{{cluster=\"c\", instance=\"c\", {job}, pod=\"a\\\"b\"}}"),
            // Told to be empty, a label stays away.
            "kube_x{cluster=\"c\", job=\"own\"}".to_owned(),
        ]
    );
    assert!(told[0].1.is_some_and(f64::is_nan) && (told[1].1, told[2].1) == (Some(1.0), Some(-2.5)));
    let kept = store.0.lock();
    assert_eq!(kept.families, ["kube_pod_info gauge About\na pod.", "kube_b_total counter B."]);
    let of_itself: Vec<_> =
        ["up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added"]
            .iter()
            .map(|name| kept.samples[&(format!("{name}{{cluster=\"c\", instance=\"c\", {job}}}"), 7)])
            .collect();
    assert_eq!(of_itself, [Some(1.0), Some(0.5), Some(3.0), Some(3.0)]);
}

#[test]
fn what_the_page_no_longer_has_ends_once_and_may_come_back() {
    let store = Arc::<Store>::default();
    let mut writer = writer(&store, &LABELS, 100);
    let (both, one) = (page("a{p=\"1\"} 1\na{p=\"2\"} 2\n"), page("a{p=\"2\"} 3\n"));
    assert_eq!(round(&mut writer, &both, 1).gone, 0);
    let done = round(&mut writer, &one, 2);
    assert_eq!((done.gone, done.added, done.series), (1, 0, 6));
    let values = |time| at(&store, time).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(values(2), [None, Some(3.0)]);
    assert_eq!((round(&mut writer, &one, 3).gone, values(3)), (0, vec![Some(3.0)]));
    assert_eq!((round(&mut writer, &both, 4).added, values(4)), (1, vec![Some(1.0), Some(2.0)]));
    // An empty page ends all of it; one that is cut, or none at all, ends nothing.
    let cut = writer.round(&one, 5, &|| 0.0, &mut || false, &|| true);
    assert_eq!((cut.ended, values(5)), (Ended::Stopped, vec![]));
    assert_eq!((round(&mut writer, &Pieces(vec![]), 6).ended, values(6)), (Ended::NotYet, vec![]));
    assert_eq!((round(&mut writer, &page("# only this\n"), 7).gone, values(7)), (2, vec![None, None]));
}

#[test]
fn what_is_stored_another_way_ends_and_may_come_back() {
    let store = Arc::<Store>::default();
    let mut writer = writer(&store, &LABELS, 100);
    let text = page("a{p=\"1\"} 1\na{p=\"2\"} 2\n");
    round(&mut writer, &text, 1);
    // A store that takes nothing is told later.
    store.0.lock().answers = vec![Rejected::Retry("disk full".into())];
    let done = writer.end_all(2, &mut || false);
    assert_eq!((done.ended, done.gone, done.series), (Ended::Failed, 0, 7));
    let done = writer.end_all(3, &mut || false);
    assert_eq!((done.ended, done.gone, done.series), (Ended::Elsewhere, 7, 0));
    assert!(at(&store, 3).iter().all(|(_, value)| value.is_none()));
    assert_eq!((at(&store, 3).len(), writer.end_all(4, &mut || false).gone, at(&store, 4).len()), (2, 0, 0));
    assert_eq!((round(&mut writer, &text, 5).added, at(&store, 5).len()), (2, 2));
    store.0.lock().answers = vec![Rejected::UnknownSeries(0)];
    let done = writer.end_all(6, &mut || false);
    assert_eq!((done.ended, done.series), (Ended::Elsewhere, 0));
    assert_eq!((round(&mut writer, &text, 7).added, at(&store, 7).len()), (2, 2));
}

#[test]
fn large_pages_go_in_batches_and_are_defined_once() {
    let store = Arc::<Store>::default();
    let mut writer = writer(&store, &LABELS, 1 << 20);
    let rows: Vec<String> = (0..20_000).map(|i| format!("a{{p=\"{i}\"}} {i}\n")).collect();
    let pieces = Pieces(rows.chunks(999).map(|rows| rows.concat()).collect());
    for time in 1..=3 {
        let done = round(&mut writer, &pieces, time);
        assert_eq!((done.ended, done.rows, done.series), (Ended::Stored, 20_000, 20_005));
        assert_eq!(at(&store, time).len(), 20_000);
    }
    assert_eq!(store.0.lock().defined, 20_005);
    // Half of it goes, in several batches as well.
    let half = Pieces(rows[..10_000].chunks(999).map(|rows| rows.concat()).collect());
    assert_eq!(round(&mut writer, &half, 4).gone, 10_000);
    assert_eq!(at(&store, 4).iter().filter(|(_, value)| value.is_none()).count(), 10_000);
    assert!(store.0.lock().largest <= 4096, "{}", store.0.lock().largest);
}

#[test]
fn a_store_that_takes_nothing_costs_a_round_and_no_marker() {
    let store = Arc::<Store>::default();
    let mut writer = writer(&store, &LABELS, 1 << 20);
    let rows: Vec<String> = (0..9_000).map(|i| format!("a{{p=\"{i}\"}} 1\n")).collect();
    let (all, fewer) = (page(&rows.concat()), page(&rows[1..].concat()));
    let full = || Rejected::Retry("disk full".into());
    // The first batch of a round is taken, the second is refused for longer than there is patience.
    store.0.lock().taken_before = 1;
    store.0.lock().answers = vec![full(); 3];
    let done = patient_round(&mut writer, &all, 1, 3);
    assert_eq!((done.ended, done.refusal.as_deref()), (Ended::Failed, Some("disk full")));
    assert_eq!((done.rows, done.refused_by), (9_000, [0, 0, 0, 9_000 - 4_096]));
    assert_eq!(done.series, 4_096, "what the store never heard of is defined later");
    // A short refusal costs nothing.
    store.0.lock().answers = vec![full(); 2];
    let done = patient_round(&mut writer, &all, 2, 3);
    assert_eq!((done.ended, done.refused(), done.refusal), (Ended::Stored, 0, None));
    assert_eq!(at(&store, 2).len(), 9_000);
    // What goes while the store takes nothing ends as soon as it does.
    store.0.lock().answers = vec![full()];
    assert_eq!(round(&mut writer, &fewer, 3).ended, Ended::Failed);
    assert!(at(&store, 3).is_empty());
    assert_eq!(round(&mut writer, &fewer, 4).gone, 1);
    assert_eq!(at(&store, 4).iter().filter(|(_, value)| value.is_none()).count(), 1);
}

#[test]
fn a_store_that_has_forgotten_is_told_everything_anew() {
    let store = Arc::<Store>::default();
    let mut writer = writer(&store, &LABELS, 100);
    let text = page("# HELP a A.\n# TYPE a gauge\na{p=\"1\"} 1\na{p=\"2\"} 2\n");
    round(&mut writer, &text, 1);
    store.0.lock().answers = vec![Rejected::UnknownSeries(0)];
    let done = round(&mut writer, &text, 2);
    assert_eq!((done.ended, done.rows, done.series, at(&store, 2).len()), (Ended::Stored, 2, 7, 2));
    let told = |kept: &Kept| (kept.epoch, kept.families.len());
    assert_eq!(told(&store.0.lock()), (2, 2));
    // One that forgets again at once is not asked for ever.
    store.0.lock().answers = vec![Rejected::UnknownSeries(0); 2];
    assert_eq!(round(&mut writer, &text, 3).ended, Ended::Failed);
    assert_eq!(round(&mut writer, &text, 4).ended, Ended::Stored);
    // What is refused for good is counted, and the next round begins anew with it.
    store.0.lock().answers = vec![Rejected::Invalid("wrong".into())];
    let done = round(&mut writer, &page("b 1\n"), 5);
    assert_eq!((done.refused_by, done.refusal.as_deref()), ([0, 0, 0, 1], Some("wrong")));
    assert_eq!((round(&mut writer, &page("b 1\n"), 6).refused(), at(&store, 6).len()), (0, 1));
}

#[test]
fn rows_that_cannot_be_stored_are_counted_and_cost_no_other() {
    let store = Arc::<Store>::default();
    let mut writer = writer(&store, &LABELS, 10);
    let text = "a{p=\"1\"} 1\na{p=\"1\"} 2\na{p=} 1\nb{p=\"1\",p=\"2\"} 1\nc{} what\nd 4\n";
    let done = round(&mut writer, &page(text), 1);
    assert_eq!((done.rows, done.refused_by), (6, [3, 1, 0, 0]));
    let values: Vec<_> = at(&store, 1).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [Some(1.0), Some(4.0)]);
    // Ten series, five of which are of the round itself.
    let many: String = (0..9).map(|i| format!("m{{p=\"{i}\"}} 1\n")).collect();
    let done = round(&mut writer, &page(&many), 2);
    assert_eq!((done.refused_by, done.ended), ([0, 0, 6, 0], Ended::Stored));
    // There is room again when what was there has ended.
    assert_eq!(round(&mut writer, &page(&many), 3).refused_by, [0, 0, 4, 0]);
}
