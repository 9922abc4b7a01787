//! One block of Prometheus' store, as a reader sees it.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use vedette_model::{SampleBuffer, TimeRange};

use super::{
    chunk_files::ChunkFiles,
    encoding::{self, Refused},
    error::BlockError,
    index::{Index, SeriesEntry, SeriesScan},
    merge,
    meta::{self, Meta},
    tombstones::{self, Tombstones},
};

/// An open block. Nothing of it is in memory but the texts of its labels.
#[derive(Debug)]
pub struct Block {
    pub folder: PathBuf,
    pub meta: Meta,
    index: Index,
    tombstones: Tombstones,
}

impl Block {
    pub fn open(folder: &Path) -> Result<Self, BlockError> {
        Ok(Self {
            meta: Meta::read(folder)?,
            index: Index::open(folder)?,
            tombstones: tombstones::read(folder)?,
            folder: folder.to_owned(),
        })
    }

    /// Goes through the series and their samples.
    pub fn reader(&self) -> Result<BlockReader<'_>, BlockError> {
        Ok(BlockReader {
            block: self,
            series: self.index.series()?,
            chunks: ChunkFiles::open(&self.folder)?,
            chunk: SampleBuffer::default(),
        })
    }
}

/// Goes through a block once, in order of the labels.
#[derive(Debug)]
pub struct BlockReader<'a> {
    block: &'a Block,
    series: SeriesScan<'a>,
    chunks: ChunkFiles,
    /// Samples of one chunk.
    chunk: SampleBuffer,
}

impl BlockReader<'_> {
    /// The next series; `None` at the end.
    pub fn next(&mut self) -> Result<Option<SeriesEntry>, BlockError> {
        self.series.next()
    }

    /// The samples of a series in a range that are not deleted, in place of what was in `out`.
    pub fn read(
        &mut self,
        series: &SeriesEntry,
        range: TimeRange,
        out: &mut SampleBuffer,
        refused: &mut Refused,
    ) -> Result<(), BlockError> {
        out.clear();
        for meta in series.chunks.iter().filter(|c| c.range.overlaps(range)) {
            let raw = self.chunks.get(meta.reference)?;
            let (encoding, chunk) = (raw.encoding, &mut self.chunk);
            chunk.clear();
            if encoding::decode(encoding, raw.data, chunk, refused).is_none() {
                let reason = if encoding::is_known(encoding) {
                    format!("a chunk of {} is not well-formed", series.labels)
                } else {
                    format!("a chunk of {} has encoding {encoding}, which is not known", series.labels)
                };
                return Err(self.chunks.damaged(meta.reference, reason));
            }
            let grows = chunk.times_ms.is_sorted_by(|a, b| a < b);
            if !grows || chunk.times_ms.iter().any(|&t| !meta.range.contains(t)) {
                let reason = format!("the times of a chunk of {} are not those of the index", series.labels);
                return Err(self.chunks.damaged(meta.reference, reason));
            }
            if chunk.times_ms.first() > out.times_ms.last() {
                out.extend_from(chunk);
            } else {
                // Chunks should not overlap; some releases of Prometheus left such behind.
                *out = merge::merge(out, chunk);
            }
        }
        out.cut_to(range, 0);
        if let Some(deleted) = self.block.tombstones.get(&series.number) {
            merge::retain(out, |t| deleted.iter().all(|range| !range.contains(t)));
        }
        Ok(())
    }
}

/// The folders of the blocks that `paths` name: each a block, or a folder of blocks such as the
/// data folder of Prometheus. Blocks that another of them replaces are left out, as Prometheus
/// does; it may have been ended before it removed them.
pub fn find(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Meta)>, BlockError> {
    let mut found: Vec<(PathBuf, Meta)> = Vec::new();
    for path in paths {
        if path.join(meta::FILE).is_file() {
            found.push((path.clone(), Meta::read(path)?));
            continue;
        }
        let before = found.len();
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(path).map_err(BlockError::io("list", path))? {
            folders.push(entry.map_err(BlockError::io("list", path))?.path());
        }
        folders.sort_unstable();
        for folder in folders {
            // Half-written or half-removed blocks have names with an extension.
            if folder.extension().is_none() && folder.join(meta::FILE).is_file() {
                let meta = Meta::read(&folder)?;
                found.push((folder, meta));
            }
        }
        if found.len() == before {
            return Err(BlockError::NoBlock { path: path.clone() });
        }
    }
    let replaced: HashSet<String> =
        found.iter().flat_map(|(_, meta)| meta.compaction.parents.iter().map(|p| p.ulid.clone())).collect();
    found.retain(|(_, meta)| !replaced.contains(&meta.ulid));
    found.sort_by(|a, b| (a.1.min_time, &a.1.ulid).cmp(&(b.1.min_time, &b.1.ulid)));
    found.dedup_by(|a, b| a.1.ulid == b.1.ulid && !a.1.ulid.is_empty());
    Ok(found)
}
