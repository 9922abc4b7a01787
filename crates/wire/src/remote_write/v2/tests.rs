use proptest::prelude::*;
use vedette_model::MetricKind;

use super::*;
use crate::remote_write::fields::zigzag;

/// A message written field by field, as the specification numbers them.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, field: u64, value: u64) -> Self {
        push_varint(&mut self.0, field << 3);
        push_varint(&mut self.0, value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        push_varint(&mut self.0, field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        push_varint(&mut self.0, field << 3 | 2);
        push_varint(&mut self.0, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn packed(self, field: u64, numbers: &[u64]) -> Self {
        let mut bytes = Vec::new();
        numbers.iter().for_each(|n| push_varint(&mut bytes, *n));
        self.bytes(field, &bytes)
    }

    #[expect(clippy::needless_pass_by_value, reason = "messages in messages read better")]
    fn message(self, field: u64, inner: Self) -> Self {
        self.bytes(field, &inner.0)
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Everything that a message holds, as text that can be compared.
fn read(message: &[u8]) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for item in Request::new(message) {
        match item.map_err(|e| e.to_string())? {
            Item::Symbol(text) => {
                assert_eq!(&message[text.range()], text.bytes());
                out.push(format!("symbol {}", String::from_utf8_lossy(text.bytes())));
            }
            Item::Series(series) => {
                let again = SeriesMessage::at(message, series.range());
                for field in again.fields() {
                    out.push(match field.map_err(|e| e.to_string())? {
                        Field::Labels(refs) => {
                            let refs: Result<Vec<_>, _> = refs.collect();
                            format!("labels {:?}", refs.map_err(|e| e.to_string())?)
                        }
                        Field::Sample(s) => format!("sample {} {} since {}", s.time_ms, s.value, s.start_ms),
                        Field::Histogram(h) => {
                            let h = h.decode_with_start().map_err(|e| e.to_string())?;
                            let schema = h.histogram.map(|h| (h.schema, h.count(), h.custom_bounds));
                            format!("histogram {} since {} {schema:?}", h.time_ms, h.start_ms)
                        }
                        Field::Exemplar(e) => {
                            let mut refs = Vec::new();
                            e.labels(&mut refs).map_err(|e| e.to_string())?;
                            format!("exemplar {} {} {refs:?}", e.time_ms, e.value)
                        }
                        Field::Metadata(m) => format!("metadata {:?} {} {}", m.kind, m.help, m.unit),
                    });
                }
            }
        }
    }
    Ok(out)
}

fn whole() -> Message {
    let histogram = Message::default()
        .varint(1, 3)
        .double(3, 4.5)
        .varint(4, zigzag(-53))
        .message(11, Message::default().varint(2, 2))
        .packed(12, &[zigzag(1), zigzag(1)])
        .varint(15, 900)
        .bytes(16, &[1.0_f64, 2.5].map(f64::to_le_bytes).concat())
        .varint(17, 800);
    let series = Message::default()
        .packed(1, &[1, 2])
        .message(2, Message::default().double(1, 1.5).varint(2, 1000))
        .message(2, Message::default().varint(3, 7).varint(2, 2000))
        .message(3, histogram)
        .message(4, Message::default().packed(1, &[3, 4]).double(2, 9.0).varint(3, 5))
        .message(5, Message::default().varint(1, 1).varint(3, 5).varint(4, 6));
    Message::default().bytes(4, b"").bytes(4, b"__name__").message(5, series).bytes(4, b"up")
}

#[test]
fn everything_is_read() {
    assert_eq!(
        read(&whole().0).unwrap(),
        [
            "symbol ",
            "symbol __name__",
            "labels [1, 2]",
            "sample 1000 1.5 since 0",
            "sample 2000 0 since 7",
            "histogram 900 since 800 Ok((-53, 3.0, [1.0, 2.5]))",
            "exemplar 5 9 [3, 4]",
            "metadata Counter 5 6",
            "symbol up",
        ]
    );
}

#[test]
fn numbers_that_are_not_packed_are_read_one_by_one() {
    let series = Message::default().varint(1, 1).varint(1, 300).packed(1, &[2, 3]);
    let series = series.message(4, Message::default().varint(1, 8).varint(1, 9));
    assert_eq!(
        read(&Message::default().message(5, series).0).unwrap(),
        ["labels [1]", "labels [300]", "labels [2, 3]", "exemplar 0 0 [8, 9]"]
    );
    assert_eq!(MetricKind::Unknown.as_str(), "unknown");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (message, error) in [
        (Message::default().message(1, Message::default()), "1.0 in a request of 2.0 at byte 0"),
        (Message::default().varint(5, 1), "wrong kind at byte 0"),
        (Message::default().message(5, Message::default().varint(3, 1)), "wrong kind at byte 2"),
        (Message::default().message(5, Message::default().packed(1, &[1 << 40])), "too large at byte 4"),
        (
            Message::default().message(5, Message::default().message(2, Message::default().double(2, 0.0))),
            "wrong kind at byte 4",
        ),
        (Message(vec![0x2a, 9, 1]), "longer than what holds it"),
    ] {
        let told = read(&message.0).unwrap_err();
        assert!(told.contains(error), "{told}: {error}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(
        mut message in Just(whole().0),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        message.truncate(cut.index(message.len() + 1));
        let _ = read(&message);
    }
}
