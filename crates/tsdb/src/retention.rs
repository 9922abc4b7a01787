//! How long samples are kept: by series, by age and by size.
//!
//! The first rule that fits a series tells how long its samples are kept, else the default does.
//! Samples of a series with a rule are hidden to the millisecond when they are older. The others
//! go with their segment, when all of it is older. A segment that has series of both kinds is
//! written anew, without those that are done with, each time that it gets older than what some of
//! its series are kept for; so no segment is written more often than there are rules.
//!
//! Rollups outlive samples, by what they are kept for themselves. But a rule that keeps samples for
//! less than the default does holds for the rollups of these series too: who wants a series gone
//! after a day does not want to find it in rows.
//!
//! Age is counted from the newest sample, but never from a time that the clock has not reached: a
//! clock that runs ahead must not remove data.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use roaring::RoaringBitmap;
use vedette_model::{Labels, Matcher, TimeRange};

use crate::{
    Store,
    head::ShardIndex,
    maintain::{Maintenance, StepError},
    postings::{self, Postings},
    segment::Segment,
};

/// The most rules there may be.
pub(crate) const RULES_MAX: usize = 1000;

/// How long the samples of some series are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// Series that satisfy all of them, and no rule before this one.
    pub matchers: Vec<Matcher>,
    /// Age beyond which their samples are removed.
    pub retention_ms: i64,
}

/// What is kept, at one time.
#[derive(Debug, Clone)]
pub(crate) struct Retention {
    rules: Arc<[RetentionRule]>,
    default_ms: i64,
    /// What age is counted from.
    now_ms: i64,
}

impl Retention {
    /// Everything is kept.
    #[cfg(test)]
    pub fn all() -> Self {
        Self { rules: Arc::new([]), default_ms: i64::MAX, now_ms: 0 }
    }

    fn begin_ms(&self, retention_ms: i64) -> i64 {
        self.now_ms.saturating_sub(retention_ms)
    }

    /// Nothing before this is kept, of whatever series.
    fn first_ms(&self) -> i64 {
        let longest = self.rules.iter().map(|r| r.retention_ms).fold(self.default_ms, i64::max);
        self.begin_ms(longest)
    }

    /// The times at which samples may be hidden now and were not when age was counted from
    /// `then_ms`, or the other way round.
    pub fn changed_since(&self, then_ms: i64) -> Vec<TimeRange> {
        if self.rules.is_empty() || then_ms == self.now_ms {
            return Vec::new();
        }
        let (earlier, later) = (then_ms.min(self.now_ms), then_ms.max(self.now_ms));
        let of_rule = |rule: &RetentionRule| TimeRange {
            start_ms: earlier.saturating_sub(rule.retention_ms),
            end_ms: later.saturating_sub(rule.retention_ms),
        };
        // Without a rule samples are hidden with the whole of their segment.
        let over = TimeRange { start_ms: i64::MIN, end_ms: later.saturating_sub(self.default_ms) };
        self.rules.iter().map(of_rule).chain([over]).collect()
    }

    /// What age is counted from.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Samples of a series in a segment before this are hidden; without one, of one not sealed.
    pub fn hidden_before<'v>(&self, until_ms: Option<i64>, value: impl Fn(&str) -> &'v str) -> i64 {
        if self.rules.is_empty() {
            return i64::MIN;
        }
        let fits = |rule: &&RetentionRule| rule.matchers.iter().all(|m| m.matches(value(&m.name)));
        match self.rules.iter().find(fits) {
            Some(rule) => self.begin_ms(rule.retention_ms),
            // As long as the segment is there for others.
            None if until_ms.is_some_and(|until| until <= self.begin_ms(self.default_ms)) => i64::MAX,
            None => i64::MIN,
        }
    }

    /// [`Retention::hidden_before`] for given labels.
    pub fn hidden_before_of(&self, segment: Option<&Segment>, labels: &Labels) -> i64 {
        self.hidden_before(segment.map(|s| s.footer.until_ms), |name| labels.get(name).unwrap_or(""))
    }

    /// Adds what is hidden of a series in a segment to a mask.
    pub fn extend_mask<'v>(
        &self,
        segment: &Segment,
        value: impl Fn(&str) -> &'v str,
        mask: &mut Vec<TimeRange>,
    ) {
        let before_ms = self.hidden_before(Some(segment.footer.until_ms), value);
        if before_ms > segment.footer.range.start_ms {
            hide_before(before_ms, mask);
        }
    }

    /// Adds what is hidden of the rollups of a series to a mask.
    pub fn extend_mask_of_rollups<'v>(&self, value: impl Fn(&str) -> &'v str, mask: &mut Vec<TimeRange>) {
        let fits = |rule: &&RetentionRule| rule.matchers.iter().all(|m| m.matches(value(&m.name)));
        let rule = self.rules.iter().find(fits);
        if let Some(rule) = rule.filter(|r| r.retention_ms < self.default_ms) {
            hide_before(self.begin_ms(rule.retention_ms), mask);
        }
    }

    /// Whether segments that end then go, but for series that a rule keeps for longer.
    pub fn is_over(&self, until_ms: i64) -> bool {
        until_ms <= self.begin_ms(self.default_ms)
    }

    /// Takes those series out of `numbers` of which a segment has nothing in `range` but what is hidden.
    pub fn hide(&self, segment: &Segment, range: TimeRange, numbers: &mut RoaringBitmap) {
        let is_over = segment.footer.until_ms <= self.begin_ms(self.default_ms);
        let begins = self.rules.iter().map(|r| self.begin_ms(r.retention_ms));
        if !is_over && begins.max().is_none_or(|begin| begin <= segment.footer.range.start_ms) {
            return;
        }
        if self.rules.is_empty() {
            return;
        }
        let (of_rules, of_none) = self.by_rule(segment.index(), numbers);
        for (rule, series) in self.rules.iter().zip(of_rules) {
            let shown = TimeRange { start_ms: self.begin_ms(rule.retention_ms).max(range.start_ms), ..range };
            let mut walk = segment.index().walk(0);
            for number in series {
                if walk.seek(number).is_none() {
                    break;
                }
                if shown.start_ms > shown.end_ms || !shown.overlaps(walk.block.range) {
                    numbers.remove(number);
                }
            }
        }
        if is_over {
            *numbers -= of_none;
        }
    }

    /// As [`Retention::hide`], of rollups.
    pub fn hide_rollups(&self, file: &Segment, range: TimeRange, numbers: &mut RoaringBitmap) {
        let is_shorter = |rule: &&RetentionRule| rule.retention_ms < self.default_ms;
        if !self.rules.iter().any(|r| is_shorter(&r)) {
            return;
        }
        let (of_rules, _) = self.by_rule(file.index(), numbers);
        for (rule, series) in self.rules.iter().zip(of_rules).filter(|(rule, _)| is_shorter(rule)) {
            let start_ms = self.begin_ms(rule.retention_ms).max(range.start_ms);
            let shown = file.index().overlapping(series.clone(), TimeRange { start_ms, ..range });
            *numbers -= series - shown;
        }
    }

    /// Takes those series out of `numbers` that have nothing in `range` in the head but what is hidden.
    pub fn hide_in_head(&self, index: &ShardIndex<'_>, range: TimeRange, numbers: &mut RoaringBitmap) {
        if self.rules.iter().all(|rule| self.begin_ms(rule.retention_ms) <= range.start_ms) {
            return;
        }
        let (of_rules, _) = self.by_rule(index, numbers);
        for (rule, series) in self.rules.iter().zip(of_rules) {
            let start_ms = self.begin_ms(rule.retention_ms).max(range.start_ms);
            let shown = index.overlapping(series.clone(), TimeRange { start_ms, ..range });
            *numbers -= series - shown;
        }
    }

    /// Series of a segment that are kept for a time that is over for all of it.
    fn done_with(&self, segment: &Segment) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..segment.index().len() as u32);
        let (of_rules, of_none) = self.by_rule(segment.index(), &all);
        let kept_ms = self.rules.iter().map(|r| r.retention_ms).chain([self.default_ms]);
        let series = of_rules.into_iter().chain([of_none]);
        let mut done = RoaringBitmap::new();
        for (retention_ms, series) in kept_ms.zip(series) {
            if segment.footer.until_ms <= self.begin_ms(retention_ms) {
                done |= series;
            }
        }
        done
    }

    /// For how many of the times that series are kept for all of a segment is too old.
    fn times_over(&self, segment: &Segment) -> usize {
        let kept_ms = self.rules.iter().map(|r| r.retention_ms).chain([self.default_ms]);
        kept_ms.filter(|ms| segment.footer.until_ms <= self.begin_ms(*ms)).count()
    }

    /// Series by the rule that tells of them, and those of which none does.
    fn by_rule(&self, index: &impl Postings, numbers: &RoaringBitmap) -> (Vec<RoaringBitmap>, RoaringBitmap) {
        let mut left = numbers.clone();
        let of_rule = |rule: &RetentionRule| {
            let series = postings::select(index, &rule.matchers) & &left;
            left -= &series;
            series
        };
        let of_rules = self.rules.iter().map(of_rule).collect();
        (of_rules, left)
    }
}

/// Adds all that is before a time to a mask.
fn hide_before(before_ms: i64, mask: &mut Vec<TimeRange>) {
    let mut hidden = TimeRange { start_ms: i64::MIN, end_ms: before_ms.saturating_sub(1) };
    mask.retain(|r| {
        let touches = r.start_ms <= before_ms;
        hidden.end_ms = if touches { hidden.end_ms.max(r.end_ms) } else { hidden.end_ms };
        !touches
    });
    mask.insert(0, hidden);
}

/// What was looked at, so that it is not looked at again and again.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// For each segment how many of the times that series are kept for were over.
    times_over: HashMap<u64, usize>,
}

impl Store {
    /// What is kept now.
    pub(crate) fn retention(&self) -> Retention {
        // Only later data make data old, and only when their time has come.
        let newest =
            self.head_last_ms.load(Ordering::Acquire).max(self.sealed_until_ms.load(Ordering::Acquire));
        Retention {
            rules: Arc::clone(&self.retention_rules),
            default_ms: self.config.retention_ms,
            now_ms: newest.min(self.clock.unix_ms()),
        }
    }

    /// Removes what is too old, and the oldest where all is too large.
    pub(crate) fn remove_old(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        // What was missed is counted; it is told of until the next look.
        self.clear_problem("rollup before removal");
        let segments = Arc::clone(&self.segments.read());
        let retention = self.retention();
        let oldest_ms = retention.first_ms();
        self.remove_old_rollups(maintenance, retention.now_ms)?;
        let mut bytes =
            segments.iter().map(|s| s.bytes).sum::<u64>() + self.wal_bytes() + self.rollup_bytes();
        let limit = self.config.retention_bytes;
        // Segments may overlap: what ends first goes first.
        let mut by_end: Vec<&Arc<Segment>> = segments.iter().collect();
        by_end.sort_by_key(|s| s.footer.until_ms);
        let old: Vec<Arc<Segment>> = by_end
            .into_iter()
            .take_while(|s| {
                let goes = s.footer.until_ms <= oldest_ms || (limit > 0 && bytes > limit);
                bytes -= if goes { s.bytes } else { 0 };
                goes
            })
            .cloned()
            .collect();
        if !old.is_empty() {
            self.roll_up_before_removal(maintenance, &old, retention.now_ms, false);
            self.remove_segments(maintenance, &old)?;
        }
        if retention.rules.is_empty() { Ok(()) } else { self.apply_rules(maintenance, &retention) }
    }

    /// Writes the first segment anew that has series which are not kept any longer.
    fn apply_rules(&self, maintenance: &mut Maintenance, retention: &Retention) -> Result<(), StepError> {
        let segments = Arc::clone(&self.segments.read());
        maintenance.looked.times_over.retain(|id, _| segments.iter().any(|s| s.id == *id));
        for segment in segments.iter().filter(|s| !s.damaged.load(Ordering::Relaxed)) {
            let times_over = retention.times_over(segment);
            let looked = maintenance.looked.times_over.get(&segment.id).copied().unwrap_or(0);
            if times_over == looked {
                continue;
            }
            let done = retention.done_with(segment).len();
            let all = done == segment.index().len() as u64;
            let old = [Arc::clone(segment)];
            // Rules that keep less than the default hold for rollups too.
            if done > 0 && retention.is_over(segment.footer.until_ms) {
                self.roll_up_before_removal(maintenance, &old, retention.now_ms, !all);
            }
            if all {
                self.remove_segments(maintenance, &old)?;
            } else if done > 0 {
                self.merge(maintenance, &old)?;
                return Ok(());
            }
            maintenance.looked.times_over.insert(segment.id, times_over);
        }
        Ok(())
    }

    fn remove_segments(&self, maintenance: &mut Maintenance, old: &[Arc<Segment>]) -> Result<(), StepError> {
        self.publish(|segments| segments.retain(|s| old.iter().all(|o| o.id != s.id)));
        old.iter().for_each(|segment| self.changes.note(segment.footer.range));
        self.metrics.segments_removed.add(old.len() as u64);
        self.remove_files(maintenance, old)
    }
}
