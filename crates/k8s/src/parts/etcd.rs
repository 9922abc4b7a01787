//! What a member of etcd says of itself.

use serde::Deserialize;

use super::{
    causes::{ETCD_FILLING, ETCD_NO_LEADER, ETCD_NOSPACE, ETCD_SLOW, ETCD_UNHEALTHY},
    probe::{Reply, distrusted, shown},
    track::Seen,
};
use crate::{objects::null_as_default, parts::causes::ETCD_SILENT};

/// From this share of what it may have a database is told to fill.
const FILLING: f64 = 0.8;
/// A database so full takes no writes.
const FULL: f64 = 0.99;
/// Nor does one with less room than this, in bytes: the largest write by default, `--max-request-bytes` of etcd.
const WRITE_BYTES_MAX: f64 = 1.5 * 1024.0 * 1024.0;
/// A disk that needs longer than this on average, in seconds, loses leaders.
const FSYNC_SECONDS_MAX: f64 = 0.1;

/// The figures of a member that are judged; `None` where it does not tell them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MemberFigures {
    /// Bytes of the database.
    pub database_bytes: Option<f64>,
    /// Bytes that it may have.
    pub quota_bytes: Option<f64>,
    /// Whether a leader is known: 1, else 0.
    pub has_leader: Option<f64>,
    /// Seconds spent on making writes safe, and how often that was done, since the start.
    pub fsync_seconds: Option<f64>,
    /// See above.
    pub fsyncs: Option<f64>,
}

impl MemberFigures {
    /// Reads `/metrics`; lines of other families are passed over.
    pub fn read(exposition: &str) -> Self {
        let mut figures = Self::default();
        for line in exposition.lines() {
            let Some((name, value)) = line.trim().split_once(' ') else { continue };
            let place = match name {
                "etcd_mvcc_db_total_size_in_bytes" => &mut figures.database_bytes,
                "etcd_server_quota_backend_bytes" => &mut figures.quota_bytes,
                "etcd_server_has_leader" => &mut figures.has_leader,
                "etcd_disk_wal_fsync_duration_seconds_sum" => &mut figures.fsync_seconds,
                "etcd_disk_wal_fsync_duration_seconds_count" => &mut figures.fsyncs,
                _ => continue,
            };
            *place = value.trim().parse().ok().filter(|value: &f64| value.is_finite());
        }
        figures
    }

    /// How full the database is, from 0 to 1.
    pub fn fullness(&self) -> Option<f64> {
        let quota = self.quota_bytes.filter(|quota| *quota > 0.0)?;
        Some(self.database_bytes? / quota)
    }

    /// Whether there may be no room for a write.
    fn is_full(&self) -> bool {
        let has_room = || Some(self.quota_bytes? - self.database_bytes? >= WRITE_BYTES_MAX);
        self.fullness().is_some_and(|fullness| fullness >= FULL) || has_room() == Some(false)
    }

    /// Seconds that one write needed to be safe, on average since `before`.
    fn fsync_since(&self, before: &Self) -> Option<f64> {
        let count = self.fsyncs? - before.fsyncs?;
        (count > 0.0).then_some((self.fsync_seconds? - before.fsync_seconds?) / count)
    }
}

#[derive(Deserialize)]
struct HealthAnswer {
    health: serde_json::Value,
    #[serde(default, deserialize_with = "null_as_default")]
    reason: String,
}

/// What the answer to `/health` and the figures say of a member.
pub fn seen(health: &Reply, figures: Option<&MemberFigures>, before: Option<&MemberFigures>) -> Seen {
    let (code, body) = match health {
        Reply::Answer(code, body) => (*code, body),
        Reply::Distrusted(trouble, text) => return distrusted(*trouble, text),
        Reply::Silence(text) | Reply::Unasked(text) => return Seen::wrong(ETCD_SILENT, shown(text)),
    };
    let fullness = figures.and_then(MemberFigures::fullness);
    // In steps, as the text stands in a label; how full it is exactly is a figure.
    let filled = |least: f64| format!("its database has {:.0} % of its quota or more", least * 100.0);
    if figures.is_some_and(|figures| figures.has_leader == Some(0.0)) {
        return Seen::wrong(ETCD_NO_LEADER, "etcd_server_has_leader is 0");
    }
    let answer = serde_json::from_str::<HealthAnswer>(body);
    let is_well = answer.as_ref().is_ok_and(|answer| answer.health == "true" || answer.health == true);
    if !is_well {
        let reason = answer.map(|answer| answer.reason).unwrap_or_default();
        let is_full = reason.contains("NOSPACE") || figures.is_some_and(MemberFigures::is_full);
        let cause = if is_full { ETCD_NOSPACE } else { ETCD_UNHEALTHY };
        let step =
            [FULL, FILLING].into_iter().find(|least| fullness.is_some_and(|fullness| fullness >= *least));
        let filled = step.map_or_else(String::new, |least| format!("; {}", filled(least)));
        return Seen::wrong(cause, shown(&format!("/health answers {code}: {}{filled}", body.trim())));
    }
    if fullness.is_some_and(|fullness| fullness >= FILLING) {
        return Seen::wrong(ETCD_FILLING, filled(FILLING));
    }
    match figures.zip(before).and_then(|(figures, before)| figures.fsync_since(before)) {
        Some(seconds) if seconds > FSYNC_SECONDS_MAX => {
            let most = FSYNC_SECONDS_MAX * 1000.0;
            Seen::wrong(ETCD_SLOW, format!("a write needs more than {most:.0} ms to be safe on disk"))
        }
        _ => Seen::good(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn word(seen: &Seen) -> &'static str {
        seen.cause.map_or("", |cause| cause.word)
    }

    #[test]
    fn what_real_members_said_is_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/expositions");
        if !folder.is_dir() {
            println!("SKIPPED: there are no recordings at {}", folder.display());
            return;
        }
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
        // The file has the body, and the code of HTTP below it.
        let recorded = read("etcd-3.4-health-nospace.txt");
        let (body, code) = recorded.split_once("HTTP ").expect("a code");
        let health = Reply::Answer(code.trim().parse().expect("a code"), body.to_owned());
        assert_eq!(word(&seen(&health, None, None)), "unhealthy");
        let figures = MemberFigures::read(&read("etcd-3.4-nospace-metrics.txt"));
        let told = seen(&health, Some(&figures), None);
        assert_eq!(word(&told), "no_space", "{figures:?}");
        assert!(
            told.evidence.contains("503") && told.evidence.contains("% of its quota"),
            "{}",
            told.evidence
        );
        for name in ["etcd-3.4.23.prom", "etcd-3.6.13.prom"] {
            let figures = MemberFigures::read(&read(name));
            let MemberFigures { database_bytes, quota_bytes, has_leader, fsync_seconds, fsyncs } = figures;
            assert!(database_bytes.is_some_and(|bytes| bytes > 1e4), "{name}: {figures:?}");
            assert!(quota_bytes.is_some_and(|bytes| bytes > 1e9) && has_leader == Some(1.0), "{figures:?}");
            assert!(fsync_seconds.is_some() && fsyncs.is_some_and(|count| count > 0.0), "{figures:?}");
            let well = Reply::Answer(200, r#"{"health":"true","reason":""}"#.to_owned());
            assert_eq!(seen(&well, Some(&figures), None), Seen::good());
        }
    }

    #[test]
    fn what_goes_wrong_is_told_apart() {
        let well = Reply::Answer(200, r#"{"health":"true"}"#.to_owned());
        let figures = |used: f64, leader: f64| MemberFigures {
            database_bytes: Some(used),
            quota_bytes: Some(1000.0),
            has_leader: Some(leader),
            fsync_seconds: Some(10.0),
            fsyncs: Some(100.0),
        };
        assert_eq!(word(&seen(&well, Some(&figures(799.0, 1.0)), None)), "");
        assert_eq!(word(&seen(&well, Some(&figures(800.0, 1.0)), None)), "filling");
        assert_eq!(word(&seen(&well, Some(&figures(1.0, 0.0)), None)), "no_leader");
        let later = |seconds| MemberFigures {
            fsync_seconds: Some(seconds),
            fsyncs: Some(110.0),
            ..figures(1.0, 1.0)
        };
        assert_eq!(word(&seen(&well, Some(&later(10.9)), Some(&figures(1.0, 1.0)))), "");
        let slow = seen(&well, Some(&later(11.1)), Some(&figures(1.0, 1.0)));
        assert_eq!(word(&slow), "slow_disk");
        // The texts stand in labels: another number in them would be another series at every look.
        assert_eq!(seen(&well, Some(&later(12.5)), Some(&figures(1.0, 1.0))), slow);
        let ill = Reply::Answer(503, r#"{"health":"false"}"#.into());
        for (one, other) in [(810.0, 930.0), (10.0, 500.0), (991.0, 1000.0)] {
            for health in [&well, &ill] {
                let told = |used| seen(health, Some(&figures(used, 1.0)), None);
                assert_eq!(told(one), told(other));
            }
        }
        // It refuses writes before the last byte: as soon as one of them has no room.
        let of_16_mib = |mib: f64| {
            let (database_bytes, quota_bytes) = (Some(mib * 1_048_576.0), Some(16.0 * 1_048_576.0));
            MemberFigures { database_bytes, quota_bytes, ..figures(0.0, 1.0) }
        };
        assert_eq!(word(&seen(&ill, Some(&of_16_mib(14.0)), None)), "unhealthy");
        assert_eq!(word(&seen(&ill, Some(&of_16_mib(15.0)), None)), "no_space");
        assert_eq!(word(&seen(&well, Some(&of_16_mib(15.0)), None)), "filling");
        let alarm = r#"{"health":"false","reason":"ALARM NOSPACE"}"#;
        assert_eq!(word(&seen(&Reply::Answer(503, alarm.into()), None, None)), "no_space");
        assert_eq!(word(&seen(&Reply::Answer(200, "<html>".into()), None, None)), "unhealthy");
        assert_eq!(word(&seen(&Reply::Silence("refused".into()), None, None)), "no_answer");
    }
}
