//! Images that are not what they are called: containers that run another digest than their pod names, and tags by
//! which several digests run.
//!
//! Of each container that runs by a tag the tag's hash and the digest are kept, 16 bytes. Only where one tag has
//! several digests are the pods looked through for it.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use hashbrown::HashMap;

use super::{
    Breach, Case, ImageName, PolicyView, Rule,
    cases::placed,
    digest::{Kinship, Ran, kinship},
    origin, words,
};
use crate::{
    Shelf,
    identity::text::Uid,
    objects::{ContainerState, ContainerStatus, Digest, Node, Object as _, Pod},
};

/// How long digests must differ. A kubelet tells of the images of its machine every half minute, and a container
/// whose image is changed has half a minute to end, where nobody says otherwise.
pub(super) const GRACE_NS: i64 = 120 * 1_000_000_000;
/// Between two looks at what differs.
const PAUSE_NS: i64 = 5 * 1_000_000_000;
/// Tags with several digests that are looked at; of more, the others count as unknown.
const TAGS_MAX: usize = 100;
/// Digests of one tag on machines of one kind that are compared with each other.
const DIGESTS_MAX: usize = 4;
/// Containers at a time that are found to run another digest; of more, the others count as unknown.
const FOUND_MAX: usize = 1_000;

/// The hash of a tagged name, and the digest that runs by it.
pub(super) type Run = (u64, Digest);

#[derive(Default)]
pub(super) struct Digests {
    /// Pods with a container that does not run the very digest that it names.
    suspects: HashMap<Uid, Arc<Pod>>,
    /// How many containers run each digest of each tag.
    tags: HashMap<u64, Vec<(Digest, u32)>>,
    /// Tags with several.
    contested: usize,
    /// All pods, where a tag is contested.
    scanned: Vec<Arc<Pod>>,
    cases: BTreeMap<u64, Case>,
    next_ns: i64,
    unknown: usize,
}

/// A container that does not run the digest that it names.
struct Mismatch<'a> {
    container: &'a str,
    named: &'a str,
    status: &'a ContainerStatus,
}

/// A digest that runs by a tag.
struct Running<'a> {
    digest: Digest,
    text: &'a str,
    pod: &'a Arc<Pod>,
    node: &'a Node,
    containers: usize,
}

impl Digests {
    /// Takes a pod as it is now, in the place of what it was; gives what it runs by tags.
    pub(super) fn take(&mut self, pod: &Arc<Pod>, id: Uid) -> Box<[Run]> {
        if mismatches(pod).next().is_none() {
            self.suspects.remove(&id);
        } else {
            self.suspects.insert(id, pod.clone());
        }
        let runs: Box<[Run]> = running(pod).map(|(tagged, digest, _)| (hash(&tagged), digest)).collect();
        for (tag, digest) in &runs {
            let digests = self.tags.entry(*tag).or_default();
            match digests.iter_mut().find(|(known, _)| known == digest) {
                Some((_, count)) => *count += 1,
                None => {
                    digests.push((*digest, 1));
                    self.contested += usize::from(digests.len() == 2);
                }
            }
        }
        runs
    }

    /// A pod is gone.
    pub(super) fn release(&mut self, id: &Uid, runs: &[Run]) {
        self.suspects.remove(id);
        self.release_runs(runs);
    }

    /// What a pod no longer runs.
    pub(super) fn release_runs(&mut self, runs: &[Run]) {
        for (tag, digest) in runs {
            let Some(digests) = self.tags.get_mut(tag) else { continue };
            let Some(at) = digests.iter().position(|(known, _)| known == digest) else { continue };
            digests[at].1 -= 1;
            if digests[at].1 == 0 {
                digests.swap_remove(at);
                self.contested -= usize::from(digests.len() == 1);
            }
            if digests.is_empty() {
                self.tags.remove(tag);
            }
        }
    }

    /// Whether the pods must be looked through although none has changed.
    pub(super) fn wants_pods(&self) -> bool {
        self.contested > 0 && self.scanned.is_empty()
    }

    /// Takes the pods, if they must be looked through.
    pub(super) fn gather(&mut self, shelf: &Shelf<Pod>) {
        self.scanned.clear();
        if self.contested > 0 {
            self.scanned.extend(shelf.iter().map(|(_, pod, _)| pod.clone()));
        }
    }

    /// Looks at what differs, now and then.
    pub(super) fn judge(&mut self, view: &PolicyView<'_>) {
        if view.now_ns < self.next_ns {
            return;
        }
        self.next_ns = view.now_ns + PAUSE_NS;
        self.unknown = 0;
        let mut found: Vec<Case> = Vec::new();
        for pod in self.suspects.values() {
            for mismatch in mismatches(pod) {
                match mismatch.kinship(pod, view.nodes) {
                    Kinship::Same => {}
                    Kinship::Unknown => self.unknown += 1,
                    Kinship::Different if found.len() < FOUND_MAX => found.push(mismatch.case(pod, view)),
                    Kinship::Different => self.unknown += 1,
                }
            }
        }
        self.judge_tags(view, &mut found);
        let mut before = std::mem::take(&mut self.cases);
        for mut case in found {
            let known = before.remove(&case.fingerprint());
            case.since_ns = known.map_or(view.now_ns, |known| known.since_ns);
            case.grace_ns = GRACE_NS;
            self.cases.insert(case.fingerprint(), case);
        }
    }

    pub(super) fn cases(&self) -> impl Iterator<Item = (u64, &Case)> {
        self.cases.iter().map(|(fingerprint, case)| (*fingerprint, case))
    }

    pub(super) fn has(&self, fingerprint: u64) -> bool {
        self.cases.contains_key(&fingerprint)
    }

    /// Containers and tags whose digests could not be compared.
    pub(super) fn unknown(&self) -> usize {
        self.unknown
    }

    /// Tags with several digests.
    #[cfg(test)]
    pub(super) fn contested(&self) -> usize {
        self.contested
    }

    fn judge_tags(&mut self, view: &PolicyView<'_>, found: &mut Vec<Case>) {
        if self.contested == 0 {
            return;
        }
        // By tag and by what its machines have in common: others may run another image by the same list.
        let mut by_tag = BTreeMap::<(String, (&str, &str, &str)), Vec<Running<'_>>>::new();
        let is_contested =
            |tagged: &str| self.tags.get(&hash(tagged)).is_some_and(|digests| digests.len() > 1);
        for pod in &self.scanned {
            for (tagged, digest, text) in running(pod).filter(|(tagged, ..)| is_contested(tagged)) {
                let Some((node, _)) = view.nodes.get(pod.node_name()) else { continue };
                let digests = by_tag.entry((tagged, node.platform())).or_default();
                match digests.iter_mut().find(|known| known.digest == digest) {
                    Some(known) => known.containers += 1,
                    None => digests.push(Running { digest, text, pod, node, containers: 1 }),
                }
            }
        }
        for (at, ((tagged, platform), digests)) in by_tag.iter().filter(|(_, all)| all.len() > 1).enumerate()
        {
            if at >= TAGS_MAX {
                self.unknown += 1;
                continue;
            }
            match different(digests, view.nodes) {
                Some(differ) => found.push(tag_case(tagged, *platform, digests, differ, view)),
                None if all_known(digests, view.nodes) => {}
                None => self.unknown += 1,
            }
        }
    }
}

impl Mismatch<'_> {
    fn kinship(&self, pod: &Pod, nodes: &Shelf<Node>) -> Kinship {
        let Ran::Pulled(runs, _) = Ran::of(&self.status.image_id) else { return Kinship::Unknown };
        let Some(named) = Digest::parse(self.named) else { return Kinship::Unknown };
        let own = nodes.get(pod.node_name()).map(|(node, _)| &**node);
        kinship(runs, named, own, nodes.iter().map(|(_, node, _)| &**node))
    }

    fn case(&self, pod: &Pod, view: &PolicyView<'_>) -> Case {
        let meta = pod.meta();
        let container = words::plain(self.container);
        let title = format!(
            "container {container} of pod {}/{} in {} runs another image than its digest names",
            words::plain(&meta.namespace),
            words::plain(&meta.name),
            view.cluster
        );
        let mut lines = vec![
            format!("the specification names {}", self.named),
            format!(
                "the runtime tells {} ({})",
                words::plain(&self.status.image_id),
                words::plain(&self.status.container_id)
            ),
            format!("the images that {} lists do not say that both are one", words::plain(pod.node_name())),
        ];
        let origin = origin::of(pod, meta, view.makers);
        lines.extend(origin.lines);
        let breach = Breach::new(Rule::DigestMismatch, title, lines)
            .asking(origin.questions)
            .with("namespace", &meta.namespace)
            .with("pod", &meta.name)
            .with("container", &container)
            .with("node", pod.node_name());
        Case::alone(breach, view)
    }
}

/// Containers that name a digest and do not run that very one, as far as their runtime tells.
fn mismatches(pod: &Pod) -> impl Iterator<Item = Mismatch<'_>> {
    pod.all_containers().filter_map(|container| {
        let named = ImageName::parse(&container.image)?.digest?;
        let status = pod.statuses().find(|status| status.name == container.name)?;
        let has_run = matches!(status.state, ContainerState::Running { .. } | ContainerState::Terminated(_));
        let is_other = match Ran::of(&status.image_id) {
            Ran::Nothing => false,
            Ran::Pulled(_, text) => text != named,
            Ran::Other => true,
        };
        (has_run && is_other).then_some(Mismatch { container: &container.name, named, status })
    })
}

/// The containers that run by a tag: the tagged name, and the digest as it is kept and as it is told.
fn running(pod: &Pod) -> impl Iterator<Item = (String, Digest, &str)> {
    pod.all_containers().filter_map(|container| {
        let status = pod.statuses().find(|status| status.name == container.name)?;
        let ContainerState::Running { .. } = status.state else { return None };
        let Ran::Pulled(digest, text) = Ran::of(&status.image_id) else { return None };
        Some((ImageName::parse(&container.image)?.tagged()?, digest, text))
    })
}

/// Two that are known to be different images.
fn different(digests: &[Running<'_>], nodes: &Shelf<Node>) -> Option<(usize, usize)> {
    let compared = digests.len().min(DIGESTS_MAX);
    let mut pairs = (0..compared).flat_map(|a| (a + 1..compared).map(move |b| (a, b)));
    pairs.find(|(a, b)| pair(&digests[*a], &digests[*b], nodes) == Kinship::Different)
}

/// Whether nothing about them is unknown.
fn all_known(digests: &[Running<'_>], nodes: &Shelf<Node>) -> bool {
    digests.len() <= DIGESTS_MAX
        && digests[1..].iter().all(|other| pair(&digests[0], other, nodes) != Kinship::Unknown)
}

/// Both must be listed where they run.
fn pair(a: &Running<'_>, b: &Running<'_>, nodes: &Shelf<Node>) -> Kinship {
    let all = || nodes.iter().map(|(_, node, _)| &**node);
    match kinship(a.digest, b.digest, Some(a.node), all()) {
        Kinship::Different => kinship(b.digest, a.digest, Some(b.node), all()),
        other => other,
    }
}

fn tag_case(
    tagged: &str,
    (runtime, system, architecture): (&str, &str, &str),
    digests: &[Running<'_>],
    (a, b): (usize, usize),
    view: &PolicyView<'_>,
) -> Case {
    let title = format!("{tagged} runs as different images in {}", view.cluster);
    let mut lines = vec![format!(
        "seen on nodes with {}, {} and {}",
        words::plain(runtime),
        words::plain(system),
        words::plain(architecture)
    )];
    let mut questions = Vec::new();
    for one in [&digests[a], &digests[b]] {
        let meta = one.pod.meta();
        lines.push(format!(
            "{} runs in {} containers, as in pod {}/{}{}",
            one.text,
            one.containers,
            words::plain(&meta.namespace),
            words::plain(&meta.name),
            placed(one.pod)
        ));
        let origin = origin::of(one.pod, meta, view.makers);
        lines.extend(origin.lines);
        questions.extend(origin.questions);
    }
    if digests.len() > 2 {
        lines.push(format!("and {} more digests", digests.len() - 2));
    }
    let platform = words::plain(&format!("{system}/{architecture} {runtime}"));
    let breach = Breach::new(Rule::TagMoved, title, lines).asking(questions);
    Case::alone(breach.of_image(tagged).with("platform", &platform), view)
}

/// Two tags with one hash are looked through once more, by their names.
fn hash(tagged: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    tagged.hash(&mut hasher);
    hasher.finish()
}
