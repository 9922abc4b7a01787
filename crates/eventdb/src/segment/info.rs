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

/// Words before the numbers of events of each kind.
const HEAD_WORDS: usize = 8;
const VERSION: u64 = 3;

/// How many bytes the description has that begins so. Each version knows the kinds of the one before, and more.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let kinds = match u64::from_le_bytes(*bytes.first_chunk()?) {
        1 => 11,
        2 => 12,
        VERSION => EventKind::ALL.len(),
        _ => return None,
    };
    Some((HEAD_WORDS + kinds) * 8)
}

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
        if Some(bytes.len()) != length(bytes) {
            return None;
        }
        let words: Vec<u64> =
            bytes.chunks_exact(8).map(|c| u64::from_le_bytes(std::array::from_fn(|i| c[i]))).collect();
        let mut kinds = [0; EventKind::ALL.len()];
        let told = &words[HEAD_WORDS..];
        kinds[..told.len()].copy_from_slice(told);
        let rows = kinds.iter().try_fold(0_u64, |sum, n| sum.checked_add(*n))?;
        let good = words[1] <= words[2] && rows > 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_of_the_versions_before_are_read() {
        let written = |version: u64, kinds: &[u64]| -> Vec<u8> {
            let head = [version, 5, 9, 100, 200, 4096, 7, 3];
            head.iter().chain(kinds).flat_map(|word| word.to_le_bytes()).collect()
        };
        for (version, kinds) in
            [(1, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1][..]), (2, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0])]
        {
            let bytes = written(version, kinds);
            assert_eq!(length(&bytes), Some(bytes.len()));
            let info = SegmentInfo::decode(&bytes).expect("it is known");
            assert_eq!((info.rows, info.kinds[EventKind::Finding as usize]), (4, 2));
            assert_eq!(
                (info.kinds[EventKind::Kubernetes as usize], info.kinds[EventKind::Audit as usize]),
                (0, 0)
            );
            assert_eq!(SegmentInfo::decode(&info.encode()), Some(info), "as it is written now");
            assert_eq!(SegmentInfo::decode(&bytes[..bytes.len() - 8]), None);
        }
        assert_eq!(SegmentInfo::decode(&written(4, &[1; EventKind::ALL.len()])), None);
    }
}
