//! An API server of Kubernetes for tests: lists, pages, watches, bookmarks, streamed lists, states that
//! are gone, and what goes wrong.
//!
//! It answers as a real one does; `crates/k8s/tests/conformance` holds it against recorded answers.
//! Objects are JSON as they are put in; nothing is validated or defaulted. Each connection has a thread.

mod http;
pub mod made;
mod query;
mod store;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

pub use http::Asked;
use store::Store;

/// The server. It ends with the process; a port is cheap in a test.
#[derive(Clone)]
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes watches.
    changed: Condvar,
}

struct State {
    store: Store,
    behaviour: Behaviour,
    /// Answers by their paths.
    answers: BTreeMap<String, Value>,
    /// All that was asked, in its order.
    asked: Vec<Asked>,
    /// Grows when all connections shall be closed.
    epoch: u64,
}

/// How the server behaves.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// The only token that is taken, if one must be shown.
    pub token: Option<String>,
    /// Verb and resource that are forbidden, as `("list", "pods")`.
    pub forbidden: Vec<(String, String)>,
    /// Lists are not streamed, as with an etcd before 3.4.25.
    pub refuses_streaming: bool,
    /// Streaming is asked of a server that never heard of it.
    pub knows_no_streaming: bool,
    /// Status and seconds of `Retry-After` that each question gets.
    pub fails_with: Option<(u16, u64)>,
    /// Reads of the store hang; what the server remembers is told.
    pub is_store_frozen: bool,
    /// Watches end after so many events.
    pub watch_events_max: Option<usize>,
    /// Pages are not longer than this, whatever is asked for.
    pub page_objects_max: Option<usize>,
    /// Checks of `/livez` and `/readyz` that fail.
    pub failing_checks: Vec<String>,
    /// Nothing is answered at all; connections are held.
    pub hangs: bool,
    /// Nothing is answered; every connection ends when something was asked.
    pub is_away: bool,
}

impl Default for ApiServer {
    fn default() -> Self {
        Self::start()
    }
}

impl ApiServer {
    /// Starts one on a free port, without encryption.
    ///
    /// # Panics
    ///
    /// If there is no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State {
            store: Store::default(),
            behaviour: Behaviour::default(),
            answers: BTreeMap::new(),
            asked: Vec::new(),
            epoch: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let served = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = served.clone();
                std::thread::spawn(move || http::serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it behaves. Connections that are open are closed.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        let mut state = self.shared.state.lock();
        change(&mut state.behaviour);
        state.epoch += 1;
        self.shared.changed.notify_all();
    }

    /// Answers a path that has no objects, as that of a group or `/metrics`; none takes it away. A text is sent as it
    /// is.
    pub fn serve(&self, path: &str, answer: Option<Value>) {
        let answers = &mut self.shared.state.lock().answers;
        match answer {
            Some(answer) => answers.insert(path.to_owned(), answer),
            None => answers.remove(path),
        };
    }

    /// Puts an object into a collection, such as `/api/v1/pods`. Its metadata gets what it has not.
    pub fn put(&self, collection: &str, object: Value) {
        self.shared.state.lock().store.put(collection, object);
        self.shared.changed.notify_all();
    }

    /// Puts an object as it is, with its own `resourceVersion`.
    pub fn put_recorded(&self, collection: &str, object: Value) {
        self.shared.state.lock().store.put_recorded(collection, object);
        self.shared.changed.notify_all();
    }

    /// Removes an object.
    pub fn remove(&self, collection: &str, namespace: &str, name: &str) {
        self.shared.state.lock().store.remove(collection, namespace, name);
        self.shared.changed.notify_all();
    }

    /// Forgets all states but the newest, so that watches and pages of before are refused.
    pub fn compact(&self) {
        let mut state = self.shared.state.lock();
        state.store.compact();
        state.epoch += 1;
        self.shared.changed.notify_all();
    }

    /// Tells all watches in which state the cluster is.
    pub fn bookmark(&self) {
        self.shared.state.lock().store.bookmark();
        self.shared.changed.notify_all();
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state.lock().asked.clone()
    }

    /// Waits until a question was asked for which this holds.
    ///
    /// # Panics
    ///
    /// After a minute.
    pub fn wait_asked(&self, what: &str, is_it: impl Fn(&Asked) -> bool) {
        let mut state = self.shared.state.lock();
        while !state.asked.iter().any(&is_it) {
            let waited = self.shared.changed.wait_for(&mut state, Duration::from_secs(60));
            assert!(!waited.timed_out(), "nobody asked {what}: {:?}", state.asked);
        }
    }

    /// The answer to a question without a connection: code, type and body. Watches are not answered so.
    pub fn answer(&self, path_and_query: &str, accept: &str) -> (u16, String, String) {
        let asked =
            Asked { target: path_and_query.to_owned(), accept: accept.to_owned(), token: String::new() };
        http::answer_at_once(&asked, &mut self.shared.state.lock())
    }
}

/// A refusal as the server words it.
fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code})
}
