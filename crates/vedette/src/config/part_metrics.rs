//! Parts of a cluster whose metrics are scraped, as they are written.

use std::{collections::HashSet, path::Path};

use vedette_config::{ClientTls, SecretSource};

use super::{
    Error, PartMetrics,
    kubernetes::{STATE_INTERVAL, identity},
    units::duration,
};
use crate::part_metrics::{PARTS, Part, PartScrape, Place};

/// Stands for all parts.
const ALL: &str = "all";

/// Checks all entries of a cluster. `has_etcd`: whether the members of its etcd are named.
pub(super) fn all(
    place: &str,
    folder: &Path,
    written: Vec<PartMetrics>,
    has_etcd: bool,
) -> Result<Vec<PartScrape>, Error> {
    let mut known = HashSet::new();
    let mut scrapes = Vec::new();
    for (at, entry) in written.into_iter().enumerate() {
        let place = format!("{place}[{at}]");
        let refuse = |key: &str, reason: String| Error::Value { place: format!("{place}.{key}"), reason };
        let parts = chosen(&entry.parts, has_etcd).map_err(|reason| refuse("parts", reason))?;
        if let Some(twice) = parts.iter().find(|part| !known.insert(part.name)) {
            return Err(refuse("parts", format!("{:?} is named twice; name each part once", twice.name)));
        }
        let interval = duration(&format!("{place}.interval"), entry.interval.as_deref(), "30s")?;
        if !(STATE_INTERVAL.0..=STATE_INTERVAL.1).contains(&interval) {
            let reason = "use 1s to 2m: queries take a series without a sample for five minutes as gone";
            return Err(refuse("interval", reason.into()));
        }
        if entry.insecure_skip_verify && entry.ca_file.is_some() {
            return Err(refuse("insecure_skip_verify", "contradicts ca_file; remove one".into()));
        }
        let tls = ClientTls {
            ca: entry.ca_file.map(|file| SecretSource::File(folder.join(file))),
            identity: identity(&place, folder, entry.cert_file, entry.key_file)?,
            server_name: entry.server_name.unwrap_or_default(),
            insecure_skip_verify: entry.insecure_skip_verify,
            ..ClientTls::default()
        };
        if tls != ClientTls::default() && !parts.iter().any(|part| part.place.takes_certificates()) {
            let takers: Vec<&str> =
                PARTS.iter().filter(|part| part.place.takes_certificates()).map(|part| part.name).collect();
            let reason = format!(
                "none of these takes ca_file, server_name, insecure_skip_verify, cert_file and key_file, which are \
                 for {}; remove them",
                takers.join(", ")
            );
            return Err(refuse("parts", reason));
        }
        scrapes.extend(parts.into_iter().map(|part| PartScrape { part, interval, tls: tls.clone() }));
    }
    Ok(scrapes)
}

fn chosen(names: &[String], has_etcd: bool) -> Result<Vec<&'static Part>, String> {
    let is_there = |part: &&Part| has_etcd || part.place != Place::Members;
    match names {
        [] => Err("name at least one, or `all`".to_owned()),
        [all] if all == ALL => Ok(PARTS.iter().filter(is_there).collect()),
        names => names.iter().map(|name| one(name, has_etcd)).collect(),
    }
}

fn one(name: &str, has_etcd: bool) -> Result<&'static Part, String> {
    let part = PARTS.iter().find(|part| part.name == name).ok_or_else(|| {
        let all: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        format!("{name:?} is no part; name some of {}, or `all` alone", all.join(", "))
    })?;
    if part.place == Place::Members && !has_etcd {
        return Err(
            "etcd is scraped where its members are; name them in the cluster's etcd.endpoints".to_owned()
        );
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::super::{Overrides, parse, resolve};
    use super::*;

    fn read(text: &str) -> Result<Vec<PartScrape>, String> {
        let text = format!("kubernetes: [{{name: c, {text}}}]\n");
        let file = parse("v.yml", &text).map_err(|error| error.to_string())?;
        let settings = resolve("v.yml", Path::new("/etc/vedette"), file, Overrides::default());
        settings.map(|mut s| s.kubernetes.remove(0).part_metrics).map_err(|error| error.to_string())
    }

    fn names(scrapes: &[PartScrape]) -> Vec<&str> {
        scrapes.iter().map(|scrape| scrape.part.name).collect()
    }

    #[test]
    fn parts_are_scraped_as_they_are_written() {
        assert_eq!(read(""), Ok(Vec::new()), "nothing is scraped unless somebody asks for it");
        let found = read(
            "part_metrics: [{parts: [apiserver, kubelet], ca_file: ca.crt, server_name: n, interval: 15s},
               {parts: [scheduler], insecure_skip_verify: true, cert_file: c.crt, key_file: c.key}]",
        )
        .expect("valid");
        assert_eq!(names(&found), ["apiserver", "kubelet", "scheduler"]);
        assert_eq!((found[0].interval.as_secs(), found[2].interval.as_secs()), (15, 30));
        let file = |name: &str| SecretSource::File(Path::new("/etc/vedette").join(name));
        assert_eq!((&found[1].tls.ca, &*found[1].tls.server_name), (&Some(file("ca.crt")), "n"));
        assert_eq!(found[2].tls.identity, Some((file("c.crt"), file("c.key"))));
        assert!(found[2].tls.insecure_skip_verify && !found[1].tls.insecure_skip_verify);
        let all =
            ["apiserver", "scheduler", "controller-manager", "kubelet", "cadvisor", "coredns", "kube-proxy"];
        assert_eq!(names(&read("part_metrics: [{parts: [all]}]").expect("valid")), all);
        let members = "etcd: {endpoints: ['https://h:2379']}, part_metrics";
        assert_eq!(names(&read(&format!("{members}: [{{parts: [all]}}]")).expect("valid")).len(), 8);
        assert_eq!(names(&read(&format!("{members}: [{{parts: [etcd]}}]")).expect("valid")), ["etcd"]);
    }

    #[test]
    fn what_cannot_be_scraped_is_refused_by_its_place() {
        for (entries, place, words) in [
            ("{parts: [apiserver, kublet]}", "kubernetes[0].part_metrics[0].parts", "kubelet, cadvisor"),
            ("{parts: [all, coredns]}", "part_metrics[0].parts", "alone"),
            ("{interval: 5s}", "part_metrics[0].parts", "at least one"),
            ("{parts: [etcd]}", "part_metrics[0].parts", "etcd.endpoints"),
            ("{parts: [coredns]}, {parts: [kubelet, coredns]}", "part_metrics[1].parts", "twice"),
            ("{parts: [all]}, {parts: [kubelet]}", "part_metrics[1].parts", "twice"),
            ("{parts: [coredns], interval: 3m}", "part_metrics[0].interval", "1s to 2m"),
            (
                "{parts: [coredns], ca_file: a}",
                "part_metrics[0].parts",
                "scheduler, controller-manager, kubelet",
            ),
            (
                "{parts: [kubelet], ca_file: a, insecure_skip_verify: true}",
                "part_metrics[0].insecure_skip_verify",
                "ca_file",
            ),
            ("{parts: [kubelet], cert_file: a}", "part_metrics[0].key_file", "key"),
            ("{parts: [kubelet], key_file: a}", "part_metrics[0].cert_file", "certificate"),
            ("{parts: [kubelet], use_cluster_token: true}", "use_cluster_token", "unknown"),
        ] {
            let error = read(&format!("part_metrics: [{entries}]")).expect_err(entries);
            assert!(error.contains(place) && error.contains(words), "{entries}: {error}");
        }
    }
}
