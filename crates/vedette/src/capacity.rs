//! `vedette capacity`: how many nodes of a cluster may fail, by lists of its objects or by its API server. The
//! same is judged all the time of the clusters that `vedette up` watches: [`live`].

mod answer;
pub mod live;
mod metrics;
mod objects;
mod once;
mod outages;

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use vedette_capacity::{
    Advice, Budget, Cluster, Failure, FailureMode, Options, Order, Shortage, Snapshot, Survey, advise, survey,
};

use crate::{
    CLEAN, NOT_DONE, PROBLEMS,
    cli::{Capacity, Failed, Output},
    print,
};

/// Bytes of one file that are read.
const MAX_FILE_BYTES: u64 = 4 << 30;
/// Names in one line of the report.
const MAX_NAMES: usize = 8;

/// Reads, judges and prints; the exit status.
pub fn run(args: &Capacity) -> Result<u8> {
    let mut snapshot = Snapshot::default();
    for file in files(&args.files)? {
        snapshot.read(&read(&file)?, &file.display().to_string())?;
    }
    if args.kubeconfig.is_some() || args.in_cluster {
        crate::wait(once::read(args, &mut snapshot))?;
    }
    let mut options = Options {
        mode: match args.failed {
            Failed::Unreachable => FailureMode::Unreachable,
            Failed::OutOfService => FailureMode::OutOfService,
            Failed::Deleted => FailureMode::Deleted,
        },
        bare_pods_return: args.bare_pods_return,
        order: if args.one_by_one { Order::Arrival } else { Order::Priority },
        ..Options::default()
    };
    if !args.zone_label.is_empty() {
        options.zone_keys.clone_from(&args.zone_label);
    }
    let mut budget = Budget { max_failures: args.max_failures.max(args.survive), ..Budget::default() };
    budget.attempts = budget.attempts.saturating_mul(args.effort);
    budget.exact_steps = budget.exact_steps.saturating_mul(args.effort);
    budget.samples = budget.samples.saturating_mul(usize::try_from(args.effort)?);
    let cluster = Cluster::new(&snapshot, &options)?;
    let survey = survey(&cluster, &budget);
    let advice = if args.no_advice { None } else { advise(&snapshot, &options, &survey, &budget)? };
    match args.format {
        Output::Table => std::io::stdout().lock().write_all(report(&survey, advice.as_ref()).as_bytes())?,
        other => print::value(&serde_json::json!({ "survey": survey, "advice": advice }), other)?,
    }
    if survey.nodes == 0 {
        eprintln!("error: no node is ready, so there is nothing that could fail and nothing that holds");
        return Ok(NOT_DONE);
    }
    Ok(if survey.fails_at.is_some_and(|f| f <= args.survive) {
        PROBLEMS
    } else if survey.survives >= args.survive.min(survey.nodes) {
        CLEAN
    } else {
        eprintln!(
            "error: not all sets of {} nodes could be tried; raise --effort, or ask for less with --survive",
            args.survive
        );
        NOT_DONE
    })
}

/// The files, and those that end in `.json` of each folder.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.with_context(|| format!("cannot read {}", path.display()))?.path();
            if file.extension().is_some_and(|e| e == "json") {
                found.push(file);
            }
        }
        if found.is_empty() {
            bail!("there is no file that ends in .json in {}", path.display());
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(file).and_then(|f| f.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        bail!("{} is larger than {} GiB", file.display(), MAX_FILE_BYTES >> 30);
    }
    Ok(bytes)
}

/// The report for people.
fn report(survey: &Survey, advice: Option<&Advice>) -> String {
    let mut text = String::new();
    let out = &mut text;
    line(out, format_args!("{} nodes, {} pods of {} kinds", survey.nodes, survey.pods, survey.kinds));
    let may = match (survey.survives, survey.fails_at) {
        (_, Some(1)) => "Not every single node may fail.".to_owned(),
        (n, Some(f)) if n + 1 == f => format!("Any {} may fail, but not any {f}.", count(n, "node")),
        (n, Some(f)) => {
            format!("Any {} may fail; not any {f}; between them not all sets were tried.", count(n, "node"))
        }
        (n, None) => format!("Any {} may fail; no set that was tried is too much.", count(n, "node")),
    };
    line(out, format_args!("{may}"));
    if !survey.curve.is_empty() {
        line(
            out,
            format_args!("\nNODES  SURVIVED                   SETS TRIED        PODS WITHOUT PLACE, MEAN"),
        );
    }
    for p in &survey.curve {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let share = match p.exact {
            true => percent(p.share.0),
            false => format!("{} to {} (95 %)", percent(p.share.0), percent(p.share.1)),
        };
        let tried =
            if p.exact { format!("all {}", p.tried) } else { format!("{} of {:.0}", p.tried, p.sets) };
        line(out, format_args!("{:<5}  {share:<25}  {tried:<16}  {:.2}", p.failures, p.mean_pending));
    }
    for zone in &survey.zones {
        let f = &zone.failure;
        let what = if f.pending.is_empty() {
            "survived".to_owned()
        } else {
            count(f.pending.len(), "pod") + " without place"
        };
        line(out, format_args!("\nZone {} ({}): {what}", zone.value, count(f.nodes.len(), "node")));
        describe(out, f);
    }
    if let Some(witness) = &survey.witness {
        line(out, format_args!("\nWorst found: {} fails", names(&witness.nodes)));
        describe(out, witness);
    }
    let others =
        survey.single_failures.iter().filter(|f| survey.witness.as_ref().is_none_or(|w| w.nodes != f.nodes));
    for failure in others {
        line(out, format_args!("\n{} fails", names(&failure.nodes)));
        describe(out, failure);
    }
    if let Some(advice) = advice {
        let sure = if advice.exact { "all" } else { "tried" };
        line(
            out,
            format_args!(
                "\nWith {} more like {} the cluster survives this ({sure} {} sets).",
                count(advice.nodes, "node"),
                advice.like,
                advice.sets_tried
            ),
        );
    }
    if !survey.pending_before.is_empty() {
        line(out, format_args!("\nWithout a node already: {}", names(&survey.pending_before)));
    }
    if !survey.gated.is_empty() {
        line(out, format_args!("Behind a scheduling gate: {}", names(&survey.gated)));
    }
    for note in &survey.notes {
        line(out, format_args!("Note: {note}"));
    }
    text
}

fn describe(out: &mut String, f: &Failure) {
    line(out, format_args!("  {} need a new place", count(f.displaced, "pod")));
    for (priority, pods) in &f.pending_by_priority {
        line(out, format_args!("  {} of priority {priority} get none", count(*pods, "pod")));
    }
    for (what, pods) in [
        ("without place", &f.pending),
        ("wait for their volumes", &f.stuck),
        ("lost, as nobody makes them anew", &f.lost),
        ("stay bound to the failed nodes and are down", &f.bound),
        ("disruption budgets exceeded", &f.budgets_broken),
    ] {
        if !pods.is_empty() {
            line(out, format_args!("  {what}: {}", names(pods)));
        }
    }
    match (&f.shortage, f.could_fit) {
        (Some(shortage), _) => line(out, format_args!("  cannot fit: {}", reason(shortage))),
        (None, Some(false)) => line(out, format_args!("  cannot fit in any way")),
        (None, Some(true)) if !f.pending.is_empty() => {
            line(out, format_args!("  fragmentation: all would fit if they were placed so:"));
            for (pod, node) in f.better_placing.iter().take(MAX_NAMES) {
                line(out, format_args!("    {pod} on {node}"));
            }
            if f.better_placing.len() > MAX_NAMES {
                line(out, format_args!("    and {} more", f.better_placing.len() - MAX_NAMES));
            }
        }
        (None, None) => {
            line(out, format_args!("  whether they could fit otherwise is not known within the effort"));
        }
        _ => {}
    }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Why not all pods can have a place.
fn reason(shortage: &Shortage) -> String {
    match shortage {
        Shortage::Resource { resource, asked, free } => {
            format!("{asked} of {resource} are asked for, {free} are free")
        }
        Shortage::Places { pod, pods, places } => format!("room for {places} of {pods} pods like {pod}"),
        Shortage::Never { pod, reason } => format!("{pod}: {reason}"),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn names(names: &[String]) -> String {
    let mut text = names.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMES {
        // Writing to a string does not fail.
        let _ = write!(text, " and {} more", names.len() - MAX_NAMES);
    }
    text
}

#[cfg(test)]
mod tests;
