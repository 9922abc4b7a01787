//! The rows of custom resources on the page. Families of the same name are brought together, whichever resources and
//! clusters they are of, as a page may name each once.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{
    CustomFamily, CustomResource, CustomWatch, LOSSES, Losses,
    found::Served,
    kept::{Budget, CustomObject, Kept},
    rows::ObjectRows,
    watches,
};
use crate::{
    Sink as _,
    state::{
        FamilyWords, Format, Head, Snapshot,
        page::{self, Part},
    },
};

/// The rows of a kind as they were at one moment.
pub(in crate::state) struct Taken {
    objects: Vec<Arc<ObjectRows>>,
    families: Arc<[CustomFamily]>,
    /// The labels of all rows, and those before them.
    head: String,
    names_cluster: bool,
}

impl Taken {
    pub(super) fn of(kept: &Kept, head: &str, cluster: Option<&str>) -> Self {
        let mut begin = Head::default();
        if let Some(cluster) = cluster {
            begin.label("cluster", cluster);
        }
        let mut whole = begin.into_text();
        if !whole.is_empty() {
            whole.push(',');
        }
        whole.push_str(head);
        let (objects, families) = (kept.rows(), kept.families().clone());
        Self { objects, families, head: whole, names_cluster: cluster.is_some() }
    }
}

impl Snapshot for Taken {
    fn objects(&self) -> usize {
        self.objects.len()
    }

    fn write(&self, family: usize, objects: Range<usize>, page: &mut String) {
        let name = &*self.families[family].name;
        for line in self.objects[objects].iter().flat_map(|object| object.of(family)) {
            for piece in [name, "{", &self.head] {
                page.push_str(piece);
            }
            push_rest(page, line, self.names_cluster);
        }
    }
}

/// A label `cluster` of a row itself gives way to the one that names the cluster, as on a scrape.
fn push_rest(text: &mut String, line: &str, names_cluster: bool) {
    let own = names_cluster.then(|| line.find(",cluster=\"")).flatten();
    let Some(own) = own else { return text.push_str(line) };
    let mut name = "exported_cluster".to_owned();
    // Quotation marks in values are escaped: this can be nothing but a label.
    while line.contains(&format!(",{name}=\"")) {
        name.insert_str(0, "exported_");
    }
    let (before, rest) = line.split_at(own);
    for piece in [before, ",", &name, &rest[",cluster".len()..]] {
        text.push_str(piece);
    }
}

/// The parts of the page with the families of these kinds and the rows of all their objects.
pub(in crate::state) fn parts(
    watches: &[(Arc<CustomWatch>, Option<&str>)],
) -> impl Iterator<Item = Part> + Send + use<> {
    parts_of(watches.iter().map(|(watch, cluster)| watch.taken(*cluster)).collect())
}

fn parts_of(taken: Vec<Taken>) -> impl Iterator<Item = Part> + Send {
    /// Who has rows of a family: their places, and its place there.
    type Makers = Vec<(usize, usize)>;
    let mut families: BTreeMap<Box<str>, (FamilyWords, Makers)> = BTreeMap::new();
    for (of, kind) in taken.iter().enumerate() {
        for (at, CustomFamily { name, help, kind, .. }) in kind.families.iter().enumerate() {
            let owned = |text: &str| text.to_owned().into();
            let words = || FamilyWords { name: owned(name), help: owned(help), kind: *kind };
            let makers = families.entry(name.clone()).or_insert_with(|| (words(), Makers::new()));
            makers.1.push((of, at));
        }
    }
    let taken: Vec<Box<dyn Snapshot>> = taken.into_iter().map(|kind| Box::new(kind) as _).collect();
    let taken = Arc::new(taken);
    families.into_values().flat_map(move |(words, makers)| {
        let taken = taken.clone();
        let rows = makers.into_iter().flat_map(move |(of, at)| page::rows(taken.clone(), of, at));
        std::iter::once(Part::Words(words)).chain(rows)
    })
}

/// The page of these objects of a resource, each in JSON, which no watch has told, and what was left out.
///
/// # Errors
/// One of them is no object.
pub fn page(
    resource: &CustomResource,
    cluster: Option<&str>,
    objects: &[&str],
    format: Format,
) -> Result<(String, Losses), serde_json::Error> {
    let word = |word: &Option<Box<str>>| word.clone().unwrap_or_else(|| "*".into());
    let served = Served {
        version: word(&resource.version),
        kind: word(&resource.kind),
        plural: word(&resource.plural),
    };
    let kept = Kept::new(resource.families.clone(), Budget::of(usize::MAX));
    for text in objects {
        kept.put(serde_json::from_str::<CustomObject>(text)?);
    }
    let taken = Taken::of(&kept, &watches::head(resource, &served), cluster);
    let mut text = String::new();
    let mut take = |piece: &mut String| {
        text.push_str(piece);
        Ok(())
    };
    let written = page::write(parts_of(vec![taken]), format, 0, &mut take);
    debug_assert_eq!(written, Ok(()), "all is taken");
    let lost = LOSSES.into_iter().map(|(loss, name)| (name, kept.lost().of(loss)));
    Ok((text, lost.filter(|(_, count)| *count > 0).collect()))
}
