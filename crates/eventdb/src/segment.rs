//! Sealed events: one immutable Parquet file a segment, described in `docs/formats/event-segment.md`.
//!
//! Nothing is decoded that has not been checked first: the file's name carries the checksum of
//! the footer, the footer carries the checksums of all column chunks and bloom filters. So the
//! Parquet decoder only ever sees bytes that this program wrote.

mod info;
mod read;
mod write;

use std::path::{Path, PathBuf};

pub(crate) use info::SegmentInfo;
pub(crate) use read::{Chosen, Segment};
pub(crate) use write::write;

/// Columns in the order of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Id,
    Time,
    Kind,
    Severity,
    HostName,
    ContainerId,
    ContainerName,
    ContainerImage,
    PodName,
    Namespace,
    Pid,
    StartNs,
    Lineage,
    Command,
    Executable,
    CommandLine,
    PeerAddress,
    PeerPort,
    SearchText,
    Event,
}

/// How often a row has a value in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Always,
    Maybe,
    Repeated,
}

pub(crate) struct ColumnForm {
    pub column: Column,
    pub name: &'static str,
    pub presence: Presence,
    /// Numbers, else text or bytes.
    pub number: bool,
    pub bloom: bool,
}

const fn form(
    column: Column,
    name: &'static str,
    presence: Presence,
    number: bool,
    bloom: bool,
) -> ColumnForm {
    ColumnForm { column, name, presence, number, bloom }
}

/// The schema. Columns up to `vedette.search_text` are for searching and for other programs;
/// `vedette.event` holds the whole event.
pub(crate) const COLUMNS: [ColumnForm; 20] = {
    use Presence::{Always, Maybe, Repeated};
    [
        form(Column::Id, "vedette.event.id", Always, true, false),
        form(Column::Time, "time_unix_nano", Always, true, false),
        form(Column::Kind, "vedette.event.kind", Always, false, false),
        form(Column::Severity, "vedette.finding.severity", Maybe, true, false),
        form(Column::HostName, "host.name", Always, false, false),
        form(Column::ContainerId, "container.id", Maybe, false, true),
        form(Column::ContainerName, "container.name", Maybe, false, true),
        form(Column::ContainerImage, "container.image.name", Maybe, false, false),
        form(Column::PodName, "k8s.pod.name", Maybe, false, false),
        form(Column::Namespace, "k8s.namespace.name", Maybe, false, false),
        form(Column::Pid, "process.pid", Maybe, true, false),
        form(Column::StartNs, "vedette.process.start_ns", Maybe, true, false),
        form(Column::Lineage, "vedette.process.lineage_start_ns", Repeated, true, true),
        form(Column::Command, "process.command", Maybe, false, true),
        form(Column::Executable, "process.executable.path", Maybe, false, false),
        form(Column::CommandLine, "process.command_line", Maybe, false, false),
        form(Column::PeerAddress, "network.peer.address", Maybe, false, false),
        form(Column::PeerPort, "network.peer.port", Maybe, true, false),
        form(Column::SearchText, "vedette.search_text", Always, false, false),
        form(Column::Event, "vedette.event", Always, false, false),
    ]
};

/// Key of the footer's entry that holds the segment's description and checksums.
const INFO_KEY: &str = "vedette.segment";

/// The file of a segment: `<first id>-<last id>-<checksum of the footer>.parquet`.
pub(crate) fn file_name(info: &SegmentInfo) -> String {
    format!("{:020}-{:020}-{:08x}.parquet", info.first_id, info.last_id, info.footer_checksum)
}

/// First id, last id and footer checksum, if `path` is named like a segment.
pub(crate) fn parse_file_name(path: &Path) -> Option<(u64, u64, u32)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".parquet")?;
    let mut parts = stem.split('-');
    let mut next = || parts.next();
    let (first, last, checksum) = (next()?, next()?, next()?);
    let parsed = (first.parse().ok()?, last.parse().ok()?, u32::from_str_radix(checksum, 16).ok()?);
    let (first, last, checksum) = parsed;
    (format!("{first:020}-{last:020}-{checksum:08x}") == stem).then_some(parsed)
}

/// Where the segments of a store lie.
pub(crate) fn folder(store: &Path) -> PathBuf {
    store.join("segments")
}
