//! The leases of many nodes at once: where a zone is lost, asking for each by itself would take too long.

use std::{collections::BTreeMap, time::Duration};

use url::form_urlencoded::Serializer;

use super::lease::Lease;
use crate::{Api, Error, ListReader, objects::Object as _, read::decode};

/// Of so many nodes each lease is asked for by itself; of more, all are listed.
pub(super) const ALONE_MAX: usize = 50;
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// Leases of a page, which then has some 500 KB.
const PAGE_LEASES: &str = "500";
/// No cluster has so many nodes; a server that always has another page is not followed for ever.
const PAGES_MAX: usize = 100;

/// The leases of nodes; `None` for a node that has none.
pub(super) type Leases = BTreeMap<Box<str>, Option<Lease>>;

/// Lists all leases of nodes and gives those of these. A page may take `timeout`.
pub(super) async fn leases(api: &Api, nodes: Vec<Box<str>>, timeout: Duration) -> Result<Leases, Error> {
    let mut found: Leases = nodes.into_iter().map(|node| (node, None)).collect();
    let mut next = String::new();
    for _ in 0..PAGES_MAX {
        let mut response = api.get(&page(&next), "application/json", timeout).await?;
        let mut reader = ListReader::new();
        while let Some(piece) = response.chunk().await.map_err(Error::Transport)? {
            reader.take(&piece, |item| {
                let lease: Lease =
                    decode(item).map_err(|error| Error::Answer(format!("a lease in a list: {error}")))?;
                if let Some(place) = found.get_mut(&*lease.meta().name) {
                    *place = Some(lease);
                }
                Ok(())
            })?;
        }
        next = reader.finish()?.next_page;
        if next.is_empty() {
            return Ok(found);
        }
    }
    Err(Error::Answer(format!("its list of leases has more than {PAGES_MAX} pages")))
}

/// The path of the first page, or of the next.
fn page(next: &str) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", PAGE_LEASES);
    if !next.is_empty() {
        query.append_pair("continue", next);
    }
    format!("{LEASES}?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use vedette_config::HttpClient;
    use vedette_http_client::{Options, ProxyEnvironment};
    use vedette_sys::SystemClock;
    use vedette_test_apiserver::ApiServer;

    use super::*;
    use crate::Connection;

    #[tokio::test(flavor = "multi_thread")]
    async fn leases_of_a_lost_zone_are_one_list() {
        let server = ApiServer::start();
        let name = |n: usize| format!("n{n:04}");
        for (namespace, n) in (0..1_200).map(|n| ("kube-node-lease", n)).chain([("other", 1_300)]) {
            let lease = json!({"metadata": {"namespace": namespace, "name": name(n)},
                "spec": {"holderIdentity": name(n), "leaseDurationSeconds": 40}});
            server.put("/apis/coordination.k8s.io/v1/leases", lease);
        }
        let options = Options {
            user_agent: "Vedette/test".into(),
            unix_socket: None,
            proxy_environment: ProxyEnvironment::default(),
            clock: Arc::new(SystemClock),
        };
        let connection = Connection::to(server.url().parse().expect("a URL"), HttpClient::default());
        let api = Api::new(connection, options);
        let asked: Vec<Box<str>> = [3, 700, 1_199, 1_300].into_iter().map(|n| name(n).into()).collect();
        // Generous: a machine may be busy.
        let found = leases(&api, asked, Duration::from_secs(60)).await.expect("an answer");
        let holders: Vec<_> =
            found.iter().map(|(node, lease)| (&**node, lease.as_ref().map(Lease::holder))).collect();
        let expected = ["n0003", "n0700", "n1199"].map(|node| (node, Some(node)));
        assert_eq!(holders[..3], expected);
        assert_eq!(holders[3..], [("n1300", None)], "it has none");
        assert_eq!(server.asked().len(), 3, "{:?}", server.asked());
        server.behave(|how| how.forbidden.push(("list".into(), "leases".into())));
        let refused = leases(&api, vec!["n0003".into()], Duration::from_secs(60)).await;
        assert!(refused.is_err_and(|error| error.refusal().is_some_and(|refusal| refusal.code == 403)));
    }
}
