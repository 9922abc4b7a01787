//! cAdvisor's REST interface, versions 1.3 and 2.1, for those whose programs ask it.
//!
//! Everything is made of the figures that `/metrics/cadvisor` shows, of which two minutes are kept,
//! so it is there without any store. Containers are named by their cgroups; `type=docker` and the
//! addresses below `docker` take the name or the id that a runtime gives them, whichever runtime it is.

mod documents;
mod events;
mod rows;
mod summary;

use std::{collections::BTreeMap, sync::Arc};

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use vedette_model::{Container, Labels, MachineFacts};

pub use self::events::{events, events_2};
use self::{
    documents::stamp_ms,
    rows::{Rows, by_container},
};
use crate::{
    answer::{Answer, own},
    app::Shared,
    own::Problem,
    request::Call,
    routes::Handled,
};

/// Statistics of one container that an answer has at most: two minutes of them.
const COUNT_MAX: usize = 120;
/// Statistics of one container that an answer has where nobody says.
const COUNT_DEFAULT: usize = 64;
/// Bytes of a request's body.
const REQUEST_BYTES_MAX: usize = 4096;
/// Statistics that one answer has at most.
const STATISTICS_MAX: usize = 20_000;

/// What one answer is made of.
struct House<'a> {
    shared: &'a Shared,
    now_ms: i64,
    containers: Vec<Arc<Container>>,
}

/// What went wrong, or the document.
type Answered = Result<Value, Problem>;

macro_rules! handlers {
    ($($(#[$doc:meta])* $name:ident => $answer:expr;)*) => {
        $($(#[$doc])* pub fn $name(call: Call) -> Handled {
            Box::pin(async move { answered(call, $answer).await })
        })*
    };
}

handlers! {
    /// Version 1.3: one container, with the names of those directly in it.
    containers => |house, call| {
        let path = path(call);
        house.version_1(&path, house.read(|id| id == path).remove(&path).as_ref(), count(call, "num_stats")?)
    };
    /// Version 1.3: a container and all that lie in it.
    subcontainers => |house, call| house.subcontainers(&path(call), count(call, "num_stats")?);
    /// Version 1.3: containers by the name or id that their runtime gives them.
    docker => |house, call| house.docker(call.parts.first().map_or("", String::as_str), count(call, "num_stats")?);
    /// The machine.
    machine => |house, _| Ok(documents::machine(&house.facts(), &house.root(), house.now_ms).into());
    /// Version 2.1: the machine and the versions of what it runs.
    attributes => |house, _| {
        let version = format!("vedette-{}", house.shared.app.build.version);
        Ok(documents::attributes(&house.facts(), &house.root(), &version, house.now_ms))
    };
    /// Version 2.1: who answers.
    version => |house, _| Ok(format!("vedette-{}", house.shared.app.build.version).into());
    /// Version 2.1: the machine's file systems.
    storage => |house, _| Ok(documents::storage(&house.root(), house.now_ms));
    /// Version 2.1: statistics of the machine as a whole.
    machine_stats => |house, call| Ok(house.statistics(&house.root(), count(call, "count")?, true).into());
    /// Version 2.1: specification and statistics of containers.
    stats => |house, call| {
        let count = count(call, "count")?;
        let chosen = house.chosen(call)?;
        bounded(chosen.len(), count)?;
        Ok(chosen.iter().map(|(id, rows)| {
            let document = json!({
                "spec": documents::spec(rows, house.now_ms, true),
                "stats": house.statistics(rows, count, true),
            });
            (id.clone(), document)
        }).collect::<Map<_, _>>().into())
    };
    /// Version 2.1: what containers are and may use.
    spec => |house, call| {
        let chosen = house.chosen(call)?;
        let specs = chosen.iter().map(|(id, rows)| (id.clone(), documents::spec(rows, house.now_ms, true)));
        Ok(specs.collect::<Map<_, _>>().into())
    };
    /// Version 2.1: usage of containers in percentiles.
    summary => |house, call| {
        let chosen = house.chosen(call)?;
        let all = chosen.iter().map(|(id, rows)| {
            let minutes = house.shared.app.latest.minutes(id);
            (id.clone(), summary::summary(rows, &minutes, house.now_ms))
        });
        Ok(all.collect::<Map<_, _>>().into())
    };
    /// Version 2.1: the processes of a container, or of the machine.
    processes => |house, call| {
        let path = path(call);
        let id = match kind(call)? {
            Kind::Name => path,
            Kind::Runtime => house.by_runtime(&path).map(|c| c.cgroup.clone()).ok_or_else(|| missing(&path))?,
        };
        if id != "/" && !house.knows(&id) {
            return Err(missing(&id));
        }
        Ok(house.shared.app.latest.processes(&id).iter().map(documents::process).collect())
    };
}

async fn answered(
    mut call: Call,
    answer: impl FnOnce(&House<'_>, &Call) -> Answered + Send + 'static,
) -> Answer {
    if let Err(problem) = read_request(&mut call).await {
        return problem.into();
    }
    let (shared, client) = (call.shared.clone(), call.client.clone());
    let run = move |_: &_| {
        let mut containers = (call.shared.app.containers)();
        containers.sort_by(|a, b| a.cgroup.cmp(&b.cgroup));
        let house = House { shared: &call.shared, now_ms: call.shared.app.clock.unix_ms(), containers };
        answer(&house, &call)
    };
    match shared.gate.run(&client, None, run).await {
        Ok(Ok(document)) => own(&document),
        Ok(Err(problem)) => problem.into(),
        Err(refused) => Problem::from(refused).into(),
    }
}

/// Reads the JSON that version 1.3 is asked with by POST: `num_stats` says how many statistics are
/// wanted. What it says of times is left out, as there are only two minutes.
async fn read_request(call: &mut Call) -> Result<(), Problem> {
    let Some(body) = call.body.take() else { return Ok(()) };
    let bad = || {
        Problem(
            StatusCode::BAD_REQUEST,
            "the request's body is not read".to_owned(),
            "Send a JSON object of at most 4 KiB with num_stats, or no body.",
        )
    };
    let read = tokio::time::timeout(
        call.shared.config.body_timeout,
        Limited::new(body, REQUEST_BYTES_MAX).collect(),
    );
    let bytes = read.await.map_err(|_| bad())?.map_err(|_| bad())?.to_bytes();
    if bytes.trim_ascii().is_empty() {
        return Ok(());
    }
    let request: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    if let Some(count) = request.get("num_stats").and_then(Value::as_i64) {
        call.params.extend_from_encoded(&format!("num_stats={count}"));
    }
    Ok(())
}

impl House<'_> {
    /// The series of the containers that are wanted.
    fn read(&self, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Rows> {
        let of = |labels: &Labels| labels.get("id").is_some_and(&wanted);
        by_container(self.shared.app.latest.courses(&of))
    }

    fn root(&self) -> Rows {
        self.read(|id| id == "/").remove("/").unwrap_or_default()
    }

    fn facts(&self) -> MachineFacts {
        self.shared.app.latest.machine()
    }

    /// Whether there is such a container or one lies in it.
    fn knows(&self, path: &str) -> bool {
        path == "/" || self.containers.iter().any(|c| is_within(&c.cgroup, path))
    }

    fn by_runtime(&self, name: &str) -> Option<&Container> {
        let name = name.trim_matches('/');
        let fits = |c: &&Arc<Container>| c.name == name || (name.len() >= 12 && c.id.starts_with(name));
        self.containers
            .iter()
            .find(|c| c.id == name)
            .or_else(|| self.containers.iter().find(fits))
            .map(AsRef::as_ref)
    }

    /// The paths directly in one.
    fn inside(&self, path: &str) -> Vec<String> {
        let stem = path.trim_end_matches('/');
        let rests = self.containers.iter().filter_map(|c| c.cgroup.strip_prefix(stem)?.strip_prefix('/'));
        let mut names: Vec<String> = rests
            .filter_map(|rest| rest.split('/').next().filter(|part| !part.is_empty()))
            .map(|part| format!("{stem}/{part}"))
            .collect();
        names.dedup();
        names
    }

    fn statistics(&self, rows: &Rows, count: usize, version_2: bool) -> Vec<Value> {
        // One more, for the rate of the first.
        let times = rows.times(count + 1);
        let first = times.len().saturating_sub(count);
        let before = |place: usize| place.checked_sub(1).map(|i| times[i]);
        (first..times.len()).map(|i| documents::stats(rows, times[i], before(i), version_2)).collect()
    }

    fn version_1(&self, path: &str, rows: Option<&Rows>, count: usize) -> Answered {
        let none = Rows::default();
        let rows = match rows {
            Some(rows) => rows,
            // A folder of containers that has not had its turn yet, or in which none is left.
            None if self.knows(path) => &none,
            None => return Err(missing(path)),
        };
        let mut document = Map::new();
        let container = self.containers.iter().find(|c| c.cgroup == path);
        if let Some(container) = container {
            document.insert("id".into(), container.id.as_str().into());
        }
        document.insert("name".into(), path.into());
        if let Some(container) = container {
            document.insert("aliases".into(), json!([container.name, container.id]));
            document.insert("namespace".into(), container.runtime.as_str().into());
        }
        let inside: Vec<Value> = self.inside(path).iter().map(|name| json!({ "name": name })).collect();
        if !inside.is_empty() {
            document.insert("subcontainers".into(), inside.into());
        }
        document.insert("spec".into(), documents::spec(rows, self.now_ms, false));
        document.insert("stats".into(), self.statistics(rows, count, false).into());
        Ok(document.into())
    }

    fn subcontainers(&self, path: &str, count: usize) -> Answered {
        if !self.knows(path) {
            return Err(missing(path));
        }
        let all = self.read(|id| is_within(id, path));
        bounded(all.len(), count)?;
        let mut paths: Vec<&str> = all.keys().map(String::as_str).collect();
        if !all.contains_key(path) {
            paths.insert(0, path);
        }
        paths.into_iter().map(|path| self.version_1(path, all.get(path), count)).collect()
    }

    fn docker(&self, name: &str, count: usize) -> Answered {
        let chosen: Vec<&str> = if name.trim_matches('/').is_empty() {
            self.containers.iter().filter(|c| !c.runtime.is_empty()).map(|c| c.cgroup.as_str()).collect()
        } else {
            vec![self.by_runtime(name).ok_or_else(|| missing(name))?.cgroup.as_str()]
        };
        bounded(chosen.len(), count)?;
        let all = self.read(|id| chosen.binary_search(&id).is_ok());
        let documents =
            chosen.iter().map(|path| Ok(((*path).to_owned(), self.version_1(path, all.get(*path), count)?)));
        Ok(documents.collect::<Result<Map<_, _>, Problem>>()?.into())
    }

    /// The containers that version 2.1 was asked for.
    fn chosen(&self, call: &Call) -> Result<BTreeMap<String, Rows>, Problem> {
        let recursive = flag(call, "recursive")?;
        let path = path(call);
        match kind(call)? {
            Kind::Name => {
                let chosen = self.read(|id| if recursive { is_within(id, &path) } else { id == path });
                if chosen.is_empty() && !self.knows(&path) { Err(missing(&path)) } else { Ok(chosen) }
            }
            Kind::Runtime if path == "/" => {
                let known: Vec<&str> = self.containers.iter().map(|c| c.cgroup.as_str()).collect();
                Ok(self.read(|id| known.binary_search(&id).is_ok()))
            }
            Kind::Runtime => {
                let container = self.by_runtime(&path).ok_or_else(|| missing(&path))?;
                Ok(self.read(|id| id == container.cgroup))
            }
        }
    }
}

/// How a container is named.
enum Kind {
    /// By its cgroup.
    Name,
    /// By what its runtime calls it.
    Runtime,
}

fn kind(call: &Call) -> Result<Kind, Problem> {
    match call.params.first("type") {
        "" | "name" => Ok(Kind::Name),
        "docker" | "podman" | "containerd" | "crio" => Ok(Kind::Runtime),
        other => Err(Problem::bad("type", other, "Use name, docker, podman, containerd or crio.")),
    }
}

fn flag(call: &Call, name: &str) -> Result<bool, Problem> {
    match call.params.first(name) {
        "" | "false" | "0" => Ok(false),
        "true" | "1" => Ok(true),
        other => Err(Problem::bad(name, other, "Use true or false.")),
    }
}

/// How many statistics of each container are wanted; as in cAdvisor, -1 means all that there are.
fn count(call: &Call, name: &str) -> Result<usize, Problem> {
    let text = call.params.first(name);
    match text.parse::<i64>() {
        _ if text.is_empty() => Ok(COUNT_DEFAULT),
        Ok(-1) => Ok(COUNT_MAX),
        Ok(n @ 1..) => Ok(usize::try_from(n).unwrap_or(COUNT_MAX).min(COUNT_MAX)),
        _ => Err(Problem::bad(name, text, "Give a number from 1 to 120, or -1 for all.")),
    }
}

fn bounded(containers: usize, count: usize) -> Result<(), Problem> {
    if containers.saturating_mul(count) <= STATISTICS_MAX {
        return Ok(());
    }
    Err(Problem(
        StatusCode::BAD_REQUEST,
        format!(
            "{count} statistics of {containers} containers are more than one answer has ({STATISTICS_MAX})"
        ),
        "Ask for fewer by num_stats or count, or for fewer containers.",
    ))
}

/// The path of the container that was asked for.
fn path(call: &Call) -> String {
    format!("/{}", call.parts.first().map_or("", String::as_str).trim_matches('/'))
}

fn is_within(path: &str, asked: &str) -> bool {
    path.strip_prefix(asked.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn missing(path: &str) -> Problem {
    Problem(
        StatusCode::NOT_FOUND,
        format!("there is no container {path:?}"),
        "/api/vedette/v1/containers lists those that there are; they are named by their cgroups here.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_within_its_folders_and_no_others() {
        for (path, asked, within) in [
            ("/pods/c1", "/", true),
            ("/pods/c1", "/pods", true),
            ("/pods/c1", "/pods/", true),
            ("/pods/c1", "/pods/c1", true),
            ("/pods/c10", "/pods/c1", false),
            ("/pods", "/pods/c1", false),
            ("/other/pods/c1", "/pods", false),
        ] {
            assert_eq!(is_within(path, asked), within, "{path} in {asked}");
        }
    }

    #[test]
    fn an_answer_has_no_more_statistics_than_it_may() {
        for (containers, count, fits) in
            [(0, COUNT_MAX, true), (200, 100, true), (201, 100, false), (usize::MAX, COUNT_MAX, false)]
        {
            assert_eq!(bounded(containers, count).is_ok(), fits, "{count} of {containers}");
        }
    }
}
