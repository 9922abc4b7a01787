//! From the page of a cluster to batches of samples.

use std::{collections::HashSet, mem, sync::Arc};

use vedette_model::{
    Batch, Labels, LabelsBuilder, MetricMetadata, Origin, Payload, Rejected, Row, Samples, SeriesDefinition,
    Sink, stale_nan,
};
use vedette_wire::exposition::{Dialect, Entry, Sample, TextParser};

use super::{
    PageEnd, StatePage,
    known::{Known, Seen},
};
use crate::scrape::numbers::Numbers;

/// Rows of a batch: enough that handing on costs little, few enough that the store is not held for long.
const BATCH_ROWS: usize = 4096;
/// Families whose meaning is told to the store; there are some 300.
const FAMILIES_MAX: usize = 10_000;

/// Why rows are refused.
pub(super) const REASONS: [&str; 4] = ["unreadable", "repeated", "limit", "store"];
const UNREADABLE: usize = 0;
const REPEATED: usize = 1;
const LIMIT: usize = 2;
const STORE: usize = 3;

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ended {
    /// The page was read to its end, and handed on.
    Stored,
    /// The store did not take it.
    #[default]
    Failed,
    /// There is no page yet.
    NotYet,
    /// Nothing was read, as its rows are stored another way, and all series have ended.
    Elsewhere,
    /// The program ends.
    Stopped,
}

/// What came of a round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Round {
    pub(super) ended: Ended,
    /// Rows of the page.
    pub(super) rows: u64,
    /// Those that were not handed on, as [`REASONS`] has them.
    pub(super) refused_by: [u64; REASONS.len()],
    /// Series that are new.
    pub(super) added: u64,
    /// Series that ended.
    pub(super) gone: u64,
    /// Series that are remembered.
    pub(super) series: usize,
    /// What the store said last, where it refused something.
    pub(super) refusal: Option<String>,
}

impl Round {
    pub(super) fn refused(&self) -> u64 {
        self.refused_by.iter().sum()
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Taken,
    /// Nothing more is tried in this round.
    GivenUp,
    /// All series must be defined anew.
    Forgotten,
    /// The store will never take it; others it may.
    Refused,
}

/// Hands the rows of one cluster on.
pub(super) struct Writer {
    sink: Arc<dyn Sink>,
    origin: Origin,
    seq: u64,
    /// Labels of all rows that do not tell them themselves.
    labels: Vec<(String, String)>,
    known: Known,
    numbers: Numbers,
    series_max: u32,
    /// Families whose meaning the store was told.
    families: HashSet<String>,
    /// What the page said last of what a family means.
    help: String,
    number: u32,
    batch: Samples,
    row: Row,
}

impl Writer {
    /// `labels` are those of all rows; at most `series_max` rows are handed on.
    pub(super) fn new<'a>(
        sink: Arc<dyn Sink>,
        origin: Origin,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        series_max: u32,
    ) -> Self {
        Self {
            sink,
            origin,
            seq: 0,
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            known: Known::default(),
            numbers: Numbers::new(series_max),
            series_max,
            families: HashSet::new(),
            help: String::new(),
            number: 0,
            batch: Samples::default(),
            row: Row::default(),
        }
    }

    /// Reads the page and hands its rows on, at this time. `seconds` tells since when; `wait` waits while the store
    /// takes nothing, and says whether to go on; `stops` whether the program ends.
    pub(super) fn round(
        &mut self,
        page: &dyn StatePage,
        time_ms: i64,
        seconds: &dyn Fn() -> f64,
        wait: &mut dyn FnMut() -> bool,
        stops: &dyn Fn() -> bool,
    ) -> Round {
        for _ in 0..2 {
            // Numbers are far from coming round: a round a second has 136 years.
            self.number = self.number.wrapping_add(1);
            let (round, sent) = (Round::default(), Sent::Taken);
            let mut pass = Pass { writer: &mut *self, time_ms, wait: &mut *wait, round, sent };
            pass.writer.begin_batch();
            let end = page.write(&mut |piece| pass.piece(piece) && !stops());
            let sent = pass.finish(end, seconds, stops);
            let mut round = pass.round;
            round.series = self.known.len();
            if sent != Sent::Forgotten {
                return round;
            }
            self.begin_epoch();
        }
        Round {
            refusal: Some("the store forgets series as soon as they are defined".into()),
            ..Round::default()
        }
    }

    /// Ends all series without reading the page, as its rows are stored another way.
    pub(super) fn end_all(&mut self, time_ms: i64, wait: &mut dyn FnMut() -> bool) -> Round {
        self.number = self.number.wrapping_add(1);
        let (round, sent) = (Round::default(), Sent::Taken);
        let mut pass = Pass { writer: &mut *self, time_ms, wait, round, sent };
        pass.end_gone();
        let Pass { mut round, sent, .. } = pass;
        if sent == Sent::Forgotten {
            // The store knows none of them.
            self.begin_epoch();
        }
        if matches!(sent, Sent::Taken | Sent::Forgotten) {
            round.ended = Ended::Elsewhere;
        }
        round.series = self.known.len();
        round
    }

    fn begin_batch(&mut self) {
        let Samples { defined, retired, released, metadata, rows, histograms, exemplars } = &mut self.batch;
        defined.clear();
        retired.clear();
        released.clear();
        metadata.clear();
        histograms.clear();
        exemplars.clear();
        if let Some(row) = rows.pop() {
            self.row = row;
        }
        rows.clear();
        self.row.series.clear();
        self.row.values.clear();
        self.row.newest_only = false;
    }

    /// Begins a new numbering of series.
    fn begin_epoch(&mut self) {
        self.origin.epoch += 1;
        self.seq = 0;
        self.known = Known::default();
        self.numbers = Numbers::new(self.series_max);
        self.families.clear();
    }

    /// Hands the batch on, again and again for as long as there is patience.
    fn hand_over(&mut self, wait: &mut dyn FnMut() -> bool) -> (Sent, Option<String>) {
        let payload = Payload::Samples(mem::take(&mut self.batch));
        let mut batch = Batch { origin: self.origin.clone(), seq: self.seq + 1, payload };
        let mut refusal = None;
        let sent = loop {
            match self.sink.accept(&batch) {
                Ok(()) => {
                    self.seq += 1;
                    refusal = None;
                    break Sent::Taken;
                }
                Err(Rejected::Retry(reason)) => {
                    refusal = Some(reason);
                    if !wait() {
                        break Sent::GivenUp;
                    }
                }
                Err(Rejected::UnknownSeries(_)) => break Sent::Forgotten,
                Err(Rejected::Invalid(reason)) => {
                    refusal = Some(reason);
                    break Sent::Refused;
                }
            }
        };
        if let Payload::Samples(samples) = &mut batch.payload {
            self.batch = mem::take(samples);
        }
        if matches!(sent, Sent::GivenUp | Sent::Refused) {
            self.take_back();
        }
        (sent, refusal)
    }

    /// Forgets what a batch that was not taken would have told.
    fn take_back(&mut self) {
        let mut numbers: Vec<u32> = self.batch.defined.iter().map(|definition| definition.series).collect();
        self.known.forget(&mut numbers);
        numbers.into_iter().for_each(|number| self.numbers.release(number));
        // The store never heard of them, so it need not be told.
        self.numbers.end_batch();
        for family in &self.batch.metadata {
            self.families.remove(&family.family);
        }
    }

    /// The labels of a row, or `None` where they are none.
    fn labels(&self, sample: &Sample<'_>) -> Option<Labels> {
        // Names that are there twice are found here.
        sample.series.labels().ok()?;
        let told = sample.series.pairs().ok()?;
        let mut labels = LabelsBuilder::new();
        for (name, value) in &told {
            labels.set(name, value);
        }
        for (name, value) in &self.labels {
            if !told.iter().any(|(told, _)| told == name) {
                labels.set(name, value);
            }
        }
        Some(labels.build())
    }
}

/// One round under way.
struct Pass<'a> {
    writer: &'a mut Writer,
    time_ms: i64,
    wait: &'a mut dyn FnMut() -> bool,
    round: Round,
    /// What became of the batches so far: once it is given up, rows are only counted.
    sent: Sent,
}

impl Pass<'_> {
    /// Takes a piece of the page. Says whether more is wanted.
    fn piece(&mut self, piece: &str) -> bool {
        let mut rest = piece.as_bytes();
        while !rest.is_empty() {
            let mut parser = TextParser::new(rest, Dialect::Text);
            let error = loop {
                match parser.next() {
                    None => break None,
                    Some(Err(error)) => break Some(error),
                    Some(Ok(Entry::Sample(sample))) => self.sample(&sample),
                    Some(Ok(Entry::Help { help, .. })) => (*help).clone_into(&mut self.writer.help),
                    Some(Ok(Entry::Type { family, kind })) => {
                        let writer = &mut *self.writer;
                        let help = mem::take(&mut writer.help);
                        if !writer.families.contains(&*family) && writer.families.len() < FAMILIES_MAX {
                            let family = family.into_owned();
                            writer.families.insert(family.clone());
                            let unit = String::new();
                            writer.batch.metadata.push(MetricMetadata { family, kind, unit, help });
                        }
                    }
                    Some(Ok(Entry::Unit { .. })) => {}
                }
                if self.sent == Sent::Forgotten {
                    return false;
                }
            };
            let Some(error) = error else { break };
            // One line that cannot be read costs no other.
            self.round.rows += 1;
            self.round.refused_by[UNREADABLE] += 1;
            let after = rest.get(error.at..).unwrap_or_default();
            let line = after.iter().position(|byte| *byte == b'\n').map_or(after.len(), |at| at + 1);
            rest = &after[line..];
        }
        true
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        self.round.rows += 1;
        if self.sent != Sent::Taken {
            self.round.refused_by[STORE] += 1;
            return;
        }
        if let Err(reason) = self.push(sample) {
            self.round.refused_by[reason] += 1;
        }
    }

    /// Puts a row into the batch; gives the reason where it cannot.
    fn push(&mut self, sample: &Sample<'_>) -> Result<(), usize> {
        let writer = &mut *self.writer;
        let hash = writer.known.hash(sample.series.bytes());
        let number = match writer.known.see(hash, writer.number) {
            Seen::Again(number) => number,
            Seen::Twice => return Err(REPEATED),
            Seen::New => {
                let labels = writer.labels(sample).ok_or(UNREADABLE)?;
                let number = writer.numbers.take().ok_or(LIMIT)?;
                writer.known.insert(hash, number, writer.number);
                writer.batch.defined.push(SeriesDefinition { series: number, labels });
                self.round.added += 1;
                number
            }
        };
        writer.row.series.push(number);
        writer.row.values.push(sample.value);
        if writer.row.series.len() >= BATCH_ROWS {
            self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) {
        let writer = &mut *self.writer;
        let rows = writer.row.series.len();
        if rows == 0 {
            return;
        }
        writer.row.time_ms = self.time_ms;
        writer.batch.rows.push(mem::take(&mut writer.row));
        let (sent, refusal) = writer.hand_over(self.wait);
        writer.begin_batch();
        self.round.refusal = refusal.or(self.round.refusal.take());
        if sent != Sent::Taken {
            self.round.refused_by[STORE] += rows as u64;
        }
        // What is refused for good does not hold up the rest.
        self.sent = if sent == Sent::Refused { Sent::Taken } else { sent };
    }

    /// Ends the round: the last rows, what tells of the round itself, and what is gone.
    fn finish(&mut self, end: PageEnd, seconds: &dyn Fn() -> f64, stops: &dyn Fn() -> bool) -> Sent {
        if self.sent == Sent::Forgotten {
            return Sent::Forgotten;
        }
        self.round.ended = match end {
            PageEnd::NotYet => Ended::NotYet,
            PageEnd::Cut if stops() => Ended::Stopped,
            PageEnd::Cut => Ended::Failed,
            PageEnd::Whole => {
                self.flush();
                if self.sent == Sent::Taken {
                    self.report(seconds());
                }
                if self.sent == Sent::Taken {
                    self.end_gone();
                }
                if self.sent == Sent::Taken { Ended::Stored } else { Ended::Failed }
            }
        };
        if self.round.ended != Ended::Stored {
            // Definitions that were never sent.
            self.writer.take_back();
            self.writer.begin_batch();
        }
        self.sent
    }

    /// The series that a scrape tells of itself.
    fn report(&mut self, seconds: f64) {
        let Round { rows, added, .. } = self.round;
        let stored = rows - self.round.refused();
        let text = format!(
            "up 1\nscrape_duration_seconds {seconds}\nscrape_samples_scraped {rows}\n\
             scrape_samples_post_metric_relabeling {stored}\nscrape_series_added {added}\n"
        );
        // They are no rows of the page.
        let Round { refused_by, .. } = self.round;
        self.piece(&text);
        self.flush();
        self.round = Round { rows, added, refused_by, refusal: self.round.refusal.take(), ..self.round };
    }

    /// Ends the series of rows that the page no longer has.
    fn end_gone(&mut self) {
        loop {
            let writer = &mut *self.writer;
            let mut gone = writer.known.gone(writer.number, BATCH_ROWS);
            if gone.is_empty() {
                return;
            }
            writer.begin_batch();
            writer.batch.released.extend_from_slice(&gone);
            // A series that went on elsewhere does not end.
            writer.row.newest_only = true;
            writer.row.time_ms = self.time_ms;
            writer.row.values.resize(gone.len(), stale_nan());
            writer.row.series.extend_from_slice(&gone);
            writer.batch.rows.push(mem::take(&mut writer.row));
            let (sent, refusal) = writer.hand_over(self.wait);
            writer.begin_batch();
            self.sent = sent;
            if sent != Sent::Taken {
                // They are ended by the next round.
                self.round.refusal = refusal;
                return;
            }
            self.round.gone += gone.len() as u64;
            writer.known.forget(&mut gone);
            gone.into_iter().for_each(|number| writer.numbers.release(number));
            writer.numbers.end_batch();
        }
    }
}
