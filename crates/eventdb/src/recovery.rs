//! Bringing the store back after a restart, whatever the disk gives.
//!
//! The segments say which ids are sealed; events of the write-ahead log with higher ids are
//! the recent ones. So a crash between writing a segment, entering it in the catalogue and
//! removing its part of the log neither loses an event nor shows it twice.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use vedette_sys::{Fs, LogConfig, RecordLog};

use crate::{
    Config, Error,
    catalogue::Catalogue,
    codec::Decoder,
    entry::Entry,
    segment::{self, Segment, SegmentInfo},
};

/// What opening the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Events brought back from the write-ahead log.
    pub events: u64,
    /// Segments in use.
    pub segments: u64,
    /// Segments that the catalogue did not know, and knows now.
    pub adopted: u64,
    /// Bytes of the write-ahead log that were no whole record.
    pub dropped_bytes: u64,
    /// What was found damaged or missing, and where it is kept.
    pub damage: Vec<String>,
}

pub(crate) struct Recovered {
    pub catalogue: Catalogue,
    pub segments: Vec<Arc<SegmentInfo>>,
    pub log: RecordLog,
    pub recent: Vec<Arc<Entry>>,
    pub next_id: u64,
    pub recovery: Recovery,
}

/// First byte of a log record that says below which id all ids have been given; other records
/// are batches of events.
const FLOOR: u8 = 0;

pub(crate) fn floor_record(next_id: u64) -> [u8; 9] {
    let mut record = [FLOOR; 9];
    record[1..].copy_from_slice(&next_id.to_le_bytes());
    record
}

/// After a start ids go on at the next multiple of this, so that ids given to events that a
/// loss of power took are not given again: more are never appended between two flushes.
const ID_STRIDE_BITS: u32 = 20;

pub(crate) fn recover(config: &Config, fs: &Arc<dyn Fs>) -> Result<Recovered, Error> {
    let segment_folder = segment::folder(&config.folder);
    fs.create_dir_all(&segment_folder).map_err(|source| Error::Io {
        action: "make",
        path: segment_folder.clone(),
        source,
    })?;
    let mut recovery = Recovery::default();
    let (catalogue, known, report) = Catalogue::open(config.catalogue, &config.folder, &**fs)?;
    recovery.damage.extend(report);
    let segments = reconcile(&catalogue, known, &**fs, &segment_folder, &mut recovery)?;
    recovery.segments = segments.len() as u64;

    let sealed_max = segments.last().map_or(0, |s| s.last_id);
    let mut highest = sealed_max;
    let mut recent: Vec<Arc<Entry>> = Vec::new();
    let mut decoder = Decoder::default();
    let mut undecodable = 0;
    let mut replay = |_: u64, record: &[u8]| {
        if let [FLOOR, floor @ ..] = record {
            match <[u8; 8]>::try_from(floor) {
                Ok(floor) => highest = highest.max(u64::from_le_bytes(floor).saturating_sub(1)),
                Err(_) => undecodable += 1,
            }
            return;
        }
        let mut last = recent.last().map_or(sealed_max, |e| e.event.id);
        let decoded = decoder.decode(record, |event| {
            if event.id > last {
                last = event.id;
                recent.push(Arc::new(Entry::new(event)));
            }
        });
        highest = highest.max(last);
        undecodable += u64::from(decoded.is_err());
    };
    let log_config = LogConfig { flush: config.flush, ..LogConfig::default() };
    let folder = config.folder.join("wal");
    let opened = RecordLog::open(fs.clone(), &folder, log_config, &mut replay);
    let (log, log_recovery) = opened.map_err(Error::Write)?;
    recovery.events = recent.len() as u64;
    recovery.dropped_bytes = log_recovery.dropped_bytes;
    recovery.damage.extend(log_recovery.damage);
    if undecodable > 0 {
        recovery.damage.push(format!("{undecodable} records of {} cannot be decoded", folder.display()));
    }
    let next_id = if highest == 0 { 1 } else { ((highest >> ID_STRIDE_BITS) + 1) << ID_STRIDE_BITS };
    Ok(Recovered { catalogue, segments, log, recent, next_id, recovery })
}

/// Compares the catalogue with the folder, and makes both say the same.
fn reconcile(
    catalogue: &Catalogue,
    known: Vec<SegmentInfo>,
    fs: &dyn Fs,
    folder: &Path,
    recovery: &mut Recovery,
) -> Result<Vec<Arc<SegmentInfo>>, Error> {
    let io_error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    let mut segments: Vec<SegmentInfo> = Vec::new();
    let mut missing = Vec::new();
    for info in known {
        let path = folder.join(segment::file_name(&info));
        match fs.open_read(&path).and_then(|file| file.len()) {
            Ok(bytes) if bytes == info.bytes => segments.push(info),
            Ok(_) => {
                recovery.damage.push(set_aside(fs, &path, "it has another length than when it was written")?);
                missing.push(info);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                recovery.damage.push(format!("{} is missing", path.display()));
                missing.push(info);
            }
            Err(error) => return Err(io_error("open", &path)(error)),
        }
    }
    catalogue.remove(&missing)?;
    for path in fs.list(folder).map_err(io_error("list", folder))? {
        if path.extension().is_some_and(|e| e == "tmp") {
            // A segment whose making was interrupted: its events are in the log.
            fs.remove(&path).map_err(io_error("remove", &path))?;
            continue;
        }
        let is_known = |s: &SegmentInfo| path == folder.join(segment::file_name(s));
        if segment::parse_file_name(&path).is_none() || segments.iter().any(is_known) {
            continue;
        }
        match Segment::open(fs, &path) {
            Ok(segment) if segments.iter().any(|s| s.overlaps(&segment.info)) => {
                let reason = "its events are in another segment as well";
                recovery.damage.push(set_aside(fs, &path, reason)?);
            }
            Ok(segment) => {
                catalogue.insert(&segment.info)?;
                recovery.adopted += 1;
                segments.push(segment.info);
            }
            Err(Error::Damaged { what, .. }) => recovery.damage.push(set_aside(fs, &path, &what)?),
            Err(error) => return Err(error),
        }
    }
    segments.sort_unstable_by_key(|s| s.first_id);
    Ok(segments.into_iter().map(Arc::new).collect())
}

/// Renames a file that cannot be used, and says so.
pub(crate) fn set_aside(fs: &dyn Fs, path: &Path, reason: &str) -> Result<String, Error> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    fs.rename(path, &aside).map_err(|source| Error::Io {
        action: "rename",
        path: path.to_owned(),
        source,
    })?;
    Ok(format!("{} is damaged ({reason}); it is kept as {}", path.display(), aside.display()))
}
