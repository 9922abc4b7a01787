//! The parts of Kubernetes' objects that decide where pods may run.
//!
//! What the scheduler does not look at is not kept. Lists may be `null`, as Go writes empty ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

/// Labels, annotations and node selectors.
pub type Labels = BTreeMap<String, String>;

/// An amount as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Quantity(pub String);

/// Amounts by the name of the resource.
pub type Amounts = BTreeMap<String, Quantity>;

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a quantity")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Quantity, E> {
                Ok(Quantity(v.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Quantity, E> {
                Ok(Quantity(v.to_string()))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Quantity, E> {
                Ok(Quantity(v.to_string()))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Quantity, E> {
                Ok(Quantity(v.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// How many entries all lists and maps of an object have together: what an object costs, whatever it says.
pub(crate) trait Entries {
    fn entries(&self) -> usize;
}

macro_rules! without_entries {
    ($($kind:ty),*) => { $(impl Entries for $kind { fn entries(&self) -> usize { 0 } })* };
}

without_entries!(String, i64, bool, Quantity, Resize);

impl<T: Entries> Entries for Option<T> {
    fn entries(&self) -> usize {
        self.as_ref().map_or(0, T::entries)
    }
}

impl<T: Entries> Entries for Vec<T> {
    fn entries(&self) -> usize {
        self.iter().fold(self.len(), |sum, one| sum.saturating_add(one.entries()))
    }
}

impl<T> Entries for BTreeMap<String, T> {
    fn entries(&self) -> usize {
        self.len()
    }
}

/// Structs of which every field may be missing or `null`.
macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $($(#[$field_doc])* #[serde(deserialize_with = "nullable")] pub $field: $kind,)*
        }

        impl Entries for $name {
            fn entries(&self) -> usize {
                0 $(+ self.$field.entries())*
            }
        }
    )*};
}

objects! {
    /// Who and what an object is.
    Metadata {
        /// Its name.
        name: String,
        /// Its namespace; empty for kinds without.
        namespace: String,
        /// Its labels.
        labels: Labels,
        /// Its annotations.
        annotations: Labels,
        /// What made it.
        owner_references: Vec<OwnerReference>,
        /// Since when it is being deleted.
        deletion_timestamp: Option<String>,
    }
    /// What made an object.
    OwnerReference {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Its identity.
        uid: String,
        /// Whether it looks after the object.
        controller: bool,
    }
    /// A node.
    Node {
        /// Name and labels.
        metadata: Metadata,
        /// Taints.
        spec: NodeSpec,
        /// What it has to give.
        status: NodeStatus,
    }
    /// What is wanted of a node.
    NodeSpec {
        /// Whether new pods are kept away.
        unschedulable: bool,
        /// What keeps pods away.
        taints: Vec<Taint>,
    }
    /// What is known of a node.
    NodeStatus {
        /// What pods can have of it.
        allocatable: Amounts,
        /// How it is.
        conditions: Vec<Condition>,
    }
    /// One thing that is known of a node.
    Condition {
        /// Which.
        r#type: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    }
    /// What keeps pods away from a node.
    Taint {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
        /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
        effect: String,
    }
    /// A pod.
    Pod {
        /// Name, labels and owner.
        metadata: Metadata,
        /// What it needs.
        spec: PodSpec,
        /// What it has.
        status: PodStatus,
    }
    /// What a pod needs.
    PodSpec {
        /// Where it runs.
        node_name: String,
        /// Labels that its node must have.
        node_selector: Labels,
        /// What it wants near and far.
        affinity: Affinity,
        /// The taints that it bears.
        tolerations: Vec<Toleration>,
        /// How it is spread.
        topology_spread_constraints: Vec<Spread>,
        /// Its containers.
        containers: Vec<Container>,
        /// What runs before them, and beside them.
        init_containers: Vec<Container>,
        /// What all its containers may have together.
        resources: Resources,
        /// What its sandbox takes.
        overhead: Amounts,
        /// Its rank.
        priority: Option<i64>,
        /// The name of its rank.
        priority_class_name: String,
        /// What holds it back.
        scheduling_gates: Vec<Gate>,
        /// What it keeps its data in.
        volumes: Vec<Volume>,
        /// Whether it uses the node's network.
        host_network: bool,
    }
    /// What a pod has.
    PodStatus {
        /// `Pending`, `Running`, `Succeeded`, `Failed`.
        phase: String,
        /// What its conditions say of a resize in place.
        #[serde(rename = "conditions")]
        resize: Resize,
        /// What its containers have.
        container_statuses: Vec<ContainerStatus>,
        /// What its init containers have.
        init_container_statuses: Vec<ContainerStatus>,
    }
    /// One thing that is known of a pod.
    PodCondition {
        /// Which.
        r#type: String,
        /// Why it is so.
        reason: String,
    }
    /// What a container has.
    ContainerStatus {
        /// Its name.
        name: String,
        /// What the node has granted.
        allocated_resources: Amounts,
        /// What is set up.
        resources: Resources,
    }
    /// A container.
    Container {
        /// Its name.
        name: String,
        /// What it needs.
        resources: Resources,
        /// Its ports.
        ports: Vec<Port>,
        /// `Always` for a sidecar.
        restart_policy: String,
    }
    /// Amounts needed and allowed.
    Resources {
        /// Amounts needed.
        requests: Amounts,
        /// Amounts allowed.
        limits: Amounts,
    }
    /// A port of a container.
    Port {
        /// The port inside.
        container_port: i64,
        /// The port of the node.
        host_port: i64,
        /// The address of the node.
        #[serde(rename = "hostIP")]
        host_ip: String,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: String,
    }
    /// What a pod bears.
    Toleration {
        /// Of which key; all when empty.
        key: String,
        /// `Equal`, `Exists`, `Lt` or `Gt`.
        operator: String,
        /// The value.
        value: String,
        /// Of which effect; all when empty.
        effect: String,
        /// For how long it bears `NoExecute`.
        toleration_seconds: Option<i64>,
    }
    /// What holds a pod back from scheduling.
    Gate {
        /// Its name.
        name: String,
    }
    /// What a pod wants near and far.
    Affinity {
        /// Nodes.
        node_affinity: NodeAffinity,
        /// Pods that it wants near.
        pod_affinity: PodAffinity,
        /// Pods that it wants far.
        pod_anti_affinity: PodAffinity,
    }
    /// Wanted nodes.
    NodeAffinity {
        /// Must.
        #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
        required: Option<NodeSelector>,
        /// Should.
        #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
        preferred: Vec<PreferredNodes>,
    }
    /// Any of these terms.
    NodeSelector {
        /// The terms.
        node_selector_terms: Vec<NodeTerm>,
    }
    /// All of these.
    NodeTerm {
        /// On labels.
        match_expressions: Vec<Expression>,
        /// On the name.
        match_fields: Vec<Expression>,
    }
    /// Nodes that are better.
    PreferredNodes {
        /// How much better, 1 to 100.
        weight: i64,
        /// Which.
        preference: NodeTerm,
    }
    /// One condition on labels.
    Expression {
        /// The label.
        key: String,
        /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
        operator: String,
        /// The values.
        values: Vec<String>,
    }
    /// Pods near or far.
    PodAffinity {
        /// Must.
        #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
        required: Vec<PodTerm>,
        /// Should.
        #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
        preferred: Vec<PreferredPods>,
    }
    /// Which pods, and what near means.
    PodTerm {
        /// Which.
        label_selector: Option<LabelSelector>,
        /// Of which namespaces, by name.
        namespaces: Vec<String>,
        /// Of which namespaces, by label.
        namespace_selector: Option<LabelSelector>,
        /// The label of nodes that says what is near.
        topology_key: String,
        /// Labels that must be equal to the pod's own.
        match_label_keys: Vec<String>,
        /// Labels that must differ from the pod's own.
        mismatch_label_keys: Vec<String>,
    }
    /// Pods that are better near or far.
    PreferredPods {
        /// How much, 1 to 100.
        weight: i64,
        /// Which.
        pod_affinity_term: PodTerm,
    }
    /// A selector of labels; empty: all.
    LabelSelector {
        /// Labels and their values.
        match_labels: Labels,
        /// More conditions.
        match_expressions: Vec<Expression>,
    }
    /// How pods are spread.
    Spread {
        /// By how many pods places may differ.
        max_skew: i64,
        /// Among how many places at least.
        min_domains: Option<i64>,
        /// The label that says what a place is.
        topology_key: String,
        /// `DoNotSchedule` or `ScheduleAnyway`.
        when_unsatisfiable: String,
        /// Which pods count.
        label_selector: Option<LabelSelector>,
        /// `Honor` or `Ignore`.
        node_affinity_policy: Option<String>,
        /// `Honor` or `Ignore`.
        node_taints_policy: Option<String>,
        /// Labels that must be equal to the pod's own.
        match_label_keys: Vec<String>,
    }
    /// A volume of a pod.
    Volume {
        /// The claim that it is bound by.
        persistent_volume_claim: Option<ClaimName>,
        /// Made with the pod, and removed with it.
        ephemeral: Option<EphemeralVolume>,
    }
    /// A volume that is made with its pod.
    EphemeralVolume {
        /// The claim that is made for it.
        volume_claim_template: ClaimTemplate,
    }
    /// What a claim is made of.
    ClaimTemplate {
        /// What is claimed.
        spec: ClaimSpec,
    }
    /// The name of a claim.
    ClaimName {
        /// The name.
        claim_name: String,
    }
    /// A claim.
    Claim {
        /// Name and namespace.
        metadata: Metadata,
        /// What is claimed.
        spec: ClaimSpec,
    }
    /// What is claimed.
    ClaimSpec {
        /// The volume that it has got.
        volume_name: String,
        /// The class that a volume is made of.
        storage_class_name: String,
        /// Who may use it.
        access_modes: Vec<String>,
    }
    /// A volume of the cluster.
    PersistentVolume {
        /// Name and labels.
        metadata: Metadata,
        /// Where it is.
        spec: VolumeSpec,
    }
    /// Where a volume is.
    VolumeSpec {
        /// The nodes that reach it.
        node_affinity: VolumeAffinity,
        /// The driver that attaches it.
        csi: Option<CsiSource>,
    }
    /// The nodes that reach a volume.
    VolumeAffinity {
        /// Must.
        required: Option<NodeSelector>,
    }
    /// A volume that a driver attaches.
    CsiSource {
        /// The driver.
        driver: String,
        /// Its name for the volume.
        volume_handle: String,
    }
    /// The drivers of a node.
    CsiNode {
        /// Its name.
        metadata: Metadata,
        /// The drivers.
        spec: CsiNodeSpec,
    }
    /// The drivers of a node.
    CsiNodeSpec {
        /// The drivers.
        drivers: Vec<CsiDriver>,
    }
    /// A driver on a node.
    CsiDriver {
        /// Its name.
        name: String,
        /// How many volumes it attaches.
        allocatable: Option<CsiCount>,
    }
    /// How many volumes a driver attaches.
    CsiCount {
        /// How many; without a limit when absent.
        count: Option<i64>,
    }
    /// A class of volumes.
    StorageClass {
        /// Its name.
        metadata: Metadata,
        /// The driver that makes and attaches its volumes.
        provisioner: String,
        /// `Immediate` or `WaitForFirstConsumer`.
        volume_binding_mode: String,
        /// Where they can be made.
        allowed_topologies: Vec<AllowedTopology>,
    }
    /// Where volumes can be made.
    AllowedTopology {
        /// All of these.
        match_label_expressions: Vec<TopologyValues>,
    }
    /// A label of nodes and its values.
    TopologyValues {
        /// The label.
        key: String,
        /// The values.
        values: Vec<String>,
    }
    /// A namespace.
    Namespace {
        /// Name and labels.
        metadata: Metadata,
    }
    /// A rank.
    PriorityClass {
        /// Its name.
        metadata: Metadata,
        /// The rank.
        value: i64,
        /// Whether pods without a class have it.
        global_default: bool,
    }
    /// How many pods of a kind may be away at once.
    DisruptionBudget {
        /// Name and namespace.
        metadata: Metadata,
        /// Which pods.
        spec: BudgetSpec,
        /// How many now.
        status: BudgetStatus,
    }
    /// Which pods a budget is for.
    BudgetSpec {
        /// Which.
        selector: Option<LabelSelector>,
    }
    /// How many pods may be away now.
    BudgetStatus {
        /// How many.
        disruptions_allowed: i64,
    }
}

impl Node {
    /// Whether it is ready. One whose condition is not there is taken to be, as lists of objects are often cut to
    /// what somebody needed.
    pub fn is_ready(&self) -> bool {
        let condition = self.status.conditions.iter().find(|c| c.r#type == "Ready");
        condition.is_none_or(|c| c.status == "True")
    }
}

impl ContainerStatus {
    /// Whether the container has what it asks for, as far as this says: nearly always.
    pub fn is_as_asked(&self, containers: &[Container]) -> bool {
        let asked = containers.iter().find(|c| c.name == self.name).map(|c| &c.resources.requests);
        let has = [&self.resources.requests, &self.allocated_resources];
        has.iter().all(|has| has.is_empty() || Some(*has) == asked)
    }
}

/// What the conditions of a pod say of a resize in place; nothing else of them is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Resize {
    /// The node can never give what the pod asks for by now.
    pub is_infeasible: bool,
}

impl<'de> Deserialize<'de> for Resize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Resize;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of conditions")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Resize, A::Error> {
                // Of several the first counts.
                let mut pending = None;
                while let Some(one) = list.next_element::<PodCondition>()? {
                    if one.r#type == "PodResizePending" {
                        pending.get_or_insert(one.reason == "Infeasible");
                    }
                }
                Ok(Resize { is_infeasible: pending.unwrap_or(false) })
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}
