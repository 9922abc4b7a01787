//! The text in which words are searched: everything of an event that people would type.

use std::fmt::Write;

use vedette_model::{Event, Fact, Socket, StreamTarget};

/// Lower-case text of an event, its parts on lines of their own.
pub(crate) fn search_text(event: &Event) -> Box<str> {
    let mut text = String::with_capacity(256);
    line(&mut text, event.fact.kind().as_str());
    if let Some(process) = &event.process {
        line(&mut text, &process.name);
        line(&mut text, &process.executable);
        for (i, arg) in process.args.iter().enumerate() {
            if i > 0 {
                text.push(' ');
            }
            text.push_str(arg);
        }
        text.push('\n');
    }
    if let Some(c) = &event.container {
        for part in [&c.name, &c.id, &c.image, &c.pod, &c.namespace, &c.workload.kind, &c.workload.name] {
            line(&mut text, part);
        }
    }
    line(&mut text, &event.host.name);
    match &event.fact {
        Fact::Exec { streams, .. } => streams.iter().for_each(|s| target(&mut text, s)),
        Fact::StreamRedirect { target: t, .. } => target(&mut text, t),
        Fact::Connection(s) => socket(&mut text, s),
        Fact::Finding(finding) => {
            let parts = [&finding.rule, &finding.title, &finding.description];
            for part in parts.into_iter().chain(&finding.ancestry).chain(&finding.evidence) {
                line(&mut text, part);
            }
            line(&mut text, finding.severity.as_str());
            for (_, value) in &finding.labels {
                line(&mut text, value);
            }
        }
        Fact::Loss { place, .. } => line(&mut text, place),
        Fact::Kubernetes(event) => {
            let object = [&event.object_kind, &event.object_name, &event.namespace];
            let told = [&event.reason, &event.kind, &event.note, &event.reporter, &event.cluster];
            let workload = [&event.workload.kind, &event.workload.name];
            object.into_iter().chain(told).chain(workload).for_each(|part| line(&mut text, part));
        }
        Fact::Audit(asked) => {
            let who = [&asked.user, &asked.impersonator, &asked.user_pod, &asked.client, &asked.user_agent];
            let what = [&asked.verb, &asked.resource, &asked.namespace, &asked.name, &asked.cluster];
            who.into_iter().chain(what).for_each(|part| line(&mut text, part));
        }
        Fact::Fork { .. }
        | Fact::Exit { .. }
        | Fact::PtyOpen { .. }
        | Fact::OomKill { .. }
        | Fact::ContainerStart
        | Fact::ContainerStop => {}
    }
    lower_case(text).into()
}

/// Lower case as search text has it.
pub(crate) fn lower_case(mut text: String) -> String {
    if text.is_ascii() {
        text.make_ascii_lowercase();
        return text;
    }
    // Character by character: what a word becomes must not depend on what stands around it.
    text.chars().flat_map(char::to_lowercase).collect()
}

fn line(text: &mut String, part: &str) {
    if !part.is_empty() {
        text.push_str(part);
        text.push('\n');
    }
}

fn target(text: &mut String, target: &StreamTarget) {
    if let StreamTarget::Socket(s) = target {
        socket(text, s);
    }
}

fn socket(text: &mut String, socket: &Socket) {
    for (address, port) in [(socket.local, socket.local_port), (socket.peer, socket.peer_port)] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", std::net::SocketAddr::new(address, port));
    }
}
