//! `vedette tsdb repair`: saves what still reads of damaged segments and says what does not.

use std::path::Path;

use anyhow::{Context, Result};
use vedette_model::TimeRange;
use vedette_sys::{FolderLock, RealFs};
use vedette_tsdb::{Lost, Outcome, Repaired};

use super::{store_folder, text};
use crate::{CLEAN, PROBLEMS, print};

/// Repairs the store of a data folder; the exit status tells whether something is lost.
pub fn run(data: &Path, discard: bool) -> Result<u8> {
    let folder = store_folder(data)?;
    let _lock = FolderLock::acquire(data)?;
    let (mut damaged, mut lossy) = (0, false);
    let sound = vedette_tsdb::repair(&RealFs, &folder, discard, &mut |repaired| {
        damaged += 1;
        lossy |= !repaired.lost.is_empty();
        for line in told(&repaired) {
            println!("{}", text::plain(&line));
        }
    })
    .context("the repair did not come to its end; nothing is lost by it, start it again")?;
    match damaged {
        0 => println!("ok: {sound} files are sound, nothing is to be repaired"),
        _ => println!("{sound} files were sound, {damaged} were looked into"),
    }
    Ok(if lossy { PROBLEMS } else { CLEAN })
}

/// What became of a segment, in lines.
fn told(repaired: &Repaired) -> Vec<String> {
    let path = repaired.path.display();
    let mut lines = vec![match &repaired.outcome {
        Outcome::Saved { new: Some(new), series, samples, flipped } => {
            let bits =
                if *flipped == 0 { String::new() } else { format!(", {flipped} flipped bits set right") };
            format!("{path}: {samples} samples of {series} series saved as {}{bits}", new.display())
        }
        Outcome::Saved { new: None, .. } => format!("{path}: no sample is left in it"),
        Outcome::Superseded => format!("{path}: all that it held stands in another segment"),
        Outcome::SetAside => format!(
            "{path}: these are rollups; they are made anew when Vedette runs, of the samples that are still there"
        ),
        Outcome::Hopeless(reason) => format!("{path}: nothing can be saved, as {reason}"),
    }];
    lines.extend(repaired.lost.iter().map(|lost| format!("  lost: {}", told_lost(lost))));
    if repaired.lost_more > 0 {
        lines.push(format!("  lost: {} further parts of series", repaired.lost_more));
    }
    lines.push(match &repaired.kept {
        Some(kept) => format!("  the damaged file is kept as {}; --discard removes it", kept.display()),
        None => "  the damaged file was removed".to_owned(),
    });
    lines
}

fn told_lost(lost: &Lost) -> String {
    let labels = lost.labels.as_ref().map_or_else(|| "series that cannot be told".to_owned(), text::labels);
    let samples = lost.samples.map_or_else(|| "samples".to_owned(), |n| format!("{n} samples"));
    match lost.range {
        Some(TimeRange { start_ms, end_ms }) => {
            format!("{labels}, {samples} from {} to {}", print::time(start_ms), print::time(end_ms))
        }
        None => format!("{labels}, {samples} of a time that cannot be told"),
    }
}
