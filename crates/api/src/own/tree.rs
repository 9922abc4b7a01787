//! The process tree around an event: its process' ancestors as a chain, and below the process
//! everything it made, as far as the store saw it.

use std::collections::{HashMap, HashSet};

use hyper::StatusCode;
use vedette_model::{Event, Fact, Process, ProcessKey};
use vedette_wire::vedette::{self, Exited, ProcessRef, TreeNode, Wide};

use super::{Problem, events};
use crate::{
    answer::{Answer, json},
    request::Call,
    routes::Handled,
};

/// Events that one tree shows; of a larger one, the newest.
const EVENTS_MAX: usize = 5000;

/// Processes between the oldest ancestor and the deepest leaf. Deeper ones are left out, so that
/// neither writing nor reading the answer can run out of stack.
const DEPTH_MAX: usize = 100;

/// Gives the process tree around an event.
pub fn tree(call: Call) -> Handled {
    Box::pin(async move { tree_answer(call).await.unwrap_or_else(Answer::from) })
}

async fn tree_answer(call: Call) -> Result<Answer, Problem> {
    let event = events::find(&call).await?;
    let Some(process) = event.process.clone() else {
        return Err(Problem(
            StatusCode::NOT_FOUND,
            format!("event {} is not about a process", event.id),
            "Only events with process.pid have a tree.",
        ));
    };
    let shared = call.shared.clone();
    let run = move |_: &_| {
        let found = shared
            .events()
            .process_events(process.key, (i64::MIN, i64::MAX), EVENTS_MAX)
            .map_err(|e| events::unreadable(&e))?;
        let root = build(&process, &found.events);
        let answer = vedette::TreeAnswer { root };
        Ok::<_, Problem>(serde_json::to_vec(&answer).expect("BUG: our own answers have text keys only"))
    };
    let body = call.shared.gate.run(&call.client, None, run).await??;
    Ok(json(StatusCode::OK, body))
}

/// Builds the tree of `focus` from events of its descendants, its own and its birth, in any order.
fn build<'a>(focus: &Process, events: &'a [Event]) -> TreeNode<'a> {
    let mut forest = Forest::default();
    forest.learn(focus);
    let mut in_order: Vec<&Event> = events.iter().collect();
    in_order.sort_by_key(|event| (event.time_ns, event.id));
    for event in in_order {
        forest.add(event);
    }
    let oldest = focus.ancestors.last().map_or(focus.key, |ancestor| ancestor.key);
    let mut seen = HashSet::new();
    forest.take(oldest, focus.key, &mut seen, 0).unwrap_or_else(|| TreeNode {
        process: process_ref(focus),
        started_unix_nano: None,
        exited: None,
        focus: true,
        events: Vec::new(),
        children: Vec::new(),
    })
}

/// What is known of processes while the tree is being put together.
#[derive(Default)]
struct Forest<'a> {
    nodes: HashMap<ProcessKey, Node<'a>>,
}

struct Node<'a> {
    process: ProcessRef,
    started_ns: Option<i64>,
    exited: Option<Exited>,
    events: Vec<&'a Event>,
    children: Vec<ProcessKey>,
}

impl<'a> Forest<'a> {
    fn add(&mut self, event: &'a Event) {
        let Some(process) = event.process.as_deref() else { return };
        self.learn(process);
        if let Fact::Fork { child } = event.fact {
            self.learn_child(process, child, event.time_ns);
        }
        let node = self.nodes.get_mut(&process.key).expect("BUG: learnt above");
        if let Fact::Exit { code, signal } = event.fact {
            node.exited = Some(Exited { code, signal });
        }
        node.events.push(event);
    }

    /// Makes the nodes of a process and its ancestors, and links them. Later events know the
    /// name and arguments better than earlier ones.
    fn learn(&mut self, process: &Process) {
        let node = self.node(process.key);
        if !process.args.is_empty() || node.process.name.is_empty() {
            node.process = process_ref(process);
        }
        let mut child = process.key;
        for ancestor in process.ancestors.iter() {
            let node = self.node(ancestor.key);
            if node.process.name.is_empty() {
                node.process.name.clone_from(&ancestor.name);
                node.process.executable.clone_from(&ancestor.executable);
            }
            link(node, child);
            child = ancestor.key;
        }
    }

    /// A child is called as its parent until it runs a program of its own.
    fn learn_child(&mut self, parent: &Process, child: ProcessKey, time_ns: i64) {
        let node = self.node(child);
        node.started_ns = Some(time_ns);
        if node.process.name.is_empty() {
            node.process = ProcessRef {
                pid: child.pid,
                start_ns: Wide(child.start_ns),
                name: parent.name.clone(),
                executable: parent.executable.clone(),
                command_line: parent.command_line(),
            };
        }
        link(self.node(parent.key), child);
    }

    fn node(&mut self, key: ProcessKey) -> &mut Node<'a> {
        self.nodes.entry(key).or_insert_with(|| Node {
            process: ProcessRef {
                pid: key.pid,
                start_ns: Wide(key.start_ns),
                name: String::new(),
                executable: String::new(),
                command_line: String::new(),
            },
            started_ns: None,
            exited: None,
            events: Vec::new(),
            children: Vec::new(),
        })
    }

    /// Turns a node into its tree. Each process stands once, even where stored ancestries
    /// contradict each other.
    fn take(
        &self,
        key: ProcessKey,
        focus: ProcessKey,
        seen: &mut HashSet<ProcessKey>,
        depth: usize,
    ) -> Option<TreeNode<'a>> {
        let node = self.nodes.get(&key)?;
        if depth >= DEPTH_MAX || !seen.insert(key) {
            return None;
        }
        let mut keys = node.children.clone();
        keys.sort_by_key(|key| (key.start_ns, key.pid));
        let children =
            keys.into_iter().filter_map(|child| self.take(child, focus, seen, depth + 1)).collect();
        Some(TreeNode {
            process: node.process.clone(),
            started_unix_nano: node.started_ns.map(Wide),
            exited: node.exited,
            focus: key == focus,
            events: node.events.iter().map(|event| vedette::Event::from(*event)).collect(),
            children,
        })
    }
}

fn link(parent: &mut Node<'_>, child: ProcessKey) {
    if !parent.children.contains(&child) {
        parent.children.push(child);
    }
}

fn process_ref(process: &Process) -> ProcessRef {
    ProcessRef {
        pid: process.key.pid,
        start_ns: Wide(process.key.start_ns),
        name: process.name.clone(),
        executable: process.executable.clone(),
        command_line: process.command_line(),
    }
}
