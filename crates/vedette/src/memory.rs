//! How much memory this process may use: what the machine has, or what its control groups allow.

use std::{fs, path::Path};

/// Memory that the process may use, in bytes; 0 when nothing tells.
pub fn usable_bytes() -> u64 {
    let all = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = limits(Path::new("/sys/fs/cgroup"), &groups).min();
    all.into_iter().chain(limit).min().unwrap_or(0)
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limits of the groups of the process and of those above them, as far as they are seen here:
/// inside a container its own group is often the root.
fn limits(root: &Path, groups: &str) -> impl Iterator<Item = u64> {
    let places = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (folder, file) = match controllers {
            "" => ("", "memory.max"),
            _ if controllers.split(',').any(|c| c == "memory") => ("memory", "memory.limit_in_bytes"),
            _ => return None,
        };
        Some((root.join(folder), path.trim_start_matches('/').to_owned(), file))
    });
    places.flat_map(|(base, path, file)| {
        let of = |group: &Path| fs::read_to_string(base.join(group).join(file)).ok()?.trim().parse().ok();
        Path::new(&path).ancestors().filter_map(of).collect::<Vec<u64>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_machine_and_groups_counts() {
        assert_eq!(mem_total("MemFree: 1 kB\nMemTotal:       24607832 kB\n"), Some(24_607_832 * 1024));
        assert_eq!(mem_total("MemTotal: lots\n"), None);
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        file("a/b/memory.max", "max\n");
        file("a/memory.max", "1000\n");
        file("memory/c/memory.limit_in_bytes", "500\n");
        let found = |groups: &str| limits(root.path(), groups).collect::<Vec<_>>();
        assert_eq!(found("0::/a/b\n"), [1000]);
        assert_eq!(found("4:cpu,memory:/c/d\n3:pids:/c\n"), [500]);
        assert_eq!(found("0::/elsewhere\nno line\n"), Vec::<u64>::new());
        assert!(usable_bytes() > 1 << 20);
    }
}
