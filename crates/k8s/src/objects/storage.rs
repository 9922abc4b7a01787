//! Volumes, claims to them, and how they come to be.

use super::{
    Condition, Pairs, Resource,
    lenient::{Amounts, objects, parts},
};

const fn storage(plural: &'static str) -> Resource {
    Resource { group: "storage.k8s.io", is_namespaced: false, ..Resource::core(plural) }
}

objects! {
    /// A place for files that outlives pods.
    PersistentVolume at Resource { is_namespaced: false, ..Resource::core("persistentvolumes") } => {
        spec: VolumeSpec,
        status: VolumeStatus,
    }

    /// Asks for a volume.
    PersistentVolumeClaim at Resource::core("persistentvolumeclaims") => {
        spec: ClaimSpec,
        status: ClaimStatus,
    }

    /// How volumes of one sort are made.
    StorageClass at storage("storageclasses") => {
        provisioner: Box<str>,
        reclaim_policy: Option<Box<str>>,
        volume_binding_mode: Option<Box<str>>,
    }

    /// A volume is to be at a machine.
    VolumeAttachment at storage("volumeattachments") => {
        spec: AttachmentSpec,
        status: AttachmentStatus,
    }
}

parts! {
    VolumeSpec {
        capacity: Amounts,
        access_modes: Box<[Box<str>]>,
        claim_ref: Option<ClaimRef>,
        persistent_volume_reclaim_policy: Box<str>,
        storage_class_name: Box<str>,
        volume_mode: Option<Box<str>>,
        // Where the files are: one of these.
        gce_persistent_disk: Option<Box<GceDisk>>,
        aws_elastic_block_store: Option<Box<AwsDisk>>,
        azure_disk: Option<Box<AzureDisk>>,
        fc: Option<Box<FibreChannel>>,
        iscsi: Option<Box<Iscsi>>,
        nfs: Option<Box<Nfs>>,
        csi: Option<Box<Csi>>,
        local: Option<Box<Local>>,
        host_path: Option<Box<HostPath>>,
    }

    ClaimRef {
        namespace: Box<str>,
        name: Box<str>,
    }

    GceDisk {
        pd_name: Box<str>,
    }

    AwsDisk {
        #[serde(rename = "volumeID")]
        volume_id: Box<str>,
    }

    AzureDisk {
        disk_name: Box<str>,
    }

    FibreChannel {
        #[serde(rename = "targetWWNs")]
        target_wwns: Box<[Box<str>]>,
        lun: Option<i64>,
        wwids: Box<[Box<str>]>,
    }

    Iscsi {
        target_portal: Box<str>,
        iqn: Box<str>,
        lun: i64,
        initiator_name: Box<str>,
    }

    Nfs {
        server: Box<str>,
        path: Box<str>,
    }

    Csi {
        driver: Box<str>,
        volume_handle: Box<str>,
    }

    Local {
        path: Box<str>,
        fs_type: Box<str>,
    }

    HostPath {
        path: Box<str>,
        #[serde(rename = "type")]
        kind: Box<str>,
    }

    VolumeStatus {
        phase: Box<str>,
    }

    ClaimSpec {
        access_modes: Box<[Box<str>]>,
        resources: ClaimResources,
        storage_class_name: Box<str>,
        volume_mode: Box<str>,
        volume_name: Box<str>,
    }

    ClaimResources {
        requests: Amounts,
    }

    ClaimStatus {
        phase: Box<str>,
        conditions: Box<[Condition]>,
    }

    AttachmentSpec {
        attacher: Box<str>,
        node_name: Box<str>,
        source: AttachmentSource,
    }

    AttachmentSource {
        persistent_volume_name: Option<Box<str>>,
    }

    AttachmentStatus {
        attached: bool,
        attachment_metadata: Pairs,
    }
}
