//! The rows of custom resources on the page. Families of the same name are brought together, whichever resources and
//! clusters they are of, as a page may name each once.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    CustomFamily, CustomResource, CustomWatch, LOSSES, Losses,
    found::Served,
    kept::{Budget, CustomObject, Kept},
    rows::ObjectRows,
    watches,
};
use crate::{
    Sink as _,
    state::{FamilyWords, Format, Gone, Head, Page, Snapshot},
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
    fn write(&self, family: usize, page: &mut Page<'_>) -> Result<(), Gone> {
        let name = &*self.families[family].name;
        for object in &self.objects {
            for line in object.of(family) {
                let text = page.text();
                for piece in [name, "{", &self.head] {
                    text.push_str(piece);
                }
                push_rest(text, line, self.names_cluster);
            }
            page.flush_if_full()?;
        }
        Ok(())
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

/// Writes the families of these kinds, with the rows of all their objects.
pub(in crate::state) fn write(
    watches: &[(Arc<CustomWatch>, Option<&str>)],
    page: &mut Page<'_>,
) -> Result<(), Gone> {
    write_taken(&watches.iter().map(|(watch, cluster)| watch.taken(*cluster)).collect::<Vec<_>>(), page)
}

fn write_taken(taken: &[Taken], page: &mut Page<'_>) -> Result<(), Gone> {
    let mut families: BTreeMap<&str, Vec<(&Taken, usize)>> = BTreeMap::new();
    for kind in taken {
        for (at, family) in kind.families.iter().enumerate() {
            families.entry(&family.name).or_default().push((kind, at));
        }
    }
    for (name, makers) in families {
        if let Some((kind, at)) = makers.first() {
            let CustomFamily { help, kind, .. } = &kind.families[*at];
            page.family(&FamilyWords { name, help, kind: *kind });
        }
        for (kind, at) in makers {
            kind.write(at, page)?;
        }
    }
    Ok(())
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
    let mut page = Page::new(format, &mut take);
    let written = write_taken(&[taken], &mut page).and_then(|()| page.finish());
    debug_assert_eq!(written, Ok(()), "all is taken");
    let lost = LOSSES.into_iter().map(|(loss, name)| (name, kept.lost().of(loss)));
    Ok((text, lost.filter(|(_, count)| *count > 0).collect()))
}
