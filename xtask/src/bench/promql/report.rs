//! The table of queries: a row for each, then the means.

use super::{
    measure::{Outcome, Ratio, geometric_mean, ratio},
    workload::{Case, LISTS},
};
use crate::bench::program::Kind;

/// How many times less CPU Vedette is to take, by geometric mean over all queries.
const GOALS: [(Kind, f64); 2] = [(Kind::Prometheus, 6.0), (Kind::VictoriaMetrics, 4.0)];

/// All queries and what came of them.
#[derive(Default)]
pub struct Report {
    rows: Vec<(Case, Outcome)>,
    /// Queries that Prometheus answers otherwise, and how.
    pub differences: Vec<(String, String)>,
}

impl Report {
    pub fn add(&mut self, case: Case, mut outcome: Outcome) {
        let take = |outcome: &mut Outcome, kind: Kind| {
            let place = outcome.answers.iter().position(|(k, _)| *k == kind)?;
            Some(outcome.answers.swap_remove(place).1)
        };
        let (expected, got) = (take(&mut outcome, Kind::Prometheus), take(&mut outcome, Kind::Vedette));
        if let (Some(expected), Some(got)) = (expected, got)
            && let Some(difference) = if takes_any_of_equals(&case.expr) {
                got.difference_of_values(&expected)
            } else {
                got.difference(&expected)
            }
        {
            self.differences.push((case.name.clone(), difference));
        }
        outcome.answers.clear();
        println!("{}", line(&case, &outcome));
        self.rows.push((case, outcome));
    }

    fn ratios(&self, list: Option<&str>, other: Kind) -> Vec<(&Case, Ratio)> {
        let rows = self.rows.iter().filter(|(case, _)| list.is_none_or(|l| l == case.list));
        rows.filter_map(|(case, o)| Some((case, ratio(o.cost(Kind::Vedette)?, o.cost(other)?)?))).collect()
    }

    /// The query for which Prometheus, or else Vedette, took the most memory.
    pub fn heaviest(&self) -> Option<&Case> {
        let extra = |o: &Outcome| {
            let cost = o.cost(Kind::Prometheus).or(o.cost(Kind::Vedette))?;
            Some(cost.extra_bytes)
        };
        self.rows.iter().max_by_key(|(_, outcome)| extra(outcome)).map(|(case, _)| case)
    }

    /// The means, and what is slower than elsewhere.
    pub fn print_means(&self) {
        println!(
            "\n| geometric mean, times less CPU | queries | than Prometheus | queries | than VictoriaMetrics |"
        );
        println!("|---|---:|---:|---:|---:|");
        for list in LISTS.into_iter().map(Some).chain([None]) {
            let cells = GOALS.map(|(kind, goal)| {
                let ratios = self.ratios(list, kind);
                let mean = geometric_mean(ratios.iter().map(|(_, r)| r.value));
                let text = mean.map_or_else(
                    || "-".to_owned(),
                    |mean| {
                        let mark = if list.is_some() {
                            ""
                        } else if mean >= goal {
                            " ✓"
                        } else {
                            " ✗"
                        };
                        format!("{mean:.2}{mark}")
                    },
                );
                format!("{} | {text}", ratios.len())
            });
            println!("| {} | {} |", list.unwrap_or("all (goal 6 and 4)"), cells.join(" | "));
        }
        for (kind, _) in GOALS {
            let ratios = self.ratios(None, kind);
            let slower: Vec<_> = ratios.iter().filter(|(_, r)| r.high < 1.0).collect();
            println!("\nslower than {} for sure: {} of {}", kind.title(), slower.len(), ratios.len());
            for (case, r) in slower {
                println!("- {} / {}: {}", case.list, case.name, interval(r));
            }
        }
        self.print_left_out();
    }

    fn print_left_out(&self) {
        for kind in Kind::ALL {
            let refusals = |new: bool| {
                let all = self.rows.iter().flat_map(|(case, o)| o.refusals.iter().map(move |r| (case, r)));
                all.filter(move |(case, (k, _))| *k == kind && (case.new && kind != Kind::Vedette) == new)
            };
            let newer = refusals(true).count();
            if newer > 0 {
                println!("\n{} does not know what {newer} newer queries use.", kind.title());
            }
            let refused: Vec<_> = refusals(false).collect();
            if !refused.is_empty() {
                println!("\n{} refuses {}:", kind.title(), refused.len());
            }
            for (case, (_, reason)) in refused {
                println!("- {} / {}: {reason}", case.list, case.name);
            }
        }
        println!("\nanswers that differ from Prometheus': {}", self.differences.len());
        for (name, difference) in &self.differences {
            println!("- {name}: {difference}");
        }
    }
}

/// Whether the answer may hold any of several series with equal values.
fn takes_any_of_equals(expr: &str) -> bool {
    ["topk(", "bottomk(", "limitk(", "limit_ratio("].iter().any(|name| expr.contains(name))
}

/// The head of the table.
pub fn print_head() {
    println!(
        "\nCPU milliseconds of one answer; how many times less Vedette takes, with the 95 % interval.\n"
    );
    println!(
        "| query | Prometheus 2.42 | VictoriaMetrics 1.79 | Vedette | than Prometheus | than VictoriaMetrics | answer kB | extra MB P/V/V |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
}

fn line(case: &Case, outcome: &Outcome) -> String {
    let mut cells = vec![format!("{}: `{}`", case.list, case.name.replace('|', "\\|"))];
    for kind in Kind::ALL {
        cells.push(outcome.cost(kind).map_or_else(|| "-".to_owned(), |c| format!("{:.3}", c.mean_ms())));
    }
    for (other, _) in GOALS {
        let ratio = outcome.cost(Kind::Vedette).and_then(|own| ratio(own, outcome.cost(other)?));
        cells.push(ratio.map_or_else(|| "-".to_owned(), |r| interval(&r)));
    }
    let own = outcome.cost(Kind::Vedette);
    cells.push(own.map_or_else(|| "-".to_owned(), |c| format!("{:.1}", c.answer_bytes as f64 / 1e3)));
    let extra = Kind::ALL.map(|kind| {
        outcome.cost(kind).map_or_else(|| "-".to_owned(), |c| format!("{:.1}", c.extra_bytes as f64 / 1e6))
    });
    cells.push(extra.join(" / "));
    format!("| {} |", cells.join(" | "))
}

fn interval(r: &Ratio) -> String {
    let mark = if r.high < 1.0 { " ✗" } else { "" };
    format!("{:.2} ({:.2} to {:.2}){mark}", r.value, r.low, r.high)
}
