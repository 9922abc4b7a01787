//! Makes the Parquet file of a segment, in memory: it is a few megabytes.

use std::sync::Arc;

use parquet::{
    basic::{Compression, ConvertedType, Encoding, Repetition, Type as PhysicalType, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, Int64Type},
    errors::{ParquetError, Result},
    file::{
        metadata::KeyValue,
        properties::{BloomFilterPosition, EnabledStatistics, WriterProperties, WriterPropertiesPtr},
        writer::SerializedFileWriter,
    },
    schema::types::{ColumnPath, Type, TypePtr},
};
use vedette_model::Fact;

use super::{COLUMNS, Column, ColumnForm, INFO_KEY, Presence, SegmentInfo, info::severity_rank};
use crate::{codec::Encoder, entry::Entry, search};

/// The file's bytes and description for `entries`, which are in order of their ids.
pub(crate) fn write(entries: &[Arc<Entry>], row_group_rows: usize) -> Result<(Vec<u8>, SegmentInfo)> {
    let mut info = describe(entries);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema()?, properties())?;
    for group in entries.chunks(row_group_rows) {
        let mut rows = writer.next_row_group()?;
        for form in &COLUMNS {
            let mut column =
                rows.next_column()?.ok_or_else(|| ParquetError::General("a column is missing".to_owned()))?;
            if form.number {
                let v = number_values(form, group);
                column.typed::<Int64Type>().write_batch(&v.values, v.defined(), v.repeated())?;
            } else {
                let v = text_values(form, group);
                column.typed::<ByteArrayType>().write_batch(&v.values, v.defined(), v.repeated())?;
            }
            column.close()?;
        }
        rows.close()?;
    }
    writer.flush()?;
    let checksums = checksums(&writer)?;
    let mut value = info.encode();
    checksums.iter().for_each(|c| value.extend_from_slice(&c.to_le_bytes()));
    let value = value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    writer.append_key_value_metadata(KeyValue::new(INFO_KEY.to_owned(), value));
    let bytes = writer.into_inner()?;
    info.bytes = bytes.len() as u64;
    info.footer_checksum = crc32fast::hash(footer(&bytes));
    Ok((bytes, info))
}

fn footer(file: &[u8]) -> &[u8] {
    let tail: [u8; 4] = std::array::from_fn(|i| file[file.len() - 8 + i]);
    &file[file.len() - 8 - u32::from_le_bytes(tail) as usize..]
}

fn describe(entries: &[Arc<Entry>]) -> SegmentInfo {
    let (first, last) = (entries.first(), entries.last());
    let (first, last) = first.zip(last).expect("BUG: only sealed when there are events");
    let mut info = SegmentInfo {
        first_id: first.event.id,
        last_id: last.event.id,
        time_min_ns: i64::MAX,
        time_max_ns: i64::MIN,
        rows: entries.len() as u64,
        kinds: [0; _],
        severity_max: None,
        bytes: 0,
        footer_checksum: 0,
    };
    for entry in entries {
        let event = &entry.event;
        info.time_min_ns = info.time_min_ns.min(event.time_ns);
        info.time_max_ns = info.time_max_ns.max(event.time_ns);
        info.kinds[event.fact.kind() as usize] += 1;
        info.severity_max = info.severity_max.max(search::severity(event));
    }
    info
}

fn schema() -> Result<TypePtr> {
    let fields = COLUMNS.iter().map(|form| {
        let physical = if form.number { PhysicalType::INT64 } else { PhysicalType::BYTE_ARRAY };
        let builder =
            Type::primitive_type_builder(form.name, physical).with_repetition(match form.presence {
                Presence::Always => Repetition::REQUIRED,
                Presence::Maybe => Repetition::OPTIONAL,
                Presence::Repeated => Repetition::REPEATED,
            });
        let text = !form.number && form.column != Column::Event;
        let builder = if text { builder.with_converted_type(ConvertedType::UTF8) } else { builder };
        Ok(Arc::new(builder.build()?))
    });
    let fields = fields.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Type::group_type_builder("event").with_fields(fields).build()?))
}

fn properties() -> WriterPropertiesPtr {
    let mut builder = WriterProperties::builder()
        .set_created_by("vedette".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).expect("BUG: zstd has level 3")))
        .set_bloom_filter_position(BloomFilterPosition::AfterRowGroup)
        .set_max_row_group_row_count(None)
        .set_data_page_size_limit(64 << 10)
        .set_write_batch_size(256)
        .set_statistics_enabled(EnabledStatistics::Page);
    for form in &COLUMNS {
        let column = || ColumnPath::new(vec![form.name.to_owned()]);
        match form.column {
            Column::Id | Column::Time => {
                builder = builder
                    .set_column_dictionary_enabled(column(), false)
                    .set_column_encoding(column(), Encoding::DELTA_BINARY_PACKED);
            }
            Column::Event => {
                // Each value is another; a dictionary and the smallest and largest of opaque
                // bytes would only cost.
                builder = builder
                    .set_column_dictionary_enabled(column(), false)
                    .set_column_statistics_enabled(column(), EnabledStatistics::None);
            }
            Column::SearchText => {
                builder = builder.set_column_statistics_enabled(column(), EnabledStatistics::None);
            }
            _ => {}
        }
        if form.bloom {
            builder = builder
                .set_column_bloom_filter_enabled(column(), true)
                .set_column_bloom_filter_fpp(column(), 0.01);
        }
    }
    Arc::new(builder.build())
}

/// Values of one column in one row group, with the levels that say which rows have them.
struct Values<T> {
    presence: Presence,
    values: Vec<T>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl<T> Values<T> {
    fn new(presence: Presence) -> Self {
        Self { presence, values: Vec::new(), definition: Vec::new(), repetition: Vec::new() }
    }

    /// Adds the values of one row.
    fn row(&mut self, values: impl Iterator<Item = T>) {
        let before = self.values.len();
        self.values.extend(values);
        let count = self.values.len() - before;
        for i in 0..count.max(1) {
            self.definition.push(i16::from(count > 0));
            self.repetition.push(i16::from(i > 0));
        }
    }

    fn defined(&self) -> Option<&[i16]> {
        (self.presence != Presence::Always).then_some(&self.definition)
    }

    fn repeated(&self) -> Option<&[i16]> {
        (self.presence == Presence::Repeated).then_some(&self.repetition)
    }
}

fn number_values(form: &ColumnForm, entries: &[Arc<Entry>]) -> Values<i64> {
    let mut values = Values::new(form.presence);
    for entry in entries {
        let event = &entry.event;
        let process = event.process.as_deref();
        let value = match form.column {
            Column::Id => Some(event.id.cast_signed()),
            Column::Time => Some(event.time_ns),
            Column::Severity => search::severity(event).map(|s| i64::from(severity_rank(s))),
            Column::Pid => process.map(|p| i64::from(p.key.pid)),
            Column::StartNs => process.map(|p| p.key.start_ns.cast_signed()),
            Column::PeerPort => match &event.fact {
                Fact::Connection(socket) => Some(i64::from(socket.peer_port)),
                _ => None,
            },
            Column::Lineage => {
                values.row(search::lineage(event).map(|key| key.start_ns.cast_signed()));
                continue;
            }
            _ => None,
        };
        values.row(value.into_iter());
    }
    values
}

fn text_values(form: &ColumnForm, entries: &[Arc<Entry>]) -> Values<ByteArray> {
    let mut values = Values::new(form.presence);
    let mut encoder = Encoder::default();
    for entry in entries {
        let event = &entry.event;
        let process = event.process.as_deref();
        let container = event.container.as_deref();
        let present = |text: &str| (!text.is_empty()).then(|| ByteArray::from(text));
        let value = match form.column {
            Column::Kind => Some(ByteArray::from(event.fact.kind().as_str())),
            Column::HostName => Some(ByteArray::from(event.host.name.as_str())),
            Column::ContainerId => container.map(|c| ByteArray::from(c.id.as_str())),
            Column::ContainerName => container.map(|c| ByteArray::from(c.name.as_str())),
            Column::ContainerImage => container.and_then(|c| present(&c.image)),
            Column::PodName => match &event.fact {
                Fact::Kubernetes(told) if told.object_kind == "Pod" => present(&told.object_name),
                Fact::Audit(asked) if asked.resource == "pods" => present(&asked.name),
                _ => container.and_then(|c| present(&c.pod)),
            },
            Column::Namespace => match &event.fact {
                Fact::Kubernetes(told) => present(&told.namespace),
                Fact::Audit(asked) => present(&asked.namespace),
                _ => container.and_then(|c| present(&c.namespace)),
            },
            Column::Command => process.and_then(|p| present(&p.name)),
            Column::Executable => process.and_then(|p| present(&p.executable)),
            Column::CommandLine => process.and_then(|p| present(&p.command_line())),
            Column::PeerAddress => match &event.fact {
                Fact::Connection(socket) => Some(ByteArray::from(socket.peer.to_string().as_str())),
                _ => None,
            },
            Column::SearchText => Some(ByteArray::from(&*entry.text)),
            Column::Event => {
                let mut bytes = Vec::with_capacity(256);
                encoder.encode([event.as_ref()], &mut bytes);
                Some(ByteArray::from(bytes))
            }
            _ => None,
        };
        values.row(value.into_iter());
    }
    values
}

/// CRC-32 of each column chunk and, behind it, of its bloom filter if it has one.
fn checksums(writer: &SerializedFileWriter<Vec<u8>>) -> Result<Vec<u32>> {
    let file = writer.inner();
    let mut checksums = Vec::new();
    for column in writer.flushed_row_groups().iter().flat_map(|g| g.columns()) {
        let (start, length) = column.byte_range();
        let mut ranges = vec![(start, length)];
        ranges.extend(super::read::bloom_range(column));
        for (start, length) in ranges {
            let range = usize::try_from(start).ok().zip(usize::try_from(length).ok());
            let bytes = range.and_then(|(start, length)| file.get(start..)?.get(..length));
            let bytes =
                bytes.ok_or_else(|| ParquetError::General("a column lies outside the file".to_owned()))?;
            checksums.push(crc32fast::hash(bytes));
        }
    }
    Ok(checksums)
}
