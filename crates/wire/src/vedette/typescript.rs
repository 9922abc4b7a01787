//! The web app's types, generated from this crate's structs.

use ts_rs::{Config, TS};
use vedette_model::EventKind;

use super::{
    ActiveQuery, Ancestor, AskedQuery, CacheFigures, CapacityAdvice, CapacityAnswer, CapacityCluster,
    CapacityFailure, CapacityJudgement, CapacityMove, CapacityOutage, CapacityOutages, CapacityPods,
    CapacityPoint, CapacityPool, CapacityPriority, CapacityZone, Cluster, ClusterCertificate, ClusterPart,
    ClustersAnswer, Container, ContainersAnswer, ErrorAnswer, Event, EventsAnswer, Exited, ExplainAnswer,
    ExplainNode, Fact, Finding, FindingsAnswer, FinishedQuery, HostInfo, Loss, Part, PodContainer,
    PodIdentity, ProcessRef, QueriesAnswer, StatusAnswer, TreeAnswer, TreeNode, Workload, WorkloadsAnswer,
};

/// The whole file.
pub fn file() -> String {
    let config = Config::default();
    let mut out = String::from(
        "// Generated from crates/wire by its tests. Do not edit: change the structs and run\n\
         // VEDETTE_UPDATE=1 cargo test -p vedette-wire\n\n",
    );
    out.push_str("export type EventKind =\n");
    out.push_str(&EventKind::ALL.map(|k| format!("  | '{}'", k.as_str())).join("\n"));
    out.push_str(";\n\n");
    for (name, words) in [
        ("Severity", "'info' | 'warning' | 'critical'"),
        ("FindingState", "'firing' | 'resolved'"),
        ("Health", "'ok' | 'off' | 'degraded' | 'failed'"),
        ("PartState", "'healthy' | 'unknown' | 'degraded' | 'failed'"),
        ("CertificateRole", "'server' | 'server_chain' | 'client' | 'authority'"),
    ] {
        out.push_str(&format!("export type {name} = {words};\n\n"));
    }
    for declaration in [
        Ancestor::decl(&config),
        Finding::decl(&config),
        Event::decl(&config),
        EventsAnswer::decl(&config),
        Loss::decl(&config),
        ProcessRef::decl(&config),
        Exited::decl(&config),
        TreeNode::decl(&config),
        TreeAnswer::decl(&config),
        FindingsAnswer::decl(&config),
        Container::decl(&config),
        ContainersAnswer::decl(&config),
        PodContainer::decl(&config),
        PodIdentity::decl(&config),
        Workload::decl(&config),
        WorkloadsAnswer::decl(&config),
        Fact::decl(&config),
        Part::decl(&config),
        HostInfo::decl(&config),
        StatusAnswer::decl(&config),
        ClusterPart::decl(&config),
        ClusterCertificate::decl(&config),
        Cluster::decl(&config),
        ClustersAnswer::decl(&config),
        AskedQuery::decl(&config),
        ActiveQuery::decl(&config),
        FinishedQuery::decl(&config),
        CacheFigures::decl(&config),
        QueriesAnswer::decl(&config),
        ExplainNode::decl(&config),
        ExplainAnswer::decl(&config),
        CapacityPods::decl(&config),
        CapacityPriority::decl(&config),
        CapacityMove::decl(&config),
        CapacityFailure::decl(&config),
        CapacityZone::decl(&config),
        CapacityPoint::decl(&config),
        CapacityAdvice::decl(&config),
        CapacityJudgement::decl(&config),
        CapacityPool::decl(&config),
        CapacityOutage::decl(&config),
        CapacityOutages::decl(&config),
        CapacityCluster::decl(&config),
        CapacityAnswer::decl(&config),
        ErrorAnswer::decl(&config),
    ] {
        out.push_str(&interface(&declaration));
    }
    // One line break at the end of the file, not two.
    out.pop();
    out
}

/// Writes `type X = { a: b, … };` as an interface with one member a line.
fn interface(declaration: &str) -> String {
    let (name, body) = declaration
        .strip_prefix("type ")
        .and_then(|d| d.split_once(" = {"))
        .unwrap_or_else(|| panic!("not a struct: {declaration}"));
    let body = body.trim_end_matches(';').trim_end().trim_end_matches('}').trim().trim_end_matches(',');
    let mut out = format!("export interface {name} {{\n");
    let mut depth = 0;
    let mut member = String::new();
    let mut comment = false;
    let mut chars = body.chars().peekable();
    let mut finish = |member: &mut String| {
        let text = array_suffix(member.trim()).replace('"', "'");
        if !text.is_empty() {
            out.push_str(&format!("  {text};\n"));
        }
        member.clear();
    };
    while let Some(c) = chars.next() {
        // Doc comments would come between members; the Rust source is where they are read.
        if c == '/' && chars.peek() == Some(&'*') {
            comment = true;
        }
        if comment {
            if c == '*' && chars.peek() == Some(&'/') {
                chars.next();
                comment = false;
            }
            continue;
        }
        match c {
            '<' | '{' | '(' => depth += 1,
            '>' | '}' | ')' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            finish(&mut member);
        } else {
            member.push(c);
        }
    }
    finish(&mut member);
    out.push_str("}\n\n");
    out
}

/// Writes `Array<T>` as `T[]`, as the web app's formatter wants it.
fn array_suffix(member: &str) -> String {
    match member.split_once("Array<") {
        Some((head, rest)) => format!("{head}{}[]", rest.trim_end_matches('>')),
        None => member.to_owned(),
    }
}
