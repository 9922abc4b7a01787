//! Undoing the compression of an answer, up to the limit of its size.

use std::io::Read;

use super::{budget::Lease, failure::Failure};

/// The largest window of zstd: what servers on the web may use (RFC 8878), 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Larger buffers are not kept.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// Where the body begins.
    pub(crate) start: usize,
    pub(crate) content_type: String,
    pub(crate) encoding: String,
    pub(crate) lease: Lease,
}

impl Body {
    /// The text or messages that the target meant: a part of the answer, or in `buffer`.
    pub(crate) fn plain<'a>(&'a mut self, max: u64, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Failure> {
        let Self { bytes, start, encoding, lease, .. } = self;
        let bytes = &bytes[*start..];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        buffer.clear();
        match encoding.as_str() {
            "" | "identity" => return Ok(bytes),
            "gzip" | "x-gzip" => {
                inflate("gzip", flate2::read::MultiGzDecoder::new(bytes), bytes.len(), max, buffer, lease)?;
            }
            "zstd" => {
                let broken =
                    |e: std::io::Error| Failure::Compression { encoding: "zstd", reason: e.to_string() };
                let mut decoder = zstd::stream::read::Decoder::new(bytes).map_err(broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
                inflate("zstd", decoder, bytes.len(), max, buffer, lease)?;
            }
            _ => return Err(Failure::Encoding(encoding.clone())),
        }
        Ok(buffer)
    }
}

/// Gives memory back that was needed once.
pub(crate) fn shrink(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES_MAX {
        *buffer = Vec::new();
    }
}

fn inflate(
    encoding: &'static str,
    mut from: impl Read,
    compressed: usize,
    max: u64,
    into: &mut Vec<u8>,
    lease: &mut Lease,
) -> Result<(), Failure> {
    let mut end = 0;
    let mut room = into.capacity().max(compressed.saturating_mul(4)).max(16 << 10);
    loop {
        if end as u64 > max {
            return Err(lease.too_large(max));
        }
        if into.len() == end {
            // A bomb grows by its own weight only.
            let length = end.saturating_add(room.min(end.max(256 << 10)));
            room = usize::MAX;
            lease.grow(compressed + length)?;
            into.resize(length, 0);
        }
        match from.read(&mut into[end..]) {
            Ok(0) => break,
            Ok(count) => end += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Failure::Compression { encoding, reason: e.to_string() }),
        }
    }
    into.truncate(end);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::scrape::budget::Budget;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn body(bytes: Vec<u8>, encoding: &str) -> Body {
        let lease = Budget::new(64 << 20).lease("body_size_limit");
        Body { bytes, start: 0, content_type: String::new(), encoding: encoding.into(), lease }
    }

    #[test]
    fn compression_is_undone() {
        let text = b"some text ".repeat(100_000);
        for (bytes, encoding) in [
            (text.clone(), ""),
            (gzip(&text), "gzip"),
            ([gzip(&text[..10]), gzip(&text[10..])].concat(), "gzip"),
            (zstd::encode_all(&text[..], 3).unwrap(), "zstd"),
        ] {
            let mut buffer = Vec::new();
            assert!(body(bytes, encoding).plain(u64::MAX, &mut buffer).unwrap() == text, "{encoding}");
        }
    }

    #[test]
    fn bombs_and_broken_answers_fail() {
        let zeros = vec![0; 32 << 20];
        let mut buffer = Vec::new();
        for (bytes, encoding) in [(gzip(&zeros), "gzip"), (zstd::encode_all(&zeros[..], 3).unwrap(), "zstd")]
        {
            let failure = body(bytes.clone(), encoding).plain(1 << 20, &mut buffer).unwrap_err();
            assert!(failure.to_string().contains("body_size_limit"), "{failure}");
            assert!(buffer.capacity() < 4 << 20, "{}", buffer.capacity());
            let half = bytes[..bytes.len() / 2].to_vec();
            let failure = body(half, encoding).plain(u64::MAX, &mut buffer).unwrap_err();
            assert!(matches!(failure, Failure::Compression { .. } | Failure::Memory { .. }), "{failure}");
            buffer = Vec::new();
        }
        let failure = body(b"x".to_vec(), "br").plain(u64::MAX, &mut buffer).unwrap_err();
        assert!(failure.to_string().contains("\"br\""), "{failure}");
    }
}
