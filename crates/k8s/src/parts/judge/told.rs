//! What a judge tells.

use vedette_model::cluster::{ClusterCertificate, ClusterFigure, ClusterFigureKind, ClusterPart};
use vedette_sys::MonotonicTime;

use super::{INSTANCES_MAX, Judge, KUBELET};
use crate::parts::{lease::Renewals, track::Track};

impl Judge {
    /// All parts, by name and instance.
    pub fn parts(&self) -> Vec<ClusterPart> {
        let told = |((part, instance), track): (&(&'static str, Box<str>), &Track)| {
            let (state, since_unix_ms, seen) = track.state();
            ClusterPart {
                part,
                instance: instance.clone(),
                state,
                cause: seen.cause.map_or("", |cause| cause.word),
                evidence: seen.evidence.clone(),
                next_step: seen.cause.map_or("", |cause| cause.next_step),
                since_unix_ms,
            }
        };
        self.tracks.iter().map(told).collect()
    }

    /// All certificates between us and the parts.
    pub fn certificates(&self) -> Vec<ClusterCertificate> {
        self.certificates.told()
    }

    /// Whether something is told that was not when this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Instances that are not told, as there are too many.
    pub fn left_out(&self) -> u64 {
        self.left_out.len() as u64
    }

    /// What is measured.
    pub fn figures(&self, now: MonotonicTime) -> Vec<ClusterFigure> {
        let probes = self.probe_seconds.iter().map(|((part, instance), seconds)| ClusterFigure {
            kind: ClusterFigureKind::ProbeSeconds,
            part,
            instance: instance.clone(),
            value: *seconds,
        });
        let age = |part, instance: &str, renewals: &Renewals| ClusterFigure {
            kind: ClusterFigureKind::LeaseAgeSeconds,
            part,
            instance: instance.into(),
            value: renewals.age(now).as_secs_f64(),
        };
        let leaders = self.leaders.iter().map(|(part, renewals)| age(part, "", renewals));
        let nodes =
            self.nodes.iter().filter_map(|(name, known)| Some(age(KUBELET, name, known.renewals.as_ref()?)));
        probes.chain(leaders).chain(nodes.take(INSTANCES_MAX)).collect()
    }
}
