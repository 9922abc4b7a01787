//! Parts that several threads write come out in order and whole, whatever becomes of reader and threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::*;

/// Objects whose rows are their numbers: none of the first family, one of the second and so on; one of them may be a
/// mistake.
struct Numbers {
    count: usize,
    panics_at: usize,
}

const FAMILIES: usize = 5;

impl Snapshot for Numbers {
    fn objects(&self) -> usize {
        self.count
    }

    fn write(&self, family: usize, objects: Range<usize>, page: &mut String) {
        for object in objects {
            assert!(object != self.panics_at, "a mistake");
            for row in 0..family {
                page.push_str(&format!("{family} {object} {row}\n"));
            }
        }
    }
}

fn all(counts: &[usize], panics_at: usize) -> impl Iterator<Item = Part> + Send {
    let words = FamilyWords { name: "f".into(), help: "h".into(), kind: Kind::Gauge };
    let taken: Vec<Box<dyn Snapshot>> = counts
        .iter()
        .map(|count| Box::new(Numbers { count: *count, panics_at }) as Box<dyn Snapshot>)
        .collect();
    parts(vec![words; FAMILIES], taken)
}

fn page(counts: &[usize], helpers: usize) -> String {
    let mut text = String::new();
    let mut take = |piece: &mut String| {
        assert!(piece.ends_with('\n'), "pieces are whole lines, and not empty");
        text.push_str(piece);
        Ok(())
    };
    write(all(counts, usize::MAX), Format::OpenMetrics, helpers, &mut take).expect("all is taken");
    text
}

#[test]
fn pages_are_the_same_by_however_many_threads() {
    for counts in [&[0][..], &[1], &[3 * STRETCH + 7, 5], &[STRETCH, 0, 2 * STRETCH]] {
        let mut expected = String::new();
        for family in 0..FAMILIES {
            expected.push_str("# HELP f h\n# TYPE f gauge\n");
            for count in counts {
                Numbers { count: *count, panics_at: usize::MAX }.write(family, 0..*count, &mut expected);
            }
        }
        expected.push_str("# EOF\n");
        for helpers in 0..4 {
            assert!(page(counts, helpers) == expected, "{counts:?} by {helpers} helpers");
        }
    }
}

/// Whoever reads slowly, or no more, holds up all threads, and none runs on.
#[test]
fn nobody_writes_for_a_reader_who_is_gone() {
    for helpers in 0..4 {
        let pieces = AtomicUsize::new(0);
        let mut take = |_: &mut String| {
            if pieces.fetch_add(1, Relaxed) == 2 { Err(Gone) } else { Ok(()) }
        };
        let written = AtomicUsize::new(0);
        let counted = all(&[100 * STRETCH], usize::MAX).inspect(|_| {
            written.fetch_add(1, Relaxed);
        });
        assert_eq!(write(counted, Format::Text, helpers, &mut take), Err(Gone));
        assert_eq!(pieces.into_inner(), 3);
        // The page has five hundred parts, of which the first hundred are of a family without rows.
        let written = written.into_inner();
        assert!(written < 160, "{written} parts were begun for a reader who took two");
    }
}

#[test]
fn a_panic_of_any_thread_ends_the_page() {
    for helpers in 0..4 {
        for at in [0, STRETCH, 20 * STRETCH] {
            let parts = all(&[30 * STRETCH], at);
            let caught =
                catch_unwind(AssertUnwindSafe(|| write(parts, Format::Text, helpers, &mut |_| Ok(()))));
            assert!(caught.is_err(), "{helpers} helpers, at {at}");
        }
    }
}

#[test]
fn only_large_pages_are_helped_with() {
    assert_eq!(helpers(HELPED - 1), 0);
    assert!(helpers(usize::MAX) <= HELPERS_MAX);
}
