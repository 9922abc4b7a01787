//! Series and samples as `promtool tsdb dump` prints them.

use std::fmt::Write;

use vedette_model::{CUSTOM_BUCKETS_SCHEMA, HistogramCounts, Labels, NativeHistogram, Span};
use vedette_wire::number;

/// All labels in braces, the name among them.
pub fn labels(labels: &Labels) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        let mut bytes = name.bytes();
        let plain = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if plain {
            out.push_str(name);
        } else {
            quote(&mut out, name);
        }
        out.push('=');
        quote(&mut out, value);
    }
    out.push('}');
    out
}

/// Text without what a terminal would take for a command.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Text in quotes, as Go writes it: what cannot be seen is escaped.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_printable(c) => out.push(c),
            c if c.is_ascii() => push(out, format_args!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) < 0x1_0000 => push(out, format_args!("\\u{:04x}", u32::from(c))),
            c => push(out, format_args!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
}

fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Behind another character marks that combine with it count as printable.
    !c.is_whitespace() && !format!("x{c}").escape_debug().any(|c| c == '\\')
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("BUG: writing to a String cannot fail");
}

/// A float with as few digits as name it, and an exponent where that is shorter.
pub fn float(value: f64) -> String {
    let mut out = Vec::with_capacity(24);
    number::push_shortest(&mut out, value);
    String::from_utf8(out).expect("BUG: a number is ASCII")
}

/// A histogram: count, sum, then the buckets that are not empty, lowest first.
pub fn histogram(h: &NativeHistogram) -> String {
    let mut buckets: Vec<(String, String)> = Vec::new();
    let (count, zero_count);
    match &h.counts {
        HistogramCounts::Integer { count: n, zero_count: z, positive, negative } => {
            (count, zero_count) = (n.to_string(), (*z > 0).then(|| z.to_string()));
            let texts = |counts: &[u64]| -> Vec<Option<String>> {
                counts.iter().map(|&n| (n != 0).then(|| n.to_string())).collect()
            };
            put_buckets(&mut buckets, h, &texts(negative), zero_count, &texts(positive));
        }
        HistogramCounts::Float { count: n, zero_count: z, positive, negative } => {
            (count, zero_count) = (float(*n), (*z != 0.0).then(|| float(*z)));
            let texts = |counts: &[f64]| -> Vec<Option<String>> {
                counts.iter().map(|&n| (n != 0.0).then(|| float(n))).collect()
            };
            put_buckets(&mut buckets, h, &texts(negative), zero_count, &texts(positive));
        }
    }
    let mut out = format!("{{count:{count}, sum:{}", float(h.sum));
    for (bounds, count) in buckets {
        push(&mut out, format_args!(", {bounds}:{count}"));
    }
    out.push('}');
    out
}

fn put_buckets(
    out: &mut Vec<(String, String)>,
    h: &NativeHistogram,
    negative: &[Option<String>],
    zero: Option<String>,
    positive: &[Option<String>],
) {
    let bounds = |index: i64| (bound(h, index - 1), bound(h, index));
    for (index, count) in each_index(&h.negative_spans).zip(negative).collect::<Vec<_>>().into_iter().rev() {
        let Some(count) = count else { continue };
        let (near, far) = bounds(index);
        out.push((format!("[{},{})", float(-far), float(-near)), count.clone()));
    }
    if let Some(count) = zero {
        out.push((format!("[{},{}]", float(-h.zero_threshold), float(h.zero_threshold)), count));
    }
    for (index, count) in each_index(&h.positive_spans).zip(positive) {
        let Some(count) = count else { continue };
        let (low, high) = bounds(index);
        // The lowest bucket with bounds of its own reaches down without end, and has that end.
        let open = if low == f64::NEG_INFINITY { '[' } else { '(' };
        out.push((format!("{open}{},{}]", float(low), float(high)), count.clone()));
    }
}

fn each_index(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut next = 0i64;
    spans.iter().flat_map(move |span| {
        let start = next + i64::from(span.offset);
        next = start + i64::from(span.length);
        start..next
    })
}

/// 2^(1/2), 2^(1/4) … 2^(1/256), of which Prometheus' bounds are products, so that the last digits
/// are the same too; its root of two is the float below the nearest one.
const ROOTS: [f64; 8] = [
    std::f64::consts::SQRT_2.next_down(),
    1.189_207_115_002_721,
    1.090_507_732_665_257_7,
    1.044_273_782_427_413_8,
    1.021_897_148_654_116_6,
    1.010_889_286_051_700_5,
    1.005_429_901_112_802_7,
    1.002_711_275_050_202_5,
];

/// The upper bound of a bucket.
fn bound(h: &NativeHistogram, index: i64) -> f64 {
    if h.schema == CUSTOM_BUCKETS_SCHEMA {
        return match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(i) => h.custom_bounds.get(i).copied().unwrap_or(f64::INFINITY),
        };
    }
    let schema = i32::from(h.schema);
    let (exponent, fraction) = if schema <= 0 {
        (index << -schema, 1.0)
    } else {
        let within = index & ((1 << schema) - 1);
        let bits = ROOTS.iter().zip(1..=schema).filter(|(_, bit)| within >> (schema - bit) & 1 == 1);
        (index >> schema, bits.fold(1.0, |product, (root, _)| product * root))
    };
    // The bucket that would end beyond the largest float ends with it.
    if exponent >= 1024 {
        return if exponent == 1024 && fraction == 1.0 { f64::MAX } else { f64::INFINITY };
    }
    // In two steps, as 2^exponent alone may be no normal float.
    let half = exponent.clamp(-2200, 1024) as i32 / 2;
    fraction * 2f64.powi(half) * 2f64.powi(exponent.clamp(-2200, 1024) as i32 - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted_as_go_does() {
        let set =
            Labels::from_pairs([("__name__", "x"), ("a.b", "é\n\"\\"), ("c", "\u{1}\u{a0}\u{200b}e\u{301}")]);
        assert_eq!(
            labels(&set),
            "{__name__=\"x\", \"a.b\"=\"é\\n\\\"\\\\\", c=\"\\x01\\u00a0\\u200be\u{301}\"}"
        );
        assert_eq!(labels(&Labels::empty()), "{}");
    }

    #[test]
    fn histograms_are_told_bucket_by_bucket() {
        let mut h = NativeHistogram {
            schema: 0,
            zero_threshold: 0.001,
            sum: 1e6,
            positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 1, length: 1 }],
            negative_spans: vec![Span { offset: 0, length: 2 }],
            counts: HistogramCounts::Integer {
                count: 9,
                zero_count: 2,
                positive: vec![1, 0, 3],
                negative: vec![1, 2],
            },
            ..NativeHistogram::stale()
        };
        assert_eq!(
            histogram(&h),
            "{count:9, sum:1e+06, [-2,-1):2, [-1,-0.5):1, [-0.001,0.001]:2, (0.25,0.5]:1, (2,4]:3}"
        );
        h.schema = CUSTOM_BUCKETS_SCHEMA;
        h.custom_bounds = vec![0.5, 2.0];
        h.positive_spans = vec![Span { offset: 0, length: 3 }];
        h.negative_spans = Vec::new();
        h.counts = HistogramCounts::Float {
            count: 2.5,
            zero_count: 0.0,
            positive: vec![1.0, 0.5, 1.0],
            negative: vec![],
        };
        assert_eq!(histogram(&h), "{count:2.5, sum:1e+06, [-Inf,0.5]:1, (0.5,2]:0.5, (2,+Inf]:1}");
    }

    #[test]
    fn bounds_hold_at_both_ends() {
        let at = |schema, index| bound(&NativeHistogram { schema, ..NativeHistogram::stale() }, index);
        assert_eq!(at(0, 1024), f64::MAX);
        assert_eq!(at(8, 1 << 18), f64::MAX);
        assert_eq!(at(0, -1074), f64::from_bits(1));
        assert_eq!(at(-4, 2), 2f64.powi(32));
        // As promtool 3.14 prints them.
        assert_eq!(at(1, 3), 2.828_427_124_746_19);
        assert_eq!(at(3, 7), 1.834_008_086_409_342_2);
        assert_eq!(at(8, 255), 1.994_592_112_170_939_6);
        assert_eq!(at(0, i64::from(i32::MAX)), f64::INFINITY);
    }
}
