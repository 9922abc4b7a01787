//! What a cgroup's path tells of its pod: kubelets put the pod's uid into it, runtimes the container's id.

/// What a part of a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// A pod by its uid, as it stands in the path.
    Pod(&'a str),
    /// A container by its id.
    Container(&'a str),
}

/// All that a path names, the outermost first: the first that is known is meant. Whoever is in a container may make
/// cgroups below its own and call them as others are called; and of a cluster in a pod of another each knows its own.
pub(crate) fn names(path: &str) -> impl Iterator<Item = Name<'_>> {
    path.split('/').filter_map(|part| {
        // `kubepods-burstable-pod<uid>.slice` of systemd, `pod<uid>` of the other driver.
        let name = part.strip_suffix(".slice").or_else(|| part.strip_suffix(".scope")).unwrap_or(part);
        let uid = name.rsplit_once("-pod").map_or_else(|| name.strip_prefix("pod"), |(_, uid)| Some(uid));
        if let Some(uid) = uid.filter(|uid| is_uid(uid)) {
            return Some(Name::Pod(uid));
        }
        // `cri-containerd-<id>.scope`, `crio-<id>.scope`, `<id>`.
        let id = name.rsplit(['-', ':']).next().unwrap_or(name);
        (id.len() == 64 && id.bytes().all(is_digit)).then_some(Name::Container(id))
    })
}

/// 32 digits, alone or in the five groups of a uid. Others, as in `podman`, are none.
fn is_uid(text: &str) -> bool {
    match text.len() {
        32 => text.bytes().all(is_digit),
        36 => text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => matches!(byte, b'-' | b'_'),
            _ => is_digit(byte),
        }),
        _ => false,
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::{Name::*, *};

    #[test]
    fn paths_of_both_drivers_tell_pod_and_container() {
        let id = "5b1f".repeat(16);
        let (uid, flat) = ("0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa", "0b1c2d3e_4f50_6172_8394_a5b6c7d8e9fa");
        let systemd = format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{flat}.slice/cri-containerd-{id}.scope"
        );
        let named = |path: &str, expected: &[Name<'_>]| {
            assert_eq!(names(path).collect::<Vec<_>>(), expected, "{path}");
        };
        named(&systemd, &[Pod(flat), Container(&id)]);
        named(&format!("/kubepods/besteffort/pod{uid}/{id}"), &[Pod(uid), Container(&id)]);
        named(&format!("/kubepods/pod{uid}"), &[Pod(uid)]);
        named(&format!("/kubepods/pod{uid}/{id}/init"), &[Pod(uid), Container(&id)]);
        let nested = format!("/kubepods/pod{uid}/{id}/kubelet/kubepods/pod{flat}");
        named(&nested, &[Pod(uid), Container(&id), Pod(flat)]);
        named(&format!("/system.slice/docker-{id}.scope"), &[Container(&id)]);
        named(&format!("/kubepods/pod{}", "9".repeat(32)), &[Pod(&"9".repeat(32))]);
        for none in ["/", "/user.slice/podman-pause-1234.scope"] {
            named(none, &[]);
        }
        for no_uid in ["z".repeat(32), "9".repeat(33), uid.replace('-', "+"), format!("{}-", &uid[..35])] {
            named(&format!("/kubepods/pod{no_uid}"), &[]);
        }
    }
}
