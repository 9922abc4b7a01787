//! What a cgroup's path tells of its pod: kubelets put the pod's uid into it, runtimes the container's id.

/// The uid of the pod, as it stands in the path, and the container's id, where there are such.
pub(crate) fn parts(path: &str) -> (Option<&str>, Option<&str>) {
    let mut found = (None, None);
    for part in path.split('/') {
        // `kubepods-burstable-pod<uid>.slice` of systemd, `pod<uid>` of the other driver.
        let name = part.strip_suffix(".slice").or_else(|| part.strip_suffix(".scope")).unwrap_or(part);
        let uid = name.rsplit_once("-pod").map_or_else(|| name.strip_prefix("pod"), |(_, uid)| Some(uid));
        if let Some(uid) = uid.filter(|uid| uid.len() >= UID_MIN) {
            found = (Some(uid), None);
        } else if found.1.is_none() {
            // `cri-containerd-<id>.scope`, `crio-<id>.scope`, `<id>`.
            let id = name.rsplit(['-', ':']).next().unwrap_or(name);
            found.1 = Some(id).filter(|id| id.len() == 64 && id.bytes().all(is_digit));
        }
    }
    found
}

/// Anything shorter, as in `podman`, is no uid.
const UID_MIN: usize = 32;

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_both_drivers_tell_pod_and_container() {
        let id = "5b1f".repeat(16);
        let (uid, flat) = ("0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa", "0b1c2d3e_4f50_6172_8394_a5b6c7d8e9fa");
        let systemd = format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{flat}.slice/cri-containerd-{id}.scope"
        );
        assert_eq!(parts(&systemd), (Some(flat), Some(&*id)));
        assert_eq!(parts(&format!("/kubepods/besteffort/pod{uid}/{id}")), (Some(uid), Some(&*id)));
        assert_eq!(parts(&format!("/kubepods/pod{uid}")), (Some(uid), None));
        assert_eq!(parts(&format!("/kubepods/pod{uid}/{id}/init")), (Some(uid), Some(&*id)));
        // A nested cluster: the innermost pod is meant.
        let nested = format!("/kubepods/pod{uid}/{id}/kubelet/kubepods/pod{flat}");
        assert_eq!(parts(&nested), (Some(flat), None));
        assert_eq!(parts(&format!("/system.slice/docker-{id}.scope")), (None, Some(&*id)));
        assert_eq!(parts("/user.slice/podman-pause-1234.scope"), (None, None));
        assert_eq!(parts("/"), (None, None));
        assert_eq!(parts(&format!("/kubepods/pod{}", "9".repeat(32))), (Some(&*"9".repeat(32)), None));
    }
}
