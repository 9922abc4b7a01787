//! Reads what a search needs from a segment, and checks it before it is decoded.

use std::{collections::HashMap, path::Path, path::PathBuf};
use std::{io, sync::Arc};

use bytes::{Buf, Bytes};
use parquet::{
    bloom_filter::Sbbf,
    column::reader::ColumnReaderImpl,
    data_type::{ByteArray, ByteArrayType, DataType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
        statistics::Statistics,
    },
};
use vedette_model::{Event, EventKind, ProcessKey};
use vedette_sys::{File, Fs};

use super::{COLUMNS, Column, INFO_KEY, Presence, SegmentInfo, info::severity_rank, parse_file_name};
use crate::{Error, codec::Decoder, search::Filter};

/// The longest footer that is believed.
const FOOTER_BYTES_MAX: u64 = 64 << 20;

/// An open segment.
pub(crate) struct Segment {
    pub info: SegmentInfo,
    path: PathBuf,
    file: Box<dyn File>,
    metadata: ParquetMetaData,
    /// Checksums of each row group's chunks and bloom filters.
    checksums: Vec<Vec<Checksums>>,
}

#[derive(Clone, Copy)]
struct Checksums {
    chunk: u32,
    bloom: Option<u32>,
}

/// Where a column's bloom filter stands.
pub(super) fn bloom_range(column: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let start = column.bloom_filter_offset()?.try_into().ok()?;
    Some((start, column.bloom_filter_length()?.try_into().ok()?))
}

/// Events to choose from a segment.
pub(crate) struct Chosen<'a> {
    pub filter: &'a Filter,
    /// How many may still be chosen.
    pub limit: usize,
    /// How many rows may still be looked at; checked between row groups.
    pub rows_max: u64,
    pub events: Vec<Event>,
    pub scanned: u64,
    pub damaged: Vec<String>,
    /// Every row with this id or a higher one has been looked at.
    pub reached: u64,
}

impl Segment {
    /// Opens a segment and checks its footer against the checksum in its name.
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let damaged = |what: &str| Error::Damaged { path: path.to_owned(), what: what.to_owned() };
        let (first, last, checksum) = parse_file_name(path).ok_or_else(|| damaged("the file's name"))?;
        let file = fs.open_read(path).map_err(io_error)?;
        let bytes = file.len().map_err(io_error)?;
        let mut tail = [0; 8];
        let tail_at = bytes.checked_sub(8).ok_or_else(|| damaged("the file's length"))?;
        file.read_exact_at(&mut tail, tail_at).map_err(io_error)?;
        let length = u64::from(u32::from_le_bytes(std::array::from_fn(|i| tail[i])));
        let start = tail_at.checked_sub(length).filter(|_| length <= FOOTER_BYTES_MAX);
        let start = start.ok_or_else(|| damaged("the footer"))?;
        let footer = read_range(&*file, start, length + 8).map_err(io_error)?;
        if crc32fast::hash(&footer) != checksum {
            return Err(damaged("the footer"));
        }
        let metadata = ParquetMetaDataReader::decode_metadata(&footer[..footer.len() - 8])
            .map_err(|e| damaged(&e.to_string()))?;
        let (mut info, words) = describe(&metadata).ok_or_else(|| damaged("the footer's description"))?;
        info.bytes = bytes;
        info.footer_checksum = checksum;
        let checksums = assign(&metadata, &words).ok_or_else(|| damaged("the footer's checksums"))?;
        if (info.first_id, info.last_id) != (first, last) {
            return Err(damaged("the file's name"));
        }
        Ok(Self { info, path: path.to_owned(), file, metadata, checksums })
    }

    /// Adds matching events, highest id first, until one of the limits is reached.
    pub(crate) fn choose(&self, chosen: &mut Chosen<'_>) -> Result<(), Error> {
        for number in (0..self.metadata.num_row_groups()).rev() {
            let group = Group::new(self, number);
            let Some((first, last)) = group.bounds(Column::Id) else { continue };
            if chosen.events.len() >= chosen.limit || chosen.scanned >= chosen.rows_max {
                return Ok(());
            }
            if first.cast_unsigned() < chosen.filter.before {
                match group.choose(chosen) {
                    Ok(true) => {}
                    // The limit was reached inside of the group.
                    Ok(false) => return Ok(()),
                    Err(Error::Damaged { path, what }) => {
                        let ids = format!("events {first} to {last}");
                        chosen.damaged.push(format!("{}: {what} ({ids})", path.display()));
                    }
                    Err(error) => return Err(error),
                }
            }
            chosen.reached = chosen.reached.min(first.cast_unsigned());
        }
        Ok(())
    }

    /// The event of that id.
    pub(crate) fn get(&self, id: u64) -> Result<Option<Event>, Error> {
        for number in 0..self.metadata.num_row_groups() {
            let mut group = Group::new(self, number);
            let bounds = group.bounds(Column::Id);
            if bounds.is_some_and(|(a, b)| (a.cast_unsigned()..=b.cast_unsigned()).contains(&id)) {
                let ids = group.numbers(Column::Id)?;
                return match ids.iter().position(|n| n.cast_unsigned() == id) {
                    Some(row) => Ok(group.events(&[row])?.pop()),
                    None => Ok(None),
                };
            }
        }
        Ok(None)
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::Damaged { path: self.path.clone(), what: what.to_string() }
    }

    fn checked(&self, (start, length): (u64, u64), checksum: u32, what: &str) -> Result<Part, Error> {
        if start.checked_add(length).is_none_or(|end| end > self.info.bytes) {
            return Err(self.damaged(what));
        }
        let bytes = match read_range(&*self.file, start, length) {
            Ok(bytes) => bytes,
            Err(source) => return Err(Error::Io { action: "read", path: self.path.clone(), source }),
        };
        if crc32fast::hash(&bytes) != checksum {
            return Err(self.damaged(format!("{what} at offset {start}")));
        }
        Ok(Part { start, bytes })
    }
}

fn read_range(file: &dyn File, start: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, start)?;
    Ok(buffer.into())
}

/// Description and checksums from the footer's entry.
fn describe(metadata: &ParquetMetaData) -> Option<(SegmentInfo, Vec<u32>)> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    let hex = pairs.iter().find(|pair| pair.key == INFO_KEY)?.value.as_ref()?;
    let digits = hex.as_bytes().chunks_exact(2);
    let bytes: Option<Vec<u8>> =
        digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok()).collect();
    let bytes = bytes?;
    let (info, checksums) = bytes.split_at_checked(super::info::length(&bytes)?)?;
    let checksums = checksums.chunks_exact(4).map(|c| u32::from_le_bytes(std::array::from_fn(|i| c[i])));
    Some((SegmentInfo::decode(info)?, checksums.collect()))
}

fn assign(metadata: &ParquetMetaData, words: &[u32]) -> Option<Vec<Vec<Checksums>>> {
    let mut words = words.iter().copied();
    let mut groups = Vec::new();
    for group in metadata.row_groups() {
        if group.num_columns() != COLUMNS.len() {
            return None;
        }
        let mut columns = Vec::with_capacity(COLUMNS.len());
        for column in group.columns() {
            let chunk = words.next()?;
            let bloom = if bloom_range(column).is_some() { Some(words.next()?) } else { None };
            columns.push(Checksums { chunk, bloom });
        }
        groups.push(columns);
    }
    words.next().is_none().then_some(groups)
}

/// Checked bytes of one part of a file, at the offset they have in it.
struct Part {
    start: u64,
    bytes: Bytes,
}

impl Length for Part {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Part {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len());
        at.map(|at| self.bytes.slice(at..))
            .ok_or_else(|| ParquetError::EOF("outside of the column".to_owned()))
    }
}

impl ChunkReader for Part {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF("outside of the column".to_owned()));
        }
        Ok(bytes.split_to(length))
    }
}

/// One row group, with the chunks read so far.
struct Group<'a> {
    segment: &'a Segment,
    number: usize,
    metadata: &'a RowGroupMetaData,
    chunks: HashMap<usize, Arc<Part>>,
}

/// A column's values by row; `None` where a row has none.
type Texts = Vec<Option<ByteArray>>;

impl<'a> Group<'a> {
    fn new(segment: &'a Segment, number: usize) -> Self {
        Self { segment, number, metadata: segment.metadata.row_group(number), chunks: HashMap::new() }
    }

    fn rows(&self) -> usize {
        usize::try_from(self.metadata.num_rows()).unwrap_or(0)
    }

    /// Smallest and largest value of a column of numbers.
    fn bounds(&self, column: Column) -> Option<(i64, i64)> {
        match self.metadata.column(column as usize).statistics()? {
            Statistics::Int64(numbers) => Some((*numbers.min_opt()?, *numbers.max_opt()?)),
            _ => None,
        }
    }

    /// Chooses from this group; false when the limit was reached before its first row.
    fn choose(mut self, chosen: &mut Chosen<'_>) -> Result<bool, Error> {
        let filter = chosen.filter;
        if let Some((min, max)) = self.bounds(Column::Time)
            && (max < filter.range_ns.0 || min > filter.range_ns.1)
        {
            return Ok(true);
        }
        if !self.may_have_container(filter)? || !self.may_have_process(filter.process.or(filter.lineage))? {
            return Ok(true);
        }
        let ids = self.numbers(Column::Id)?;
        let times = self.numbers(Column::Time)?;
        chosen.scanned += ids.len() as u64;
        if times.len() != ids.len() {
            return Err(self.segment.damaged("rows without time"));
        }
        let mut rows: Vec<usize> = (0..ids.len())
            .filter(|row| ids[*row].cast_unsigned() < filter.before && filter.matches_time(times[*row]))
            .collect();
        self.keep_kinds(filter, &mut rows)?;
        self.keep_severities(filter, &mut rows)?;
        self.keep_containers(filter, &mut rows)?;
        self.keep_processes(filter.process.or(filter.lineage), &mut rows)?;
        self.keep_words(filter, &mut rows)?;
        while !rows.is_empty() && chosen.events.len() < chosen.limit {
            let wanted = chosen.limit - chosen.events.len();
            let newest = rows.split_off(rows.len().saturating_sub(wanted));
            chosen.reached = ids[newest[0]].cast_unsigned();
            let events = self.events(&newest)?;
            chosen.events.extend(events.into_iter().rev().filter(|e| filter.matches_fields(e)));
        }
        Ok(rows.is_empty())
    }

    fn may_have_container(&self, filter: &Filter) -> Result<bool, Error> {
        let Some(wanted) = &filter.container else { return Ok(true) };
        // A bloom filter knows whole values only; a short run of hex digits may begin an id.
        let whole_id = wanted.len() >= 64 || !wanted.bytes().all(|b| b.is_ascii_hexdigit());
        Ok(!whole_id
            || self.may_have(Column::ContainerName, wanted.as_str())?
            || self.may_have(Column::ContainerId, wanted.as_str())?)
    }

    fn may_have_process(&self, key: Option<ProcessKey>) -> Result<bool, Error> {
        key.map_or(Ok(true), |key| self.may_have(Column::Lineage, &key.start_ns.cast_signed()))
    }

    fn may_have<T: parquet::data_type::AsBytes + ?Sized>(
        &self,
        column: Column,
        value: &T,
    ) -> Result<bool, Error> {
        let metadata = self.metadata.column(column as usize);
        let checksum = self.segment.checksums[self.number][column as usize].bloom;
        let Some((range, checksum)) = bloom_range(metadata).zip(checksum) else { return Ok(true) };
        let part = self.segment.checked(range, checksum, "a bloom filter")?;
        let bloom = Sbbf::read_from_column_chunk(metadata, &part).map_err(|e| self.segment.damaged(e))?;
        Ok(bloom.is_none_or(|bloom| bloom.check(value)))
    }

    fn keep_kinds(&mut self, filter: &Filter, rows: &mut Vec<usize>) -> Result<(), Error> {
        if filter.kinds.is_none() || rows.is_empty() {
            return Ok(());
        }
        let kinds = self.texts(Column::Kind)?;
        let mut memo = Memo::default();
        let matches = |word: &[u8]| {
            let kind = std::str::from_utf8(word).ok().and_then(EventKind::parse);
            kind.is_some_and(|k| filter.matches_kind(k))
        };
        rows.retain(|row| kinds[*row].as_ref().is_some_and(|word| memo.test(word, matches)));
        Ok(())
    }

    fn keep_severities(&mut self, filter: &Filter, rows: &mut Vec<usize>) -> Result<(), Error> {
        let Some(min) = filter.min_severity.filter(|_| !rows.is_empty()) else { return Ok(()) };
        let ranks = self.lists(Column::Severity)?;
        rows.retain(|row| ranks[*row].iter().any(|rank| *rank >= i64::from(severity_rank(min))));
        Ok(())
    }

    fn keep_containers(&mut self, filter: &Filter, rows: &mut Vec<usize>) -> Result<(), Error> {
        if filter.container.is_none() || rows.is_empty() {
            return Ok(());
        }
        let (ids, names) = (self.texts(Column::ContainerId)?, self.texts(Column::ContainerName)?);
        let (mut by_id, mut by_name) = (Memo::default(), Memo::default());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        rows.retain(|row| {
            ids[*row].as_ref().is_some_and(|id| by_id.test(id, |id| filter.matches_container(&text(id), "")))
                || names[*row].as_ref().is_some_and(|n| {
                    by_name.test(n, |n| filter.container.as_deref().map(str::as_bytes) == Some(n))
                })
        });
        Ok(())
    }

    fn keep_processes(&mut self, key: Option<ProcessKey>, rows: &mut Vec<usize>) -> Result<(), Error> {
        let Some(key) = key.filter(|_| !rows.is_empty()) else { return Ok(()) };
        let lineages = self.lists(Column::Lineage)?;
        rows.retain(|row| lineages[*row].contains(&key.start_ns.cast_signed()));
        Ok(())
    }

    fn keep_words(&mut self, filter: &Filter, rows: &mut Vec<usize>) -> Result<(), Error> {
        if filter.words.is_empty() || rows.is_empty() {
            return Ok(());
        }
        let texts = self.texts(Column::SearchText)?;
        let mut memo = Memo::default();
        rows.retain(|row| {
            texts[*row].as_ref().is_some_and(|text| memo.test(text, |text| filter.matches_text(text)))
        });
        Ok(())
    }

    fn reader<T: DataType>(&mut self, column: Column) -> Result<ColumnReaderImpl<T>, Error> {
        let index = column as usize;
        let metadata = self.metadata.column(index);
        let chunk = match self.chunks.get(&index) {
            Some(chunk) => chunk.clone(),
            None => {
                let checksum = self.segment.checksums[self.number][index].chunk;
                let name = COLUMNS[index].name;
                let chunk = Arc::new(self.segment.checked(metadata.byte_range(), checksum, name)?);
                self.chunks.insert(index, chunk.clone());
                chunk
            }
        };
        let pages = SerializedPageReader::new(chunk, metadata, self.rows(), None);
        let pages = pages.map_err(|e| self.segment.damaged(e))?;
        Ok(ColumnReaderImpl::new(metadata.column_descr_ptr(), Box::new(pages)))
    }

    /// The values of a column of numbers that every row has.
    fn numbers(&mut self, column: Column) -> Result<Vec<i64>, Error> {
        let rows = self.rows();
        let mut values = Vec::with_capacity(rows);
        let read = self.reader::<Int64Type>(column)?.read_records(rows, None, None, &mut values);
        read.map_err(|e| self.segment.damaged(e))?;
        self.complete(values.len(), values)
    }

    /// The values of a column of numbers, by row.
    fn lists(&mut self, column: Column) -> Result<Vec<Vec<i64>>, Error> {
        let rows = self.rows();
        let repeated = COLUMNS[column as usize].presence == Presence::Repeated;
        let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
        let levels = if repeated { Some(&mut repetition) } else { None };
        let mut reader = self.reader::<Int64Type>(column)?;
        reader
            .read_records(rows, Some(&mut definition), levels, &mut values)
            .map_err(|e| self.segment.damaged(e))?;
        let mut lists: Vec<Vec<i64>> = Vec::with_capacity(rows);
        let mut values = values.into_iter();
        for (i, defined) in definition.iter().enumerate() {
            if !repeated || repetition.get(i) == Some(&0) {
                lists.push(Vec::new());
            }
            if *defined > 0
                && let Some(list) = lists.last_mut()
            {
                list.extend(values.next());
            }
        }
        self.complete(lists.len(), lists)
    }

    fn texts(&mut self, column: Column) -> Result<Texts, Error> {
        let rows = self.rows();
        let optional = COLUMNS[column as usize].presence == Presence::Maybe;
        let (mut values, mut definition) = (Vec::with_capacity(rows), Vec::new());
        let levels = if optional { Some(&mut definition) } else { None };
        let read = self.reader::<ByteArrayType>(column)?.read_records(rows, levels, None, &mut values);
        read.map_err(|e| self.segment.damaged(e))?;
        let texts: Texts = if optional {
            let mut values = values.into_iter();
            definition.iter().map(|d| if *d > 0 { values.next() } else { None }).collect()
        } else {
            values.into_iter().map(Some).collect()
        };
        self.complete(texts.len(), texts)
    }

    fn complete<T>(&self, found: usize, values: T) -> Result<T, Error> {
        if found == self.rows() { Ok(values) } else { Err(self.segment.damaged("a column lacks rows")) }
    }

    /// The events of `rows`, which are in order. Pages without any of them are not decompressed.
    fn events(&mut self, rows: &[usize]) -> Result<Vec<Event>, Error> {
        let mut reader = self.reader::<ByteArrayType>(Column::Event)?;
        let mut decoder = Decoder::default();
        let mut events = Vec::with_capacity(rows.len());
        let mut next = 0;
        let mut values = Vec::new();
        for row in rows {
            values.clear();
            reader
                .skip_records(row - next)
                .and_then(|_| reader.read_records(1, None, None, &mut values))
                .map_err(|e| self.segment.damaged(e))?;
            let bytes = values.first().ok_or_else(|| self.segment.damaged("a row is missing"))?;
            let event = decoder.decode_one(bytes.data());
            events.push(event.map_err(|_| self.segment.damaged("an event cannot be decoded"))?);
            next = row + 1;
        }
        Ok(events)
    }
}

/// Remembers answers for values that share their memory, as values of one dictionary do.
#[derive(Default)]
struct Memo(HashMap<(usize, usize), bool>);

impl Memo {
    fn test(&mut self, value: &ByteArray, test: impl Fn(&[u8]) -> bool) -> bool {
        let data = value.data();
        *self.0.entry((data.as_ptr().addr(), data.len())).or_insert_with(|| test(data))
    }
}
