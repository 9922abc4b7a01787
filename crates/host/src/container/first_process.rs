//! Which process of a container is its first, and when it began.

use super::hierarchy::{self, Hierarchy};
use crate::{
    Config,
    config::fits_any,
    file::{Buffer, read_once},
    parse,
    runtime::{LABELS_MAX, bounded, series_label},
};

/// Processes of a container that are looked at to find its first.
const PROCESSES_LOOKED_AT: usize = 16;
/// An environment longer than this is read to here.
const ENVIRONMENT_BYTES_MAX: usize = 256 << 10;

/// The first process of a cgroup and its start in clock ticks since boot: the one that the
/// runtime told, else the oldest of the first few that are listed.
pub(super) fn first_process(
    config: &Config,
    hierarchy: &Hierarchy,
    cgroup: &str,
    told: Option<u32>,
    buffer: &mut Buffer,
) -> Option<(u32, u64)> {
    let start = |pid: u32, buffer: &mut Buffer| {
        let path = config.proc_root.join(pid.to_string()).join("stat");
        parse::process_start_ticks(read_once(&path, buffer).ok()?)
    };
    if let Some(pid) = told
        && let Some(ticks) = start(pid, buffer)
    {
        return Some((pid, ticks));
    }
    let listed = hierarchy.trees().into_iter().find_map(|tree| {
        let path = hierarchy::below(tree, cgroup).join("cgroup.procs");
        let text = read_once(&path, buffer).ok()?;
        let pids = parse::lines(text).filter_map(parse::unsigned).filter_map(|n| u32::try_from(n).ok());
        let mut first = [0; PROCESSES_LOOKED_AT];
        let count = first.iter_mut().zip(pids).map(|(slot, pid)| *slot = pid).count();
        (count > 0).then_some((first, count))
    });
    let (pids, count) = listed?;
    pids[..count].iter().filter_map(|pid| Some((*pid, start(*pid, buffer)?))).min_by_key(|(_, ticks)| *ticks)
}

/// Variables of a process' environment that fit the patterns, under the names that their series have.
pub(super) fn environment(config: &Config, pid: u32, buffer: &mut Buffer) -> Vec<(String, String)> {
    if config.container_environment.is_empty() {
        return Vec::new();
    }
    let path = config.proc_root.join(pid.to_string()).join("environ");
    let text = read_once(&path, buffer).unwrap_or_default();
    variables(&text[..text.len().min(ENVIRONMENT_BYTES_MAX)], &config.container_environment)
}

fn variables(text: &[u8], patterns: &[String]) -> Vec<(String, String)> {
    let mut through: Vec<(String, String)> = text
        .split(|&b| b == 0)
        .filter_map(|variable| {
            String::from_utf8_lossy(variable).split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()))
        })
        .filter(|(name, _)| fits_any(patterns, name))
        .map(|(name, value)| (series_label("container_env_", &name.to_lowercase()), bounded(&value)))
        .collect();
    through.sort_unstable();
    through.dedup_by(|a, b| a.0 == b.0);
    through.truncate(LABELS_MAX);
    through
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_are_allowed_come_through() {
        let text = b"PATH=/bin\0APP_MODE=prod\0APP_KEY=a=b\0PASSWORD=x\0no variable\0=odd\0";
        let through = variables(text, &["APP_*".to_owned()]);
        let expected = [("container_env_app_key", "a=b"), ("container_env_app_mode", "prod")];
        assert_eq!(through, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(variables(text, &[]), []);
    }
}
