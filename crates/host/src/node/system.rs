//! The operating system: its name and version, security module, clock, and files of samples that
//! other programs leave.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use vedette_model::MetricKind;

use super::{Failure, background::Source};
use crate::{
    Config,
    file::{Buffer, names, read_number, read_once, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

const OS_LABELS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

/// `/etc/os-release`.
pub(super) struct OsRelease([PathBuf; 2]);

impl OsRelease {
    pub(super) fn new(config: &Config) -> Self {
        Self(["etc/os-release", "usr/lib/os-release"].map(|file| config.root.join(file)))
    }
}

impl Source for OsRelease {
    fn name(&self) -> &'static str {
        "os"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let file = self.0.iter().find(|file| file.exists()).unwrap_or(&self.0[0]);
        let text = read_once(file, buffer).map_err(Failure::at(file))?;
        let words: Vec<(String, String)> = parse::lines(text).filter_map(assignment).collect();
        let get = |key: &str| {
            words.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map_or("", |(_, value)| value.as_str())
        };
        sheet.put(Family::gauge("node_os_info", "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, pretty_name, variant, variant_id, version, version_codename, version_id."), &OS_LABELS.map(|label| (label, get(label))), 1.0);
        // The first two numbers, as far as they are numbers.
        let mut parts = get("version_id").split('.');
        let major = parts.next().unwrap_or_default();
        let version = parts.next().map_or_else(|| major.to_owned(), |minor| format!("{major}.{minor}"));
        if let Some(n) = parse::number(version.as_bytes()) {
            sheet.put(
                Family::gauge("node_os_version", "Metric containing the major.minor part of the OS version."),
                &["id", "id_like", "name"].map(|label| (label, get(label))),
                n,
            );
        }
        const SUPPORT_END: Family<'_> = Family::gauge(
            "node_os_support_end_timestamp_seconds",
            "Metric containing the end-of-life date timestamp of the OS.",
        );
        if let Some(seconds) = date_seconds(get("support_end")) {
            sheet.put(SUPPORT_END, &[], seconds);
        }
        Ok(())
    }
}

/// `KEY="value"`, quoted as a shell would have it.
fn assignment(line: &[u8]) -> Option<(String, String)> {
    let (key, value) = parse::split_once(parse::trim(line), b'=')?;
    if key.starts_with(b"#") {
        return None;
    }
    let value = String::from_utf8_lossy(value).into_owned();
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let plain = quoted('"').or_else(|| quoted('\'')).unwrap_or(&value).replace("\\\"", "\"");
    Some((String::from_utf8_lossy(key).into_owned(), plain))
}

/// Seconds since 1970 at the beginning of a day, `2026-11-21`.
fn date_seconds(text: &str) -> Option<f64> {
    let mut parts = text.split('-').map(|part| parse::unsigned(part.as_bytes()));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let sane = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sane || parts.next().is_some() {
        return None;
    }
    // Years begin with March here, so that the day that some have more is their last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    Some(parse::value(days.checked_sub(719_468)? * 86_400))
}

/// The security module SELinux: whether it is on and how strictly.
pub(super) struct SeLinux {
    file_system: PathBuf,
    settings: PathBuf,
}

impl SeLinux {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            file_system: config.sys_root.join("fs/selinux"),
            settings: config.root.join("etc/selinux/config"),
        }
    }
}

impl Source for SeLinux {
    fn name(&self) -> &'static str {
        "selinux"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let enabled = Family::gauge("node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false");
        let Some(current) = read_number(&self.file_system.join("enforce"), buffer) else {
            sheet.put(enabled, &[], 0.0);
            return Ok(());
        };
        sheet.put(enabled, &[], 1.0);
        let text = read_text(&self.settings).unwrap_or_default();
        let configured = match text.lines().find_map(|line| line.trim().strip_prefix("SELINUX=")) {
            Some("enforcing") => 1.0,
            Some("permissive") => 0.0,
            _ => -1.0,
        };
        let mode = Family::gauge("node_selinux_config_mode", "Configured SELinux enforcement mode");
        sheet.put(mode, &[], configured);
        let mode = Family::gauge("node_selinux_current_mode", "Current SELinux enforcement mode");
        sheet.put(mode, &[], current);
        Ok(())
    }
}

/// More bytes in one file of samples are refused.
const TEXT_FILE_BYTES_MAX: u64 = 8 << 20;

/// Files `*.prom` of a folder, in which other programs leave samples.
pub(super) struct TextFiles(Option<PathBuf>);

impl TextFiles {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.collectors.textfile_folder.clone())
    }
}

impl Source for TextFiles {
    fn name(&self) -> &'static str {
        "textfile"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let mut failed = Ok(());
        let listed = self.0.as_ref().map(|folder| (folder, names(folder)));
        if let Some((folder, listed)) = listed {
            for name in listed.map_err(Failure::at(folder)).unwrap_or_else(|e| {
                failed = Err(e);
                Vec::new()
            }) {
                let path = folder.join(&name);
                if name.ends_with(".prom")
                    && let Err(errno) = put_text_file(sheet, buffer, &path)
                {
                    failed = Err(Failure::at(path)(errno));
                }
            }
        }
        sheet.put(
            Family::gauge(
                "node_textfile_scrape_error",
                "1 if there was an error opening or reading a file, 0 otherwise",
            ),
            &[],
            f64::from(u8::from(failed.is_err())),
        );
        failed
    }
}

fn put_text_file(sheet: &mut Sheet, buffer: &mut Buffer, path: &Path) -> Result<(), Errno> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).map_err(|_| Errno::NOENT)?;
    if metadata.len() > TEXT_FILE_BYTES_MAX {
        return Err(Errno::FBIG);
    }
    let shown = path.to_string_lossy();
    let text = std::str::from_utf8(read_once(path, buffer)?).map_err(|_| Errno::ILSEQ)?;
    let default_help = format!("Metric read from {shown}");
    // A file that is wrong anywhere is left out as a whole.
    let samples = exposition(text).ok_or(Errno::INVAL)?;
    for Sample { name, labels, value, kind, help } in samples {
        let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let family = Family { name, kind, help: help.as_deref().unwrap_or(&default_help) };
        sheet.put(family, &labels, value);
    }
    let modified = parse::signed_value(metadata.mtime());
    sheet.put(
        Family::gauge("node_textfile_mtime_seconds", "Unixtime mtime of textfiles successfully read."),
        &[("file", &shown)],
        modified,
    );
    Ok(())
}

struct Sample<'a> {
    name: &'a str,
    labels: Vec<(String, String)>,
    value: f64,
    kind: MetricKind,
    help: Option<String>,
}

/// Samples of Prometheus' text format. `None` when a line is none, or has a time of its own, which
/// would be older with each pass.
fn exposition(text: &str) -> Option<Vec<Sample<'_>>> {
    let mut kinds: Vec<(&str, MetricKind)> = Vec::new();
    let mut helps: Vec<(&str, String)> = Vec::new();
    let mut out = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.trim_start().splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("TYPE"), Some(name), Some(kind)) => kinds.push((name, kind_of(kind.trim())?)),
                (Some("HELP"), Some(name), help) => {
                    helps.push((name, unescape(help.unwrap_or_default())));
                }
                _ => {}
            }
        } else if !line.is_empty() {
            let name_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)))?;
            let (name, rest) = line.split_at(name_end);
            let fit = name.starts_with(|c: char| c.is_ascii_alphabetic() || "_:".contains(c));
            let (labels, rest) = match rest.trim_start().strip_prefix('{') {
                Some(rest) => label_pairs(rest)?,
                None => (Vec::new(), rest),
            };
            let value = sample_value(rest.trim()).filter(|_| fit)?;
            let kind = kinds.iter().find(|(n, _)| *n == name).map_or(MetricKind::Unknown, |(_, kind)| *kind);
            let help = helps.iter().find(|(n, _)| *n == name).map(|(_, help)| help.clone());
            out.push(Sample { name, labels, value, kind, help });
        }
    }
    Some(out)
}

fn kind_of(word: &str) -> Option<MetricKind> {
    Some(match word {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "untyped" | "unknown" => MetricKind::Unknown,
        "histogram" => MetricKind::Histogram,
        "summary" => MetricKind::Summary,
        _ => return None,
    })
}

/// Labels up to the closing brace, and what follows it.
fn label_pairs(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start().trim_start_matches(',').trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, tail) = rest.split_once('=')?;
        let name = name.trim();
        let fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(fit) || name.starts_with("__") {
            return None;
        }
        let tail = tail.trim_start().strip_prefix('"')?;
        let mut escaped = false;
        let end = tail.find(|c| match c {
            '"' if !escaped => true,
            c => {
                escaped = c == '\\' && !escaped;
                false
            }
        })?;
        labels.push((name.to_owned(), unescape(&tail[..end])));
        rest = &tail[end + 1..];
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(c)) => out.push(c),
            (c, _) => out.push(c),
        }
    }
    out
}

fn sample_value(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|n: &f64| n.is_finite()),
    }
}

/// The discipline of the clock, as NTP daemons set it.
#[derive(Default)]
pub(super) struct ClockDiscipline {
    overflows: u32,
}

/// A reading beyond this is an artefact of virtual machines' clocks.
const OFFSET_SECONDS_MAX: f64 = 4.0;
/// Frequencies come as parts of a million, times 65536.
const PPM: f64 = 65_536.0 * 1e6;

const fn timex(name: &'static str, help: &'static str) -> Family<'static> {
    Family::gauge(name, help)
}

impl Source for ClockDiscipline {
    fn name(&self) -> &'static str {
        "timex"
    }

    fn read(&mut self, sheet: &mut Sheet, _: &mut Buffer) -> Result<(), Failure> {
        let errno = |e: std::io::Error| Errno::from_io_error(&e).unwrap_or(Errno::IO);
        let clock = vedette_sys::clock_discipline().map_err(errno).map_err(Failure::at("adjtimex"))?;
        let units = if clock.counts_nanoseconds { 1e9 } else { 1e6 };
        let n = parse::signed_value;
        let offset = n(clock.offset) / units;
        self.overflows += u32::from(offset.abs() > OFFSET_SECONDS_MAX);
        for (family, value) in [
            (
                timex(
                    "node_timex_sync_status",
                    "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
                ),
                f64::from(u8::from(clock.is_synchronised)),
            ),
            (
                timex(
                    "node_timex_offset_seconds",
                    "Time offset in between local system and reference clock.",
                ),
                offset,
            ),
            (
                timex("node_timex_frequency_adjustment_ratio", "Local clock frequency adjustment."),
                1.0 + n(clock.frequency) / PPM,
            ),
            (timex("node_timex_maxerror_seconds", "Maximum error in seconds."), n(clock.error_max) / 1e6),
            (
                timex("node_timex_estimated_error_seconds", "Estimated error in seconds."),
                n(clock.error_estimated) / 1e6,
            ),
            (timex("node_timex_status", "Value of the status array bits."), n(clock.status.into())),
            (timex("node_timex_loop_time_constant", "Phase-locked loop time constant."), n(clock.constant)),
            (timex("node_timex_tick_seconds", "Seconds between clock ticks."), n(clock.tick) / 1e6),
            (
                timex("node_timex_pps_frequency_hertz", "Pulse per second frequency."),
                n(clock.pps_frequency) / PPM,
            ),
            (timex("node_timex_pps_jitter_seconds", "Pulse per second jitter."), n(clock.pps_jitter) / units),
            (
                timex("node_timex_pps_shift_seconds", "Pulse per second interval duration."),
                n(clock.pps_shift.into()),
            ),
            (
                timex(
                    "node_timex_pps_stability_hertz",
                    "Pulse per second stability, average of recent frequency changes.",
                ),
                n(clock.pps_stability) / PPM,
            ),
            (
                Family::counter(
                    "node_timex_pps_jitter_total",
                    "Pulse per second count of jitter limit exceeded events.",
                ),
                n(clock.pps_jitter_exceeded),
            ),
            (
                Family::counter(
                    "node_timex_pps_calibration_total",
                    "Pulse per second count of calibration intervals.",
                ),
                n(clock.pps_calibrations),
            ),
            (
                Family::counter(
                    "node_timex_pps_error_total",
                    "Pulse per second count of calibration errors.",
                ),
                n(clock.pps_errors),
            ),
            (
                Family::counter(
                    "node_timex_pps_stability_exceeded_total",
                    "Pulse per second count of stability limit exceeded events.",
                ),
                n(clock.pps_stability_exceeded),
            ),
            (
                timex("node_timex_tai_offset_seconds", "International Atomic Time (TAI) offset."),
                n(clock.tai_offset.into()),
            ),
            (
                Family::counter(
                    "node_timex_offset_overflow_total",
                    "Readings of the offset beyond four seconds, which virtual machines' clocks give wrongly.",
                ),
                self.overflows.into(),
            ),
        ] {
            sheet.put(family, &[], value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_that_other_programs_leave_are_read() {
        let text = "# HELP a_total A \\\\ b\\nc.\n# TYPE a_total counter\na_total{x=\"1, \\\"}\",y=\"\"} 3\n\
            \n# a comment\nb -Inf\nc { } +1e3\n";
        let samples = exposition(text).unwrap();
        let told: Vec<_> = samples.iter().map(|s| (s.name, s.labels.clone(), s.value, s.kind)).collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            told,
            [
                ("a_total", vec![pair("x", "1, \"}"), pair("y", "")], 3.0, MetricKind::Counter),
                ("b", vec![], f64::NEG_INFINITY, MetricKind::Unknown),
                ("c", vec![], 1000.0, MetricKind::Unknown),
            ]
        );
        assert_eq!(samples[0].help.as_deref(), Some("A \\ b\nc."));
        for wrong in ["a", "a x", "a 1 1700000000000", "a{x=1} 1", "a{x=\"1} 1", "1a 1", "a{__x=\"1\"} 1"] {
            assert!(exposition(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn days_are_counted_as_calendars_do() {
        assert_eq!(date_seconds("1970-01-01"), Some(0.0));
        assert_eq!(date_seconds("2000-02-29"), Some(951_782_400.0));
        assert_eq!(date_seconds("2026-11-21"), Some(1_795_219_200.0));
        for wrong in ["", "2026", "2026-13-01", "2026-01-01-01", "x-01-01"] {
            assert_eq!(date_seconds(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(text in "([a-z]{0,3}[ {}=\",\\\\#\n0-9]{0,3}){0,20}") {
            let _ = exposition(&text);
            let _ = (date_seconds(&text), unescape(&text), assignment(text.as_bytes()));
        }
    }
}
