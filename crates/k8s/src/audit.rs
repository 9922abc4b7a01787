//! Audit records of an API server: who asked for what. Of all that is asked only changes of what runs are kept,
//! which is pods and what makes them; the others are counted.
//!
//! The format is `audit.k8s.io`'s `Event`, and `EventList` as a webhook is sent it (Kubernetes' reference, "Auditing").
//! Records of old servers, and those whose authors shortened them, lack fields: what is missing is an empty text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use vedette_model::ApiRequest;

use crate::objects::null_as_default;

/// A record that is longer is refused. An API server that is told to truncate does so at 100 KiB by default; one that
/// is not writes objects whole, which are smaller than what its store takes for one, some of them twice.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// Texts of a record that are longer are cut; who asks chooses some of them.
const TEXT_BYTES_MAX: usize = 1024;

/// What runs: the kind, the group, and the word in paths.
const RUNS: [(&str, &str, &str); 8] = [
    ("Pod", "", "pods"),
    ("ReplicationController", "", "replicationcontrollers"),
    ("Deployment", "apps", "deployments"),
    ("ReplicaSet", "apps", "replicasets"),
    ("StatefulSet", "apps", "statefulsets"),
    ("DaemonSet", "apps", "daemonsets"),
    ("Job", "batch", "jobs"),
    ("CronJob", "batch", "cronjobs"),
];
/// What changes an object.
const CHANGES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// What some records told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Changes of what runs, each with its time in nanoseconds since the Unix epoch, if that was told.
    pub changes: Vec<(ApiRequest, Option<i64>)>,
    /// Records of something else.
    pub others: u64,
    /// Records that could not be read.
    pub unreadable: u64,
}

/// An object, and a time at which somebody changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its kind, as `Deployment`.
    pub kind: String,
    /// Its group.
    pub group: &'static str,
    /// The word in paths, as `deployments`.
    pub resource: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; empty where it is not known.
    pub uid: String,
    /// When, in seconds since 1970, cut to whole ones by the API server.
    pub at: i64,
    /// Whether it was made then, and not only changed.
    pub is_creation: bool,
}

/// Finds records.
pub trait AuditRecords: Send + Sync {
    /// Who did it, if that is known by now.
    fn find(&self, question: &Question) -> Option<ApiRequest>;
}

impl Question {
    /// About an object of that kind, if records of such objects are kept.
    pub fn new(
        kind: &str,
        namespace: &str,
        name: &str,
        uid: &str,
        at: i64,
        is_creation: bool,
    ) -> Option<Self> {
        let (_, group, resource) = RUNS.into_iter().find(|(known, ..)| *known == kind)?;
        let (kind, namespace, name, uid) = (kind.into(), namespace.into(), name.into(), uid.into());
        Some(Self { kind, group, resource, namespace, name, uid, at, is_creation })
    }

    /// Whether a request was this change. Its time must have been looked at.
    pub fn is_answered_by(&self, asked: &ApiRequest) -> bool {
        let is_object = (self.group, self.resource) == (asked.group.as_str(), asked.resource.as_str())
            && (&self.namespace, &self.name) == (&asked.namespace, &asked.name)
            && (self.uid.is_empty() || asked.uid.is_empty() || self.uid == asked.uid);
        // What an apply or an update makes is answered by 201, too.
        let is_creation = asked.code == 201 || asked.verb == "create";
        let is_change = matches!(&*asked.verb, "create" | "update" | "patch");
        is_object && is_change && (is_creation || !self.is_creation)
    }
}

/// Reads what a webhook is sent: a list of records, or one.
///
/// # Errors
///
/// Why the whole is neither.
pub fn list(cluster: &str, body: &[u8]) -> Result<Heard, String> {
    let list: List<'_> =
        serde_json::from_slice(body).map_err(|error| format!("not JSON as expected: {error}"))?;
    let mut heard = Heard::default();
    match (&*list.kind, list.items) {
        ("EventList", items) => {
            for item in items.unwrap_or_default() {
                heard.take(cluster, item.get().as_bytes());
            }
        }
        // Only the names of the two kinds are the same as those of a cluster's events.
        ("Event", None) => heard.take(cluster, body),
        (kind, _) => {
            let kind = cut(kind.into());
            return Err(format!("{kind:?} is neither an EventList nor an Event of audit.k8s.io"));
        }
    }
    Ok(heard)
}

impl Heard {
    /// Takes a line of a log, or an item of a list.
    pub fn take(&mut self, cluster: &str, record: &[u8]) {
        match serde_json::from_slice::<Record<'_>>(record) {
            Ok(record) => match record.change(cluster) {
                Some(change) => self.changes.push(change),
                None => self.others += 1,
            },
            Err(_) => self.unreadable += 1,
        }
    }
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(rename = "auditID", default, deserialize_with = "null_as_default")]
    audit_id: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    stage: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    verb: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    user: User<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    impersonated_user: User<'a>,
    #[serde(rename = "sourceIPs", borrow, default, deserialize_with = "null_as_default")]
    source_ips: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    user_agent: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    object_ref: ObjectRef<'a>,
    #[serde(default, deserialize_with = "null_as_default")]
    response_status: Status,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    response_object: Answer<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    stage_timestamp: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
struct User<'a> {
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    username: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    extra: Extra<'a>,
}

/// What the server adds to accounts of pods.
#[derive(Default, Deserialize)]
struct Extra<'a> {
    #[serde(
        rename = "authentication.kubernetes.io/pod-name",
        borrow,
        default,
        deserialize_with = "null_as_default"
    )]
    pod: Vec<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef<'a> {
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    api_group: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    resource: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    subresource: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    namespace: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    uid: Text<'a>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "null_as_default")]
    code: u16,
}

/// The object as it became, where the policy of the server has answers recorded.
#[derive(Default, Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    metadata: AnswerMeta<'a>,
}

#[derive(Default, Deserialize)]
struct AnswerMeta<'a> {
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    name: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    uid: Text<'a>,
}

impl Record<'_> {
    /// What it tells, if something that runs was changed.
    fn change(self, cluster: &str) -> Option<(ApiRequest, Option<i64>)> {
        let (about, code) = (self.object_ref, self.response_status.code);
        let is_kept = self.stage.0 == "ResponseComplete"
            && (200..300).contains(&code)
            && CHANGES.contains(&&*self.verb.0)
            && about.subresource.0.is_empty()
            && RUNS
                .iter()
                .any(|(_, group, resource)| (*group, *resource) == (&*about.api_group.0, &*about.resource.0));
        if !is_kept {
            return None;
        }
        // A name that the server made stands in its answer alone.
        let or =
            |told: Text<'_>, answered: Text<'_>| if told.0.is_empty() { text(answered) } else { text(told) };
        // The answer to a deletion may be a status, whose name says nothing.
        let answer = if self.verb.0.starts_with("delete") { Answer::default() } else { self.response_object };
        let is_for_another = !self.impersonated_user.username.0.is_empty();
        let (user, impersonator) =
            if is_for_another { (self.impersonated_user, Some(self.user)) } else { (self.user, None) };
        let asked = ApiRequest {
            cluster: cluster.to_owned(),
            audit_id: text(self.audit_id),
            verb: text(self.verb),
            code,
            user: text(user.username),
            impersonator: impersonator.map_or_else(String::new, |who| text(who.username)),
            user_pod: user.extra.pod.into_iter().next().map_or_else(String::new, text),
            client: self.source_ips.into_iter().next().map_or_else(String::new, text),
            user_agent: text(self.user_agent),
            group: text(about.api_group),
            resource: text(about.resource),
            namespace: text(about.namespace),
            name: or(about.name, answer.metadata.name),
            uid: or(about.uid, answer.metadata.uid),
        };
        let time = self.stage_timestamp.0.parse::<jiff::Timestamp>().ok();
        let time_ns = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        Some((asked, time_ns))
    }
}

fn text(text: Text<'_>) -> String {
    cut(text.0.into_owned())
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests;
