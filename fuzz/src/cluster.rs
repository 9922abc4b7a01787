//! The targets of Kubernetes: objects and the rows that are told of them. Lists, watches and dumps are cut and read
//! behind doors of their crates.

use vedette_k8s::state::{Allowed, Format, KINDS};
use vedette_wire::exposition::{Dialect, Entry, TextParser};

/// An object behind the number of its kind. Whatever it says of itself, the page of it can be read.
pub fn object(bytes: &[u8]) {
    let Some((number, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let kind = &KINDS[usize::from(*number) % KINDS.len()];
    let allowed = Allowed { labels: vec!["*".into()], annotations: vec!["*".into()] };
    for (format, dialect) in [(Format::Text, Dialect::Text), (Format::OpenMetrics, Dialect::OpenMetrics)] {
        let Ok(page) = kind.page(&[text], &allowed, format) else { return };
        let rows = page_entries(page.as_bytes(), dialect).filter(|is_row| *is_row).count();
        let written = page.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(rows, written, "rows of {page}");
    }
}

/// Whether each entry of a page is a row.
fn page_entries(page: &[u8], dialect: Dialect) -> impl Iterator<Item = bool> {
    let mut parser = TextParser::new(page, dialect);
    std::iter::from_fn(move || {
        let entry = parser.next()?;
        let entry = entry.unwrap_or_else(|error| panic!("{error:?} in {}", String::from_utf8_lossy(page)));
        Some(match entry {
            Entry::Sample(sample) => {
                assert!(sample.series.labels().is_ok(), "labels of {}", String::from_utf8_lossy(page));
                true
            }
            _ => false,
        })
    })
}

/// The objects that the tests of the rows begin with, as far as each is one of JSON's.
pub fn objects() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/k8s/tests/kube_state");
    let mut all = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        let file = folder.join(format!("{}.json", kind.resource.plural));
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        let Ok(objects) = serde_json::from_str::<Vec<serde_json::Value>>(&text) else { continue };
        let number = u8::try_from(number).expect("few kinds");
        all.extend(objects.iter().map(|object| [&[number], object.to_string().as_bytes()].concat()));
    }
    all
}
