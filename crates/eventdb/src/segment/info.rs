//! What is known of a segment without opening it.

use vedette_model::{EventKind, Severity};

/// Description of a segment, as the catalogue keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    pub first_id: u64,
    pub last_id: u64,
    pub time_min_ns: i64,
    pub time_max_ns: i64,
    pub rows: u64,
    /// Number of events of each kind, by the kind's place in its enum.
    pub kinds: [u64; EventKind::ALL.len()],
    pub severity_max: Option<Severity>,
    /// Length of the file.
    pub bytes: u64,
    /// CRC-32 of the footer.
    pub footer_checksum: u32,
}

const WORDS: usize = 8 + EventKind::ALL.len();
const VERSION: u64 = 1;

/// A number for a severity, growing with it, above zero.
pub(crate) fn severity_rank(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 1,
        Severity::Warning => 2,
        Severity::Critical => 3,
    }
}

fn severity_of_rank(rank: u64) -> Option<Option<Severity>> {
    match rank {
        0 => Some(None),
        1 => Some(Some(Severity::Info)),
        2 => Some(Some(Severity::Warning)),
        3 => Some(Some(Severity::Critical)),
        _ => None,
    }
}

impl SegmentInfo {
    /// Fixed-width little-endian words.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut words = vec![
            VERSION,
            self.first_id,
            self.last_id,
            self.time_min_ns.cast_unsigned(),
            self.time_max_ns.cast_unsigned(),
            self.bytes,
            u64::from(self.footer_checksum),
            u64::from(self.severity_max.map_or(0, severity_rank)),
        ];
        words.extend(self.kinds);
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != WORDS * 8 {
            return None;
        }
        let words: Vec<u64> =
            bytes.chunks_exact(8).map(|c| u64::from_le_bytes(std::array::from_fn(|i| c[i]))).collect();
        let mut kinds = [0; EventKind::ALL.len()];
        kinds.copy_from_slice(&words[8..]);
        let rows = kinds.iter().try_fold(0_u64, |sum, n| sum.checked_add(*n))?;
        let good = words[0] == VERSION && words[1] <= words[2] && rows > 0;
        good.then_some(Self {
            first_id: words[1],
            last_id: words[2],
            time_min_ns: words[3].cast_signed(),
            time_max_ns: words[4].cast_signed(),
            rows,
            kinds,
            severity_max: severity_of_rank(words[7])?,
            bytes: words[5],
            footer_checksum: words[6].try_into().ok()?,
        })
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.first_id <= other.last_id && other.first_id <= self.last_id
    }
}
