//! Writes a block: chunks as the series come, the index when all have come.
//!
//! Invariants: the block has its final name only when all of it is synced; memory holds the
//! distinct texts and four bytes for each label of each series, never the samples.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use vedette_model::{Labels, SampleBuffer, TimeRange};

use super::{
    chunk_files,
    crc32c::crc32c,
    encoding::{self, Kind},
    error::BlockError,
    index::{self, ChunkMeta},
    meta::{self, BlockStats, Compaction, Meta},
    tombstones,
};
use crate::bytes::{Cursor, put_signed, put_text, put_varint};

/// Prometheus removes folders of this name when it starts.
const TEMPORARY_EXTENSION: &str = "tmp-for-creation";

/// Version of the index that is written.
const INDEX_VERSION: u8 = 2;

/// A block that is being written.
#[derive(Debug)]
pub struct BlockWriter {
    ulid: String,
    /// Where it will stand.
    path: PathBuf,
    temporary: PathBuf,
    chunks: ChunkWriter,
    /// Labels and chunk lists of the series so far.
    series: BufWriter<File>,
    series_path: PathBuf,
    symbols: HashSet<Box<str>>,
    entry: Vec<u8>,
    range: TimeRange,
    stats: BlockStats,
}

impl BlockWriter {
    /// Begins block `ulid` below `folder`; files of chunks get up to `chunk_file_bytes_max`.
    pub fn create(folder: &Path, ulid: String, chunk_file_bytes_max: u64) -> Result<Self, BlockError> {
        let path = folder.join(&ulid);
        let temporary = path.with_extension(TEMPORARY_EXTENSION);
        let chunks_folder = temporary.join(chunk_files::FOLDER);
        std::fs::create_dir_all(&chunks_folder).map_err(BlockError::io("make", &chunks_folder))?;
        let series_path = temporary.join("series");
        let series = File::create_new(&series_path).map_err(BlockError::io("make", &series_path))?;
        Ok(Self {
            ulid,
            path,
            temporary,
            chunks: ChunkWriter::new(chunks_folder, chunk_file_bytes_max),
            series: BufWriter::new(series),
            series_path,
            symbols: HashSet::new(),
            entry: Vec::new(),
            range: TimeRange { start_ms: i64::MAX, end_ms: i64::MIN },
            stats: BlockStats::default(),
        })
    }

    /// Adds a series, which must come after those before in the order of labels. One without
    /// samples is left out.
    pub fn add(&mut self, labels: &Labels, samples: &SampleBuffer) -> Result<(), BlockError> {
        let (Some(&start_ms), Some(&end_ms)) = (samples.times_ms.first(), samples.times_ms.last()) else {
            return Ok(());
        };
        self.entry.clear();
        put_varint(&mut self.entry, labels.len() as u64);
        for (name, value) in labels {
            put_text(&mut self.entry, name);
            put_text(&mut self.entry, value);
            for text in [name, value] {
                if !self.symbols.contains(text) {
                    self.symbols.insert(text.into());
                }
            }
        }
        let mut list = Vec::new();
        let mut before: Option<ChunkMeta> = None;
        let mut count = 0;
        for run in encoding::runs(samples) {
            let (encoding, data) = encoding::encode(samples, &run);
            let range = TimeRange {
                start_ms: samples.times_ms[run.range.start],
                end_ms: samples.times_ms[run.range.end - 1],
            };
            let chunk = ChunkMeta { range, reference: self.chunks.write(encoding, &data)? };
            put_chunk(&mut list, before, chunk);
            before = Some(chunk);
            count += 1;
            let samples = run.range.len() as u64;
            match run.kind {
                Kind::Float => self.stats.num_float_samples += samples,
                Kind::Histogram | Kind::FloatHistogram => self.stats.num_histogram_samples += samples,
            }
        }
        put_varint(&mut self.entry, count);
        self.entry.extend_from_slice(&list);
        self.series
            .write_all(&(self.entry.len() as u32).to_le_bytes())
            .and_then(|()| self.series.write_all(&self.entry))
            .map_err(BlockError::io("write", &self.series_path))?;
        self.range.start_ms = self.range.start_ms.min(start_ms);
        self.range.end_ms = self.range.end_ms.max(end_ms);
        self.stats.num_samples += samples.len() as u64;
        self.stats.num_chunks += count;
        self.stats.num_series += 1;
        Ok(())
    }

    /// Completes the block and gives it its name; `None`, and nothing is left, when no series
    /// was added.
    pub fn finish(mut self) -> Result<Option<(PathBuf, Meta)>, BlockError> {
        if self.stats.num_series == 0 {
            self.abandon();
            return Ok(None);
        }
        let result = self.finish_parts();
        if result.is_err() {
            self.abandon();
        }
        result.map(|meta| Some((self.path, meta)))
    }

    /// Removes what was written.
    pub fn abandon(&self) {
        // What stays behind, Prometheus removes when it starts.
        let _ = std::fs::remove_dir_all(&self.temporary);
    }

    fn finish_parts(&mut self) -> Result<Meta, BlockError> {
        self.chunks.finish()?;
        self.series.flush().map_err(BlockError::io("write", &self.series_path))?;
        self.write_index()?;
        std::fs::remove_file(&self.series_path).map_err(BlockError::io("remove", &self.series_path))?;
        let meta = Meta {
            ulid: self.ulid.clone(),
            min_time: self.range.start_ms,
            max_time: self.range.end_ms.saturating_add(1),
            stats: self.stats,
            compaction: Compaction { level: 1, sources: vec![self.ulid.clone()], parents: Vec::new() },
            version: 1,
        };
        let mut text = serde_json::to_vec_pretty(&meta).map_err(|error| BlockError::Invalid {
            reason: format!("BUG: the description of a block cannot be written: {error}"),
        })?;
        text.push(b'\n');
        write_synced(&self.temporary.join(tombstones::FILE), &tombstones::empty())?;
        write_synced(&self.temporary.join(meta::FILE), &text)?;
        sync_folder(&self.chunks.folder)?;
        sync_folder(&self.temporary)?;
        std::fs::rename(&self.temporary, &self.path).map_err(BlockError::io("make", &self.path))?;
        if let Some(folder) = self.path.parent() {
            sync_folder(folder)?;
        }
        Ok(meta)
    }

    fn write_index(&mut self) -> Result<(), BlockError> {
        let path = self.temporary.join(index::FILE);
        self.write_index_to(&path).map_err(|error| match error {
            IndexError::Io(source) => BlockError::Io { action: "write", path, source },
            IndexError::TooLarge(reason) => BlockError::Invalid {
                reason: format!("{reason}; give a shorter block span, or fewer series by a selector"),
            },
        })
    }

    fn write_index_to(&mut self, path: &Path) -> Result<(), IndexError> {
        let mut texts: Vec<Box<str>> = std::mem::take(&mut self.symbols).into_iter().collect();
        texts.sort_unstable();
        let numbers: HashMap<&str, u32> = texts.iter().map(|t| &**t).zip(0..).collect();
        let mut out = IndexWriter::create(path)?;
        out.write_symbols(&texts)?;
        let mut entries = BufReader::new(File::open(&self.series_path)?);
        let mut postings = Postings::default();
        let mut entry = Vec::new();
        for _ in 0..self.stats.num_series {
            let mut length = [0; 4];
            entries.read_exact(&mut length)?;
            entry.resize(u32::from_le_bytes(length) as usize, 0);
            entries.read_exact(&mut entry)?;
            out.write_series(&entry, &numbers, &mut postings)?;
        }
        out.write_postings(&texts, &postings)?;
        Ok(out.finish()?)
    }
}

fn put_chunk(out: &mut Vec<u8>, before: Option<ChunkMeta>, chunk: ChunkMeta) {
    let length = chunk.range.end_ms.wrapping_sub(chunk.range.start_ms) as u64;
    match before {
        None => {
            put_signed(out, chunk.range.start_ms);
            put_varint(out, length);
            put_varint(out, chunk.reference);
        }
        Some(before) => {
            put_varint(out, chunk.range.start_ms.wrapping_sub(before.range.end_ms) as u64);
            put_varint(out, length);
            put_signed(out, chunk.reference.wrapping_sub(before.reference) as i64);
        }
    }
}

/// Writes files of chunks, one after the other.
#[derive(Debug)]
struct ChunkWriter {
    folder: PathBuf,
    bytes_max: u64,
    /// The file that is written to; files are numbered from 1, references count them from 0.
    file: Option<(PathBuf, BufWriter<File>)>,
    files: u64,
    written: u64,
    chunk: Vec<u8>,
}

impl ChunkWriter {
    fn new(folder: PathBuf, bytes_max: u64) -> Self {
        Self { folder, bytes_max, file: None, files: 0, written: 0, chunk: Vec::new() }
    }

    /// Writes one chunk and says where it stands.
    fn write(&mut self, encoding: u8, data: &[u8]) -> Result<u64, BlockError> {
        self.chunk.clear();
        put_varint(&mut self.chunk, data.len() as u64);
        let sealed_from = self.chunk.len();
        self.chunk.push(encoding);
        self.chunk.extend_from_slice(data);
        let crc = crc32c(&self.chunk[sealed_from..]);
        self.chunk.extend_from_slice(&crc.to_be_bytes());
        if self.file.is_none() || self.written + self.chunk.len() as u64 > self.bytes_max {
            self.finish()?;
            self.begin()?;
        }
        let Some((path, file)) = &mut self.file else { unreachable!("BUG: a file was begun above") };
        file.write_all(&self.chunk).map_err(BlockError::io("write", path))?;
        let reference = (self.files - 1) << 32 | self.written;
        self.written += self.chunk.len() as u64;
        Ok(reference)
    }

    fn begin(&mut self) -> Result<(), BlockError> {
        self.files += 1;
        let path = self.folder.join(format!("{:06}", self.files));
        let mut header = chunk_files::MAGIC.to_be_bytes().to_vec();
        header.extend_from_slice(&[chunk_files::VERSION, 0, 0, 0]);
        let file = File::create_new(&path).map_err(BlockError::io("make", &path))?;
        let mut file = BufWriter::with_capacity(256 << 10, file);
        file.write_all(&header).map_err(BlockError::io("write", &path))?;
        self.written = header.len() as u64;
        self.file = Some((path, file));
        Ok(())
    }

    /// Syncs the file that is written to.
    fn finish(&mut self) -> Result<(), BlockError> {
        let Some((path, mut file)) = self.file.take() else { return Ok(()) };
        file.flush().and_then(|()| file.get_ref().sync_all()).map_err(BlockError::io("write", &path))
    }
}

/// Why an index was not written.
enum IndexError {
    Io(io::Error),
    TooLarge(String),
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Numbers of series by label: in order of name and value, as the numbers of texts grow with
/// the texts.
#[derive(Debug, Default)]
struct Postings {
    all: Vec<u32>,
    by_label: BTreeMap<(u32, u32), Vec<u32>>,
}

/// Writes the index front to back.
struct IndexWriter {
    file: BufWriter<File>,
    at: u64,
    scratch: Vec<u8>,
    symbols_at: u64,
    series_at: u64,
}

impl IndexWriter {
    fn create(path: &Path) -> io::Result<Self> {
        let mut writer = Self {
            file: BufWriter::with_capacity(256 << 10, File::create_new(path)?),
            at: 0,
            scratch: Vec::new(),
            symbols_at: 0,
            series_at: 0,
        };
        let mut header = index::MAGIC.to_be_bytes().to_vec();
        header.push(INDEX_VERSION);
        writer.put(&header)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn align(&mut self, to: u64) -> io::Result<()> {
        let padding = self.at.next_multiple_of(to) - self.at;
        self.put(&[0; 16][..padding as usize])
    }

    /// A section: its length, the bytes, their checksum.
    fn put_section(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        let length = u32::try_from(bytes.len())
            .map_err(|_| IndexError::TooLarge("a section of the index has more than 4 GiB".to_owned()))?;
        self.put(&length.to_be_bytes())?;
        self.put(bytes)?;
        Ok(self.put(&crc32c(bytes).to_be_bytes())?)
    }

    fn write_symbols(&mut self, texts: &[Box<str>]) -> Result<(), IndexError> {
        self.symbols_at = self.at;
        let mut body = (texts.len() as u32).to_be_bytes().to_vec();
        for text in texts {
            put_text(&mut body, text);
        }
        self.put_section(&body)?;
        self.align(index::SERIES_ALIGNMENT)?;
        self.series_at = self.at;
        Ok(())
    }

    /// Writes one series as [`BlockWriter::add`] left it.
    fn write_series(
        &mut self,
        entry: &[u8],
        numbers: &HashMap<&str, u32>,
        postings: &mut Postings,
    ) -> Result<(), IndexError> {
        let cut_off = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let number = u32::try_from(self.at / index::SERIES_ALIGNMENT)
            .map_err(|_| IndexError::TooLarge("the index has more than 64 GiB of series".to_owned()))?;
        let mut cursor = Cursor::new(entry);
        let count = cursor.varint().ok_or_else(cut_off)?;
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        put_varint(&mut body, count);
        for _ in 0..count {
            let mut text = || Some(*numbers.get(cursor.text()?)?);
            let (name, value) = text().zip(text()).ok_or_else(cut_off)?;
            put_varint(&mut body, u64::from(name));
            put_varint(&mut body, u64::from(value));
            postings.by_label.entry((name, value)).or_default().push(number);
        }
        body.extend_from_slice(cursor.take(cursor.remaining()).ok_or_else(cut_off)?);
        postings.all.push(number);
        let mut length = Vec::new();
        put_varint(&mut length, body.len() as u64);
        self.put(&length)?;
        self.put(&body)?;
        self.put(&crc32c(&body).to_be_bytes())?;
        self.align(index::SERIES_ALIGNMENT)?;
        self.scratch = body;
        Ok(())
    }

    fn write_postings(&mut self, texts: &[Box<str>], postings: &Postings) -> Result<(), IndexError> {
        let postings_at = self.at;
        let mut table = (postings.by_label.len() as u32 + 1).to_be_bytes().to_vec();
        let mut put_entry = |name: &str, value: &str, at: u64| {
            table.push(2);
            put_text(&mut table, name);
            put_text(&mut table, value);
            put_varint(&mut table, at);
        };
        put_entry("", "", self.at);
        self.write_list(&postings.all)?;
        for (&(name, value), list) in &postings.by_label {
            put_entry(&texts[name as usize], &texts[value as usize], self.at);
            self.write_list(list)?;
        }
        let table_at = self.at;
        self.put_section(&table)?;
        // Label indices are not written any more; Prometheus lets their places point behind them.
        let mut contents = Vec::new();
        for at in [self.symbols_at, self.series_at, postings_at, table_at, postings_at, table_at] {
            contents.extend_from_slice(&at.to_be_bytes());
        }
        let crc = crc32c(&contents);
        contents.extend_from_slice(&crc.to_be_bytes());
        Ok(self.put(&contents)?)
    }

    /// Series are aligned to more than the four bytes that lists are, and lists have a multiple of them.
    fn write_list(&mut self, numbers: &[u32]) -> Result<(), IndexError> {
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        body.extend_from_slice(&(numbers.len() as u32).to_be_bytes());
        body.extend(numbers.iter().flat_map(|n| n.to_be_bytes()));
        self.put_section(&body)?;
        self.scratch = body;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), BlockError> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(BlockError::io("write", path))
}

fn sync_folder(path: &Path) -> Result<(), BlockError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(BlockError::io("sync", path))
}
