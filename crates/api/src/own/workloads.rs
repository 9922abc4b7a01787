//! Which workload is this?

use std::net::IpAddr;

use hyper::StatusCode;
use vedette_model::{Identify as _, PodIdentity, WorkloadQuestion};
use vedette_wire::vedette;

use super::Problem;
use crate::{
    answer::{Answer, own},
    request::Call,
    routes::Handled,
    time::parse_time_ms,
};

/// Pods that one answer has at most.
const PODS_MAX: usize = 1000;

/// The account of a pod, as an API server names it in certificates and audit records.
const ACCOUNT: &str = "system:serviceaccount:";

/// Tells to which pods and workloads a container, a cgroup, an address, a uid or an account belongs.
pub fn workloads(call: Call) -> Handled {
    Box::pin(async move { answer(&call).unwrap_or_else(Answer::from) })
}

fn answer(call: &Call) -> Result<Answer, Problem> {
    let directory = &call.shared.app.directory;
    if directory.is_empty() {
        return Err(Problem(
            StatusCode::NOT_FOUND,
            "no cluster is watched".to_owned(),
            "Name one below kubernetes in the configuration, and see that it is reached on the status page.",
        ));
    }
    let pods = ask(call, &|question| directory.identify(question, PODS_MAX + 1))?;
    Ok(own(&vedette::WorkloadsAnswer::new(&pods, PODS_MAX)))
}

fn ask(
    call: &Call,
    identify: &dyn Fn(&WorkloadQuestion<'_>) -> Vec<PodIdentity>,
) -> Result<Vec<PodIdentity>, Problem> {
    let params = &call.params;
    let names = ["container", "cgroup", "uid", "ip", "service_account"];
    let given: Vec<(&str, &str)> =
        names.iter().filter_map(|name| Some((*name, params.given(name)?))).collect();
    let [(name, value)] = given[..] else {
        return Err(Problem(
            StatusCode::BAD_REQUEST,
            format!("{} of the parameters {} are given", given.len(), names.join(", ")),
            "Give exactly one of them.",
        ));
    };
    let question = match name {
        "container" => WorkloadQuestion::Container(value),
        "cgroup" => WorkloadQuestion::Cgroup(value),
        "uid" => WorkloadQuestion::PodUid(value),
        "ip" => {
            let address: IpAddr =
                value.parse().map_err(|_| Problem::bad("ip", value, "Give an address as 10.0.0.7."))?;
            let at_ms = match params.given("time") {
                None => call.shared.app.clock.unix_ms(),
                Some(text) => parse_time_ms(text).map_err(|_| {
                    Problem::bad("time", text, "Give seconds since the Unix epoch, or RFC 3339.")
                })?,
            };
            WorkloadQuestion::Address(address, at_ms)
        }
        _ => {
            let account = value.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':'));
            let Some((namespace, name)) = account else {
                let remedy = "Give system:serviceaccount:<namespace>:<name>.";
                return Err(Problem::bad("service_account", value, remedy));
            };
            WorkloadQuestion::ServiceAccount(namespace, name)
        }
    };
    Ok(identify(&question))
}
