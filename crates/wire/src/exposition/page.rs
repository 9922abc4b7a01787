//! What a page is besides its values.
//!
//! From scrape to scrape most pages change in nothing but their values. So whoever keeps what stands
//! between them reads the next page by comparing it, and need not look at names, labels and comments at
//! all. What is read in this way is what [`TextParser`] reads: it is at the same place of the same
//! text before each value, and behind it.

use super::{
    text::{Dialect, Entry, TextParser, blanks, word},
    value,
};

/// What stands before, between and behind the values of a page whose samples have neither times nor
/// exemplars.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PageForm {
    dialect: Dialect,
    /// All that is not a value, in order.
    literals: Box<[u8]>,
    /// How much of it stands before each value.
    lengths: Box<[u32]>,
}

impl PageForm {
    /// The form of a page, if it is sound, has one, and that takes no more memory than `bytes_max` tells
    /// for a number of samples.
    pub fn of(body: &[u8], dialect: Dialect, bytes_max: impl Fn(usize) -> usize) -> Option<Self> {
        let mut parser = TextParser::new(body, dialect);
        let (mut literals, mut lengths) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(entry) = parser.next() {
            let Entry::Sample(sample) = entry.ok()? else { continue };
            if sample.time_ms.is_some() || sample.exemplar.is_some() {
                return None;
            }
            let behind = sample.series.position() + sample.series.bytes().len();
            let begin = behind + blanks(&body[behind..]);
            if literals.len() + (begin - at) > bytes_max(lengths.len() + 1) {
                return None;
            }
            literals.extend_from_slice(&body[at..begin]);
            lengths.push(u32::try_from(begin - at).ok()?);
            at = begin + word(&body[begin..], dialect);
        }
        if literals.len() + (body.len() - at) > bytes_max(lengths.len()) {
            return None;
        }
        literals.extend_from_slice(&body[at..]);
        Some(Self { dialect, literals: literals.into(), lengths: lengths.into() })
    }

    /// Reads the values of a page of this form; says whether it is one. Where it is not, the values that
    /// were added are of no use.
    pub fn read(&self, body: &[u8], dialect: Dialect, values: &mut Vec<f64>) -> bool {
        if dialect != self.dialect {
            return false;
        }
        values.reserve(self.lengths.len());
        let (mut literals, mut rest) = (&*self.literals, body);
        for length in &self.lengths {
            let Some((literal, later)) = literals.split_at_checked(*length as usize) else { return false };
            let Some(behind) = rest.strip_prefix(literal) else { return false };
            let (text, after) = behind.split_at(word(behind, dialect));
            let Some(value) = value::parse(text) else { return false };
            values.push(value);
            (literals, rest) = (later, after);
        }
        rest == literals
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Memory that it takes.
    pub fn heap_bytes(&self) -> usize {
        self.literals.len() + size_of_val(&*self.lengths)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The values of all samples, if the page is sound and none has a time or an exemplar.
    fn parsed(body: &[u8], dialect: Dialect) -> Option<Vec<(Vec<u8>, u64)>> {
        let mut parser = TextParser::new(body, dialect);
        let mut all = Vec::new();
        while let Some(entry) = parser.next() {
            if let Entry::Sample(sample) = entry.ok()? {
                if sample.time_ms.is_some() || sample.exemplar.is_some() {
                    return None;
                }
                all.push((sample.series.bytes().to_vec(), sample.value.to_bits()));
            }
        }
        Some(all)
    }

    const TEXT: &str =
        "# HELP a A b.\n# TYPE a counter\na{x=\"1 2\"} 1\n  a {x=\"}\"}\t2.5 \n\n# note\nb NaN\nc{} +Inf";
    const OPEN: &str = "# TYPE a counter\na_total 1\na_created 1.5e9\n# TYPE b gauge\nb{c=\"d\"} -2\n# EOF\n";

    #[test]
    fn pages_that_differ_in_values_have_one_form() {
        let form = PageForm::of(TEXT.as_bytes(), Dialect::Text, |_| usize::MAX).unwrap();
        assert_eq!(form.len(), 4);
        let read = |page: &str| {
            let mut values = Vec::new();
            form.read(page.as_bytes(), Dialect::Text, &mut values).then_some(values)
        };
        assert_eq!(read(TEXT).unwrap()[..2], [1.0, 2.5]);
        let other = TEXT.replace("2.5", "1e3").replace("+Inf", "7");
        assert_eq!(read(&other).unwrap()[..2], [1.0, 1000.0]);
        assert_eq!(read(&other).unwrap()[3], 7.0);
        for wrong in [
            TEXT.replace("b NaN", "b NaN 5"),
            TEXT.replace("b NaN", "b {} 5"),
            TEXT.replace("b NaN", "b x"),
            TEXT.replace("b NaN", "b "),
            TEXT.replace("A b.", "A c."),
            format!("{TEXT}\n"),
            TEXT.replace("c{} +Inf", ""),
        ] {
            assert_eq!(read(&wrong), None, "{wrong}");
        }
        let mut values = Vec::new();
        assert!(!form.read(TEXT.as_bytes(), Dialect::OpenMetrics, &mut values));
        assert_eq!(PageForm::of(b"a 1 5\n", Dialect::Text, |_| usize::MAX), None);
        assert_eq!(PageForm::of(b"a 1 # {} 5\n# EOF\n", Dialect::OpenMetrics, |_| usize::MAX), None);
        assert_eq!(PageForm::of(b"a 1\n", Dialect::OpenMetrics, |_| usize::MAX), None);
    }

    proptest! {
        /// Whatever is read by a form is what the parser reads, also from pages that were tampered with.
        #[test]
        fn a_form_reads_what_the_parser_reads(
            is_text in any::<bool>(),
            before in prop::collection::vec((any::<prop::sample::Index>(), "[ -~\n\t]"), 0..3),
            after in prop::collection::vec((any::<prop::sample::Index>(), "[0-9.e {}\n\t]{1,3}"), 0..4),
        ) {
            let (mut page, dialect) =
                if is_text { (TEXT.to_owned(), Dialect::Text) } else { (OPEN.to_owned(), Dialect::OpenMetrics) };
            for (at, text) in before {
                page.insert_str(at.index(page.len()), &text);
            }
            let form = PageForm::of(page.as_bytes(), dialect, |_| usize::MAX);
            prop_assert_eq!(form.is_some(), parsed(page.as_bytes(), dialect).is_some());
            let Some(form) = form else { return Ok(()) };
            let names = parsed(page.as_bytes(), dialect).unwrap();
            for (at, text) in after {
                let at = at.index(page.len());
                page.replace_range(at..(at + 1).min(page.len()), &text);
            }
            let mut values = Vec::new();
            if form.read(page.as_bytes(), dialect, &mut values) {
                let all = parsed(page.as_bytes(), dialect).unwrap();
                prop_assert_eq!(all.len(), form.len());
                for ((sample, known), value) in all.iter().zip(&names).zip(values) {
                    prop_assert_eq!(&sample.0, &known.0);
                    prop_assert_eq!(sample.1, value.to_bits());
                }
            } else if let Some(all) = parsed(page.as_bytes(), dialect) {
                // Something beside the values differs.
                prop_assert!(PageForm::of(page.as_bytes(), dialect, |_| usize::MAX).as_ref() != Some(&form), "{:?}", all);
            }
        }
    }
}
