//! `vedette tsdb`: works on the metric store of a data folder that no Vedette runs on. Only a
//! snapshot is asked of one that runs.

mod analyze;
mod dump;
mod progress;
mod repair;
mod text;
mod verify;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use vedette_model::{Matcher, TimeRange};
use vedette_sys::{Clock, FolderLock, RealFs, SystemClock};
use vedette_tsdb::{Tsdb, prometheus};

use crate::{
    CLEAN,
    cli::{Part, Store, TsdbCommand},
    client::{self, parse_time_ms},
    config::{default_data_dir, parse_duration},
    print,
};
use progress::Line;

/// Does what the command says; the exit status.
pub fn run(command: TsdbCommand) -> Result<u8> {
    match command {
        TsdbCommand::Import { store, blocks } => import(&folder(&store), &blocks)?,
        TsdbCommand::Export { store, output, block_span, part } => {
            export(&folder(&store), &output, &block_span, &part)?;
        }
        TsdbCommand::Dump { store, part } => {
            let (store, _lock) = open(&folder(&store))?;
            dump::print(&store, &selectors(&part)?, range(&part, &store)?)?;
        }
        TsdbCommand::Analyze { store, limit, output } => {
            let (store, _lock) = open(&folder(&store))?;
            analyze::print(&store, limit, output)?;
        }
        TsdbCommand::Merge { store } => merge(&folder(&store))?,
        TsdbCommand::Verify { store } => return verify::run(&folder(&store)),
        TsdbCommand::Repair { store, discard } => return repair::run(&folder(&store), discard),
        TsdbCommand::Snapshot { server, skip_head } => crate::wait(client::snapshot(&server, skip_head))?,
    }
    Ok(CLEAN)
}

/// The data folder.
fn folder(store: &Store) -> PathBuf {
    store.data_dir.clone().unwrap_or_else(default_data_dir)
}

fn import(data: &Path, blocks: &[PathBuf]) -> Result<()> {
    let _lock = FolderLock::acquire(data)?;
    let mut line = Line::new("importing");
    let now_ms = SystemClock.unix_ms();
    let report = prometheus::import(&data.join("metrics"), blocks, now_ms, &mut |p| line.show(p))
        .context("nothing was imported")?;
    line.end();
    println!(
        "imported {} samples of {} blocks into {} segments of {}",
        report.samples,
        report.blocks,
        report.segments.len(),
        data.display()
    );
    if let Some(range) = report.range {
        println!("from {} to {}", print::time(range.start_ms), print::time(range.end_ms));
        println!("What is older than metrics.retention is removed when Vedette runs.");
    }
    if report.refused.histograms > 0 {
        eprintln!(
            "warning: {} native histograms were left out as they contradict themselves; the first: {}",
            report.refused.histograms,
            report.refused.first.unwrap_or_default()
        );
    }
    Ok(())
}

fn export(data: &Path, output: &Path, block_span: &str, part: &Part) -> Result<()> {
    let span = parse_duration(block_span)
        .with_context(|| format!("--block-span {block_span:?} is no duration; write for example 2h or 1d"))?;
    let matchers = selectors(part)?;
    let (store, _lock) = open(data)?;
    let range = range(part, &store)?;
    let mut options = prometheus::ExportOptions::new(SystemClock.unix_ms());
    options.block_span_ms = i64::try_from(span.as_millis())?;
    let mut line = Line::new("exporting");
    let report = if range.start_ms > range.end_ms {
        prometheus::ExportReport::default()
    } else {
        prometheus::export(&store, &matchers, range, output, &options, &mut |p| line.show(p))
            .context("not all was exported; blocks that are complete were left there")?
    };
    line.end();
    for (path, meta) in &report.blocks {
        println!(
            "{}  {}  {}  {} series  {} samples",
            path.display(),
            print::time(meta.min_time),
            print::time(meta.max_time),
            meta.stats.num_series,
            meta.stats.num_samples
        );
    }
    if report.blocks.is_empty() {
        eprintln!("nothing to export: no sample matches");
    }
    Ok(())
}

fn merge(data: &Path) -> Result<()> {
    let (store, _lock) = open(data)?;
    let before = store.stats();
    store.merge_all()?;
    let after = store.stats();
    let size = |stats: &vedette_tsdb::Stats| {
        format!("{} segments of {} KiB", stats.segments, stats.segment_bytes / 1024)
    };
    println!("{} became {}; {} samples are in them", size(&before), size(&after), after.segment_samples);
    Ok(())
}

/// Opens the store of a data folder, which stays locked meanwhile.
fn open(data: &Path) -> Result<(Tsdb, FolderLock)> {
    let folder = store_folder(data)?;
    let lock = FolderLock::acquire(data)?;
    // Nothing is appended, so that no limit but that of the clock matters.
    let config = vedette_tsdb::Config::new(folder);
    let (store, recovery) = Tsdb::open(config, Arc::new(RealFs), Arc::new(SystemClock))
        .with_context(|| format!("cannot open the metric store in {}", data.display()))?;
    for note in recovery.notes {
        eprintln!("warning: {note}");
    }
    Ok((store, lock))
}

fn store_folder(data: &Path) -> Result<PathBuf> {
    let folder = data.join("metrics");
    if !folder.is_dir() {
        bail!("there is no metric store in {}; name a data folder with --data-dir", data.display());
    }
    Ok(folder)
}

fn selectors(part: &Part) -> Result<Vec<Vec<Matcher>>> {
    let parse = |text: &String| {
        vedette_promql::parse_selector(text).map_err(|error| anyhow::anyhow!("--match {text:?}: {error}"))
    };
    part.matches.iter().map(parse).collect()
}

/// The time asked for, as far as the store has samples.
fn range(part: &Part, store: &Tsdb) -> Result<TimeRange> {
    let stats = store.stats();
    let time = |text: &Option<String>| text.as_deref().map(parse_time_ms).transpose();
    let first = stats.first_ms.unwrap_or(0);
    let last = stats.last_ms.unwrap_or(-1);
    Ok(TimeRange {
        start_ms: time(&part.start)?.map_or(first, |t| t.max(first)),
        end_ms: time(&part.end)?.map_or(last, |t| t.min(last)),
    })
}
