//! A door for the fuzz targets to how answers of targets are read. Built only with `--cfg fuzzing` and for
//! tests.

use super::{ChunkState, Chunks, Length, parse_head};

/// Reads an answer as a connection brings it, in pieces of the size that its first byte tells, and as a
/// whole: the same comes of it.
pub fn answer(bytes: &[u8]) {
    let Some((piece, answer)) = bytes.split_first() else { return };
    let piece = usize::from(*piece).max(1);
    let whole = parse_head(answer).ok().flatten();
    let mut arrived = 0;
    let in_pieces = loop {
        if arrived >= answer.len() {
            break None;
        }
        arrived = (arrived + piece).min(answer.len());
        match parse_head(&answer[..arrived]) {
            Err(_) => break None,
            Ok(Some(found)) => break Some(found),
            Ok(None) => {}
        }
    };
    assert_eq!(in_pieces, whole);
    let Some((head, end)) = whole else {
        // Whatever it is, it may stand for a body.
        assert_eq!(joined(answer, piece), joined(answer, answer.len()));
        return;
    };
    assert!(end <= answer.len() && head.status < 1000);
    if head.length == Length::Chunks {
        let body = &answer[end..];
        let joined = joined(body, piece);
        assert_eq!(joined, self::joined(body, body.len()));
        assert!(joined.is_none_or(|joined| joined.len() <= body.len()));
    }
}

/// The chunks of a body that arrives in pieces, or nothing where they are broken or do not end.
fn joined(body: &[u8], piece: usize) -> Option<Vec<u8>> {
    let mut buffer = b"head".to_vec();
    let mut chunks = Chunks { end: buffer.len(), at: buffer.len(), state: ChunkState::Size };
    for piece in body.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        if chunks.join(&mut buffer).ok()? {
            buffer.truncate(chunks.end);
            assert!(buffer.starts_with(b"head"));
            return Some(buffer.split_off(4));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWERS: [&str; 3] = [
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\na 1\n\r\n00F\r\n0123456789abcde\r\n0\r\nT: x\r\n\r\n",
        "HTTP/1.0 404 Not Found\nContent-Length: 0\n\n",
    ];

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            which in 0..ANSWERS.len(),
            piece in 1..80_u8,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut bytes = ANSWERS[which].as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.insert(0, piece);
            answer(&bytes);
        }
    }
}
