//! Words of findings: foreign texts made plain, and what people are told of each rule.

use vedette_model::Severity;

/// Foreign texts that are longer are cut.
const TEXT_BYTES_MAX: usize = 256;

/// What a pod is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An image comes from a registry that is not allowed.
    Registry,
    /// A pod may do more to its machine than others, outside of the namespaces where that is allowed.
    Privileged,
    /// A container runs another image than the digest in its pod's specification names.
    DigestMismatch,
    /// Pods with one tag run images of several digests.
    TagMoved,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Registry, Self::Privileged, Self::DigestMismatch, Self::TagMoved];

    /// The name of its findings, and the value of the label `rule`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registry => "image-from-other-registry",
            Self::Privileged => "pod-with-host-access",
            Self::DigestMismatch => "image-digest-mismatch",
            Self::TagMoved => "image-tag-with-several-digests",
        }
    }

    /// How bad it is where nothing makes it worse.
    pub(super) fn severity(self) -> Severity {
        match self {
            Self::Registry | Self::Privileged => Severity::Warning,
            Self::DigestMismatch => Severity::Critical,
            Self::TagMoved => Severity::Info,
        }
    }

    /// What it means, and the next step.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Registry => {
                "An image of this workload comes from a registry that is not in `allowed_registries`, so nobody has \
                 said that what it holds may run here. Ask who made the workload where the image is from. If it is \
                 wanted, copy it to a registry that is allowed, or add its registry to the list; if not, delete the \
                 workload and look at what its containers did. An admission policy keeps the next one out."
            }
            Self::Privileged => {
                "Pods of this workload may do more to their machines than a container should, and they are outside of \
                 the namespaces where that is allowed: whoever gets into such a container may get the machine. Ask \
                 who made it whether it needs that. If it does, move it to a namespace of its own and add that to \
                 `policy.privileged.allowed_namespaces`; if not, take it out of the pod's template. The level \
                 Baseline of Pod Security admission keeps the next one out."
            }
            Self::DigestMismatch => {
                "The specification of the pod names one digest, and the runtime says that the container runs another; \
                 the machine lists that image and does not say that it has the digest of the specification, too. \
                 Either the specification was changed and the container has not ended yet, or the images of the \
                 machine were tampered with. Look at the image on the machine (`crictl inspecti`), take the machine \
                 out of service if nobody can say why, and pull the image anew."
            }
            Self::TagMoved => {
                "Containers with the same tag run different images, as the tag was moved between the pulls. Which one \
                 a new pod gets depends on its machine. Name images by digest, or by tags that are never moved, and \
                 restart the pods that run the older one."
            }
        }
    }
}

/// A foreign text as it may stand in a line: bounded, without control letters.
pub(super) fn plain(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    let mut plain: String =
        cut.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
    if cut.len() < text.len() {
        plain.push('…');
    }
    plain
}

/// A time as people write it.
pub(super) fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
