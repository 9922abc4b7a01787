//! The rows of one object, as they stand on the page but for the labels that all rows of its resource have.

use std::collections::HashSet;

use super::{
    labels::Labels,
    lost::{Loss, Lost},
};
use crate::state::rows::{push_label, push_value};

/// Rows of an object; of most there are a handful.
const ROWS_MAX: usize = 1000;
/// Their bytes.
const BYTES_MAX: usize = 256 << 10;

/// All rows of an object.
#[derive(Debug, Default)]
pub(super) struct ObjectRows {
    /// Line by line what follows on the labels of the resource: `,name="foo"} 1`.
    text: Box<str>,
    /// Families by their places, and where the rows of each end.
    ends: Box<[(usize, usize)]>,
}

impl ObjectRows {
    /// The lines of a family.
    pub(super) fn of(&self, family: usize) -> impl Iterator<Item = &str> {
        let at = self.ends.binary_search_by_key(&family, |(family, _)| *family).ok();
        let lines = at.map_or("", |at| {
            let begin = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
            &self.text[begin..self.ends[at].1]
        });
        lines.split_inclusive('\n')
    }

    /// What they take in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + size_of_val(&*self.ends)
    }
}

/// Takes the rows of an object, family by family.
pub(super) struct RowWriter<'a> {
    text: String,
    ends: Vec<(usize, usize)>,
    rows: usize,
    /// Labels of the rows of the family under way.
    known: HashSet<String>,
    lost: &'a Lost,
}

impl<'a> RowWriter<'a> {
    pub(super) fn new(lost: &'a Lost) -> Self {
        Self { text: String::new(), ends: Vec::new(), rows: 0, known: HashSet::new(), lost }
    }

    /// Where what is left out is counted.
    pub(super) fn lost(&self) -> &'a Lost {
        self.lost
    }

    /// Whether there is room for a row.
    pub(super) fn has_room(&self) -> bool {
        self.rows < ROWS_MAX && self.text.len() < BYTES_MAX
    }

    /// Writes a row, unless the family has one with these labels.
    pub(super) fn row(&mut self, labels: &Labels, value: f64) {
        let begin = self.text.len();
        for (name, value) in labels.iter() {
            self.text.push(',');
            push_label(&mut self.text, name, value);
        }
        if !self.known.insert(self.text[begin..].to_owned()) {
            self.text.truncate(begin);
            self.lost.add(Loss::RepeatedRows);
            return;
        }
        self.text.push_str("} ");
        push_value(&mut self.text, value);
        self.text.push('\n');
        self.rows += 1;
    }

    /// The rows of a family are all told; families come in the order of their places.
    pub(super) fn end(&mut self, family: usize) {
        self.known.clear();
        let before = self.ends.last().map_or(0, |(_, end)| *end);
        if self.text.len() > before {
            self.ends.push((family, self.text.len()));
        }
    }

    /// All that was told.
    pub(super) fn finish(self) -> ObjectRows {
        ObjectRows { text: self.text.into(), ends: self.ends.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str, value: &str) -> Labels {
        let mut labels = Labels::default();
        labels.add(name, value, &Lost::new(0));
        labels
    }

    #[test]
    fn rows_are_found_by_their_family() {
        let lost = Lost::new(0);
        let mut writer = RowWriter::new(&lost);
        writer.row(&labels("a", "x\n"), 1.0);
        writer.row(&labels("a", "y"), 0.5);
        writer.row(&labels("a", "y"), 2.0);
        writer.end(0);
        writer.end(1);
        writer.row(&labels("a", "y"), 3.0);
        writer.row(&Labels::default(), 4.0);
        writer.end(2);
        let rows = writer.finish();
        let told = |family| rows.of(family).collect::<Vec<_>>();
        assert_eq!(told(0), [",a=\"x\\n\"} 1\n", ",a=\"y\"} 0.5\n"]);
        assert!(told(1).is_empty() && told(3).is_empty());
        assert_eq!(told(2), [",a=\"y\"} 3\n", "} 4\n"]);
        assert_eq!(lost.of(Loss::RepeatedRows), 1);
    }

    #[test]
    fn an_object_has_so_many_rows_and_no_more() {
        let lost = Lost::new(0);
        let mut writer = RowWriter::new(&lost);
        while writer.has_room() {
            writer.row(&labels("n", &writer.rows.to_string()), 1.0);
        }
        writer.end(0);
        assert_eq!(writer.finish().of(0).count(), ROWS_MAX);
        let mut writer = RowWriter::new(&lost);
        while writer.has_room() {
            writer.row(&labels(&format!("n{}", writer.rows), &"x".repeat(1000)), 1.0);
        }
        assert!(writer.finish().bytes() < BYTES_MAX + 2000);
    }
}
