//! What a query costs: CPU time of the whole process, in rounds in which the programs take turns.
//!
//! The machine's speed drifts, so a ratio is taken inside each round, and how sure it is comes
//! from how much the rounds differ.

use std::time::Duration;

use anyhow::{Result, ensure};
use vedette_sys::Random;

use super::answers::Answer;
use crate::bench::{
    http::Client,
    program::{Kind, Program},
};

const REPEATS_MAX: u32 = 4_000;
/// What a program still does for an answer when the answer is there.
const AFTERMATH: Duration = Duration::from_millis(3);
/// Drawings with replacement behind an interval.
const DRAWINGS: usize = 2_000;
const SEED: u64 = 7;

/// How long each query is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Of each program, over all rounds.
    pub cpu_min: Duration,
}

/// A program that is asked.
pub struct Subject {
    pub kind: Kind,
    pub program: Program,
    pub client: Client,
}

/// What one program took for one query.
#[derive(Debug, Clone)]
pub struct Cost {
    pub kind: Kind,
    /// CPU milliseconds of one answer, by round.
    pub cpu_ms: Vec<f64>,
    /// The most that was resident above what was before, of the first answer.
    pub extra_bytes: u64,
    pub answer_bytes: usize,
}

impl Cost {
    /// The mean of all rounds.
    pub fn mean_ms(&self) -> f64 {
        self.cpu_ms.iter().sum::<f64>() / self.cpu_ms.len() as f64
    }
}

/// What came of one query: each program's cost, or why it gave no answer.
pub struct Outcome {
    pub costs: Vec<Cost>,
    pub refusals: Vec<(Kind, String)>,
    pub answers: Vec<(Kind, Answer)>,
}

impl Outcome {
    pub fn cost(&self, kind: Kind) -> Option<&Cost> {
        self.costs.iter().find(|c| c.kind == kind)
    }
}

/// Asks all programs for what `target` gives for each.
pub fn measure(subjects: &mut [Subject], target: &dyn Fn(Kind) -> String, effort: Effort) -> Result<Outcome> {
    let mut outcome = Outcome { costs: Vec::new(), refusals: Vec::new(), answers: Vec::new() };
    let mut repeats = Vec::new();
    for subject in subjects.iter_mut() {
        let target = target(subject.kind);
        subject.program.process.reset_peak()?;
        let before = subject.program.process.resident()?;
        let (status, body) = subject.client.get(&target)?;
        let extra_bytes = subject.program.process.peak()?.saturating_sub(before);
        if status != 200 {
            let reason: String = body.trim().chars().take(160).collect();
            outcome.refusals.push((subject.kind, format!("{status} {reason}")));
            continue;
        }
        outcome.answers.push((subject.kind, Answer::parse(&body)?));
        let kind = subject.kind;
        outcome.costs.push(Cost { kind, cpu_ms: Vec::new(), extra_bytes, answer_bytes: body.len() });
        drop(body);
        repeats.push(calibrate(subject, &target, effort)?);
    }
    for round in 0..effort.rounds {
        for turn in 0..outcome.costs.len() {
            let place = (turn + round) % outcome.costs.len();
            let cost = &mut outcome.costs[place];
            let Some(subject) = subjects.iter_mut().find(|s| s.kind == cost.kind) else { continue };
            let cpu = spend(subject, &target(cost.kind), repeats[place])?;
            cost.cpu_ms.push(cpu.as_secs_f64() * 1e3 / f64::from(repeats[place]));
        }
    }
    Ok(outcome)
}

/// How often the query is repeated in one round.
fn calibrate(subject: &mut Subject, target: &str, effort: Effort) -> Result<u32> {
    let goal = effort.cpu_min / effort.rounds as u32;
    let mut repeats = 1;
    loop {
        let cpu = spend(subject, target, repeats)?;
        if cpu >= goal || repeats >= REPEATS_MAX {
            return Ok(repeats);
        }
        // A reading of a few ticks says little: grow by steps until it is worth something.
        let factor = goal.as_secs_f64() / cpu.as_secs_f64().max(1e-3);
        if cpu >= goal / 4 {
            return Ok((f64::from(repeats) * factor * 1.1).ceil().min(f64::from(REPEATS_MAX)) as u32);
        }
        repeats = (f64::from(repeats) * factor.clamp(2.0, 16.0)).min(f64::from(REPEATS_MAX)) as u32;
    }
}

/// CPU time that so many answers take.
pub fn spend(subject: &mut Subject, target: &str, repeats: u32) -> Result<Duration> {
    let before = subject.program.process.cpu()?;
    for _ in 0..repeats {
        let (status, _) = subject.client.get(target)?;
        ensure!(status == 200, "{} answers {target} with {status} now", subject.kind.title());
    }
    std::thread::sleep(AFTERMATH);
    Ok(subject.program.process.cpu()? - before)
}

/// A ratio of two programs' costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    pub value: f64,
    /// 95 of 100 times it lies in here.
    pub low: f64,
    pub high: f64,
}

/// `other` over `own`, round by round: how many times less `own` takes.
pub fn ratio(own: &Cost, other: &Cost) -> Option<Ratio> {
    let logs: Vec<f64> = (other.cpu_ms.iter().zip(&own.cpu_ms))
        .filter(|(other, own)| **other > 0.0 && **own > 0.0)
        .map(|(other, own)| (other / own).ln())
        .collect();
    if logs.is_empty() {
        return None;
    }
    let mean = |sum: f64| sum / logs.len() as f64;
    let mut random = Random::new(SEED);
    let mut drawn: Vec<f64> = (0..DRAWINGS)
        .map(|_| mean((0..logs.len()).map(|_| logs[random.below(logs.len() as u64) as usize]).sum()))
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[((DRAWINGS - 1) as f64 * share) as usize].exp();
    Some(Ratio { value: mean(logs.iter().sum()).exp(), low: at(0.025), high: at(0.975) })
}

/// The geometric mean.
pub fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += value.ln();
        count += 1;
    }
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(cpu_ms: &[f64]) -> Cost {
        Cost { kind: Kind::Vedette, cpu_ms: cpu_ms.to_vec(), extra_bytes: 0, answer_bytes: 0 }
    }

    #[test]
    fn a_ratio_is_as_sure_as_its_rounds_agree() {
        let own = cost(&[1.0, 2.0, 4.0, 8.0]);
        let sure = ratio(&own, &cost(&[3.0, 6.0, 12.0, 24.0])).expect("a ratio");
        assert!((sure.value - 3.0).abs() < 1e-9 && (sure.high - sure.low).abs() < 1e-9, "{sure:?}");
        let unsure = ratio(&own, &cost(&[9.0, 2.0, 12.0, 8.0])).expect("a ratio");
        assert!(unsure.low < unsure.value && unsure.value < unsure.high, "{unsure:?}");
        assert!((unsure.value - 27f64.powf(0.25)).abs() < 1e-9, "{unsure:?}");
        assert_eq!(ratio(&own, &cost(&[0.0; 4])), None);
    }

    #[test]
    fn means_are_geometric() {
        assert!((geometric_mean([2.0, 8.0].into_iter()).expect("a mean") - 4.0).abs() < 1e-12);
        assert_eq!(geometric_mean(std::iter::empty()), None);
    }
}
