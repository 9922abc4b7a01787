//! What may be wrong with a part, as data: how bad it is, how long it may be so before it is told, and what a
//! person does about it.

use std::time::Duration;

/// What one look at a part says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It works in part.
    Poor,
    /// It does not work.
    Bad,
    /// It cannot be told.
    Blind,
}

/// Something that may be wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause {
    /// One word, which is also a label.
    pub word: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// How long it may be so before it is told.
    pub grace: Duration,
    /// What a person does next.
    pub next_step: &'static str,
}

macro_rules! causes {
    ($($name:ident $word:literal $verdict:ident $grace:literal $next:literal;)*) => {
        $(pub const $name: &Cause = &Cause {
            word: $word,
            verdict: Verdict::$verdict,
            grace: Duration::from_secs($grace),
            next_step: $next,
        };)*
        /// All of them.
        #[cfg(test)]
        pub const ALL: &[&Cause] = &[$($name),*];
    };
}

// With two questions that fail within its three seconds, a burst of errors that lasts two is none.
causes! {
    SERVER_SILENT "no_answer" Bad 3
        "Look at the API server where it runs: is its process or its machine up (crictl ps -a, crictl logs), does its port answer, does a load balancer before it have a healthy server left? The evidence names what failed: the name, the connection or the answer.";
    SERVER_REFUSES "refuses" Bad 3
        "It answers, but with an error instead of its checks. Ask kubectl get --raw '/livez?verbose' on each control plane node, without the load balancer, and read the API server's log.";
    SERVER_CHECK "check_failed" Bad 3
        "Read the API server's log for the check that the evidence names; kubectl get --raw '/livez/NAME' asks for that one alone.";
    SERVER_ETCD "etcd" Poor 3
        "The API server runs, but its store does not answer; see the part etcd.";
    SERVER_STARTING "starting" Poor 60
        "It starts for more than a minute. The check that the evidence names does not come to its end: read the API server's log for it.";
    SERVER_STOPPING "stopping" Poor 60
        "It is told to stop and does not end. Read its log; where it runs as a static pod, see the kubelet's.";
    SERVER_OVERLOADED "overloaded" Poor 15
        "It turns requests away. Find who asks so much: topk(5, sum by (flow_schema) (rate(apiserver_flowcontrol_dispatched_requests_total[5m]))), then slow that client down.";
    SERVER_SLOW "slow" Poor 30
        "It takes more than a second to tell its own health. Look at processor and memory of its machine, and at the store's disk (etcd's fsync latency).";
    SERVER_BARRED "barred" Blind 0
        "Let Vedette's account ask for its health: bind it to the ClusterRole system:public-info-viewer, or grant get on the nonResourceURLs /livez, /readyz and /version.";
    CREDENTIALS "credentials" Blind 0
        "Vedette cannot say who it is, or is not believed, so nothing can be told of this cluster. Renew what the evidence names: the token, its file or the certificate of the kubeconfig_file, or run the credential program by hand. Files are read again by themselves.";
    CLIENT_EXPIRED "client_certificate_expired" Blind 0
        "The certificate that Vedette shows has ended. Issue a new one (kubeadm certs check-expiration, kubeadm certs renew) and put it where the configuration names it; it is read again by itself.";
    CLIENT_REFUSED "client_certificate_refused" Blind 0
        "The certificate that Vedette shows is not accepted, or there is none and one is wanted. Name a certificate and its key that an authority of that server signed.";
    CERTIFICATE_EXPIRED "certificate_expired" Bad 3
        "Its certificate, or one that leads to it, does not hold at this time, so whoever checks it is refused. Compare the machines' clocks, then renew it (kubeadm certs check-expiration, kubeadm certs renew all) and start the server again.";
    CERTIFICATE_UNTRUSTED "certificate_untrusted" Bad 3
        "It shows a certificate that was not signed by the authority that is trusted, or is for other names. If the authority was changed, renew ca_file or certificate-authority-data; if not, find out who answers at this address.";
    CERTIFICATE_OUTLIVED "certificate_outlived" Poor 10
        "It works, but its certificate has ended: whoever connects anew and checks it is refused. Renew it (kubeadm certs check-expiration, kubeadm certs renew all) and start the server again.";
    ENDPOINT_SILENT "endpoint_silent" Bad 3
        "Its health endpoint does not answer. Does its process run (crictl ps -a, crictl logs), does it listen on an address that Vedette reaches (--bind-address, --healthz-bind-address), and does a firewall let it through?";
    ENDPOINT_UNHEALTHY "endpoint_unhealthy" Bad 3
        "It says itself that it is not well; the evidence names the checks that fail. Read its log: kubectl -n kube-system logs, or crictl logs on its machine.";
    ENDPOINT_BARRED "endpoint_barred" Blind 0
        "Its health endpoint answers, but not to Vedette. Let it be asked by all (--authorization-always-allow-paths=/healthz,/readyz,/livez), or set use_cluster_token and grant get on the nonResourceURL.";
    ENDPOINT_UNTRUSTED "endpoint_untrusted" Blind 0
        "Its certificate is not signed by an authority that is trusted, as where it made one for itself. Name its ca_file, give it a certificate (--tls-cert-file), or ask for insecure_skip_verify.";
    UNASKED "server_unasked" Blind 0
        "Nothing is wrong with it as far as is known: the API server, which would tell, cannot be asked. Mend that first.";
    WATCH_BARRED "watch_barred" Blind 10
        "Vedette may not see what tells of this part; the evidence names the right that is missing. Grant it by a role.";
    ETCD_CHECK "etcd_check" Bad 3
        "The API server cannot read or write its store. On a control plane node: etcdctl endpoint health --cluster and etcdctl endpoint status -w table; look for a full disk, a NOSPACE alarm, a lost majority or an expired certificate.";
    ETCD_SILENT "no_answer" Bad 3
        "This member does not answer. Is its process up (crictl ps -a), its port open, its certificate valid? With a majority of members left the cluster still writes: mend it before the next one goes.";
    ETCD_UNHEALTHY "unhealthy" Bad 3
        "The member says so itself: etcdctl alarm list. No leader means that a majority of members is away.";
    ETCD_NOSPACE "no_space" Bad 3
        "The database is full and takes no writes. One member after the other: etcdctl compact to the newest revision, etcdctl defrag, then once etcdctl alarm disarm; raise --quota-backend-bytes if it fills with what is needed.";
    ETCD_NO_LEADER "no_leader" Bad 3
        "This member knows no leader, so nothing is written. Are a majority of members up, and do they reach each other on the peer port?";
    ETCD_FILLING "filling" Poor 10
        "The database has more than four fifths of what it may have. Compact and defragment one member after the other before it is full, and find what fills it (apiserver_storage_objects).";
    ETCD_SLOW "slow_disk" Poor 60
        "Its disk needs more than a tenth of a second to make a write safe, so leaders may be lost. Give etcd a disk of its own, or a faster one.";
    LEASE_EXPIRED "lease_expired" Bad 2
        "No instance of it leads. Look whether its pods run (kubectl -n kube-system get pods) and read their logs; if they run, they cannot reach or may not write to the API server.";
    NODE_SILENT "heartbeat" Bad 2
        "The kubelet of this node has said nothing for longer than its lease: is the machine up and its network there? On it: systemctl status kubelet, journalctl -u kubelet. Its pods are moved after five minutes.";
    NODE_NOT_READY "not_ready" Bad 3
        "kubectl describe node NAME tells why; most often the container runtime or the network plugin: on the node systemctl status containerd, crictl info.";
    NODE_UNKNOWN "unknown_to_cluster" Bad 3
        "The control plane has not heard from this kubelet: is the machine up and its network there? On it: systemctl status kubelet, journalctl -u kubelet.";
    NODE_JOINING "joining" Poor 120
        "This new node is not ready after two minutes: see its kubelet's log and whether the network plugin runs on it.";
    NODE_PRESSURE "pressure" Poor 10
        "The node runs out of what the evidence names and will turn pods out: find who uses it (kubectl top pods, df, ps), then free some or move work.";
    NODE_NETWORK "network_unavailable" Poor 10
        "The route to the pods of this node is not set up: look at the network plugin's pod on the node, or at the cloud's controller.";
    WORKLOAD_DOWN "none_ready" Bad 3
        "None of its pods is ready. The evidence names one and why: kubectl -n kube-system describe pod, kubectl -n kube-system logs --previous.";
    WORKLOAD_NEW "none_ready_yet" Bad 10
        "All of its pods are new and none is ready yet. The evidence names one: kubectl -n kube-system describe pod tells whether it is placed, pulls its image or fails its probes.";
    WORKLOAD_MISSING "no_pods" Bad 10
        "Its pods were there and are gone: kubectl -n kube-system get deployments,daemonsets and their events (quota, admission, no node fits).";
    WORKLOAD_CRASHING "crashing" Poor 3
        "A pod of it cannot run. The evidence names pod, node and reason: kubectl -n kube-system logs --previous, and describe for images that cannot be pulled.";
    WORKLOAD_PARTLY "partly_ready" Poor 3
        "Some of its pods are not ready for more than a minute: kubectl -n kube-system get pods -o wide, then describe the one that the evidence names.";
    DNS_NO_ENDPOINTS "no_endpoints" Bad 3
        "Names are not resolved in the cluster: the service kube-dns has no ready address. Look at the CoreDNS pods and at the labels that the service selects by.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_says_what_to_do() {
        for cause in ALL {
            assert!(
                cause.next_step.len() > 20 && cause.next_step.ends_with(['.', ')', '?']),
                "{}",
                cause.word
            );
            assert!(cause.word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", cause.word);
            // What has failed is told within five seconds: questions come every second, answers within two.
            let is_soon = cause.verdict != Verdict::Bad || cause.grace <= Duration::from_secs(3);
            assert!(is_soon || matches!(cause.word, "no_pods" | "none_ready_yet"), "{}", cause.word);
        }
    }
}
