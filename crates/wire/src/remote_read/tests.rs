use proptest::prelude::*;
use vedette_model::MatchOp;

use super::*;
use crate::remote_write::{
    Encoder,
    encode::{put_bytes, put_number, put_varint},
    fields::{Cursor, Value},
};

fn message(fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    fields(&mut out);
    out
}

fn whole() -> Vec<u8> {
    let matcher = |op, name: &str, value: &str| {
        message(|m| {
            put_number(m, 1, op);
            put_bytes(m, 2, name.as_bytes());
            put_bytes(m, 3, value.as_bytes());
        })
    };
    let hints = message(|m| {
        put_number(m, 1, 15);
        put_bytes(m, 2, b"rate");
        put_number(m, 3, 5);
        put_number(m, 4, 9);
        put_bytes(m, 5, b"job");
        put_bytes(m, 5, b"pod");
        put_number(m, 6, 1);
        put_number(m, 7, 300);
    });
    let query = message(|m| {
        put_number(m, 1, (-5_i64) as u64);
        put_number(m, 2, 10);
        put_bytes(m, 3, &matcher(0, "__name__", "up"));
        put_bytes(m, 3, &matcher(3, "job", "a|b"));
        put_bytes(m, 4, &hints);
    });
    message(|m| {
        put_bytes(m, 1, &query);
        put_bytes(m, 1, &[]);
        put_bytes(m, 2, &[7, 1, 0]);
    })
}

#[test]
fn a_request_is_read() {
    let request = whole();
    let request = ReadRequest::decode(&request).unwrap();
    let equal = ReadMatcher { op: MatchOp::Equal, name: "__name__", value: "up" };
    let not = ReadMatcher { op: MatchOp::NotRegex, name: "job", value: "a|b" };
    let hints = ReadHints {
        step_ms: 15,
        function: "rate",
        start_ms: 5,
        end_ms: 9,
        grouping: vec!["job", "pod"],
        by: true,
        range_ms: 300,
    };
    let first = ReadQuery { start_ms: -5, end_ms: 10, matchers: vec![equal, not], hints: Some(hints) };
    assert_eq!(request.queries, [first, ReadQuery::default()]);
    assert_eq!(request.answer_kind(), Some(AnswerKind::Chunks));
    for (accepted, kind) in
        [(vec![], Some(AnswerKind::Samples)), (vec![0, 1], Some(AnswerKind::Samples)), (vec![9], None)]
    {
        assert_eq!(ReadRequest { accepted, ..ReadRequest::default() }.answer_kind(), kind);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let many = vec![[0x0a, 0]; 1001].concat();
    let bad_type = message(|m| put_bytes(m, 1, &message(|q| put_bytes(q, 3, &[8, 4]))));
    let bad_text = message(|m| put_bytes(m, 1, &message(|q| put_bytes(q, 3, &[0x12, 1, 0xff]))));
    for (request, error) in [
        (&many[..], "too many queries at byte 2000"),
        (&bad_type, "type that is not known at byte 4"),
        (&bad_text, "not valid UTF-8 at byte 6"),
        (&[8, 1], "wrong kind at byte 0"),
        (&[0x0a, 4, 1], "longer than what holds it"),
    ] {
        let told = ReadRequest::decode(request).unwrap_err().to_string();
        assert!(told.contains(error), "{told}: {error}");
    }
}

/// The messages in the fields of a message that have a number.
fn parts(message: &[u8], number: u64) -> Vec<Vec<u8>> {
    let mut rest = Cursor::new(message);
    let mut found = Vec::new();
    while !rest.is_at_end() {
        match rest.field().unwrap() {
            (n, Value::Bytes(part)) if n == number => found.push(part.bytes().to_vec()),
            _ => {}
        }
    }
    found
}

#[test]
fn answers_with_samples_hold_one_result_for_each_query() {
    let mut encoder = Encoder::default();
    encoder.begin_series([("__name__", "up")]).sample(1, 2.0).end_series();
    let mut answer = Vec::new();
    push_result(&mut answer, encoder.message());
    push_result(&mut answer, &[]);
    let results = parts(&answer, 1);
    assert_eq!(results, [encoder.message().to_vec(), Vec::new()]);
}

#[test]
fn a_frame_is_its_length_its_checksum_and_its_message() {
    let mut writer = FrameWriter::default();
    let mut out = Vec::new();
    writer.begin_series([("__name__", "up"), ("job", "a")]);
    writer.end_frame(0, |_| 0, &mut out);
    assert!(out.is_empty(), "a frame without chunks");
    for n in 1..=2_u8 {
        writer.chunk(ChunkMessage { start_ms: 1, end_ms: 9, encoding: 1, data: &[n; 3] });
    }
    writer.end_frame(1, |_| 0x0102_0304, &mut out);
    let length = out.len();
    writer.chunk(ChunkMessage { start_ms: 10, end_ms: 10, encoding: 2, data: &[3] });
    writer.end_frame(1, |_| 5, &mut out);
    let mut frame = Vec::new();
    put_varint(&mut frame, (length - 5) as u64);
    frame.extend([1, 2, 3, 4]);
    assert_eq!(out[..5], frame);
    let series = parts(&out[5..length], 1);
    assert_eq!(series.len(), 1);
    assert_eq!((parts(&series[0], 1).len(), parts(&series[0], 2).len()), (2, 2));
    let second = parts(&out[length + 5..], 1);
    assert_eq!((parts(&second[0], 1).len(), parts(&second[0], 2).len()), (2, 1));
    assert_eq!(parts(&second[0], 1), parts(&series[0], 1));
}

proptest! {
    #[test]
    fn garbage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut message = whole();
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        message.truncate(cut.index(message.len() + 1));
        let _ = ReadRequest::decode(&message);
    }
}
