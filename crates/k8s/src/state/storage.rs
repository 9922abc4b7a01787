//! Persistent volumes, claims to them, storage classes and volume attachments.

use super::{
    Family, Head, Rows, Stateful,
    common::{annotations, created, deleted, gauge, labels},
    conditions,
};
use crate::objects::{Object, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttachment};

/// How the class of a claim was told before there was a field for it; it still counts more.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

impl Stateful for PersistentVolume {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_persistentvolume_annotations"),
        labels("kube_persistentvolume_labels"),
        gauge("kube_persistentvolume_access_mode", "How it can be mounted.", |object: &Self, rows| {
            for mode in &object.spec.access_modes {
                rows.row(&[("access_mode", mode)], 1.0);
            }
        }),
        gauge("kube_persistentvolume_capacity_bytes", "How much fits in.", |object: &Self, rows| {
            rows.row(&[], object.spec.capacity.get("storage").unwrap_or(0.0).ceil());
        }),
        gauge("kube_persistentvolume_claim_ref", "Whose it is.", |object: &Self, rows| {
            if let Some(claim) = &object.spec.claim_ref {
                rows.row(&[("name", &claim.name), ("claim_namespace", &claim.namespace)], 1.0);
            }
        }),
        created("kube_persistentvolume_created"),
        deleted("kube_persistentvolume_deletion_timestamp"),
        gauge("kube_persistentvolume_info", "Where the files are.", volume_info),
        gauge("kube_persistentvolume_status_phase", "Whether it is in use.", |object: &Self, rows| {
            let phase = &*object.status.phase;
            if !phase.is_empty() {
                let phases = ["Pending", "Available", "Bound", "Released", "Failed"];
                rows.states("phase", &phases, |state| state == phase);
            }
        }),
        gauge(
            "kube_persistentvolume_volume_mode",
            "Whether it has files or blocks.",
            |object: &Self, rows| {
                rows.row(&[("volumemode", object.spec.volume_mode.as_deref().unwrap_or("Filesystem"))], 1.0);
            },
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("persistentvolume", &self.meta().name);
    }
}

/// The labels of all kinds of places; those of other kinds are empty.
#[derive(Default)]
struct Place<'a> {
    gce_disk: &'a str,
    ebs_volume: &'a str,
    azure_disk: &'a str,
    fc_wwids: &'a str,
    fc_lun: &'a str,
    fc_target_wwns: &'a str,
    iscsi_portal: &'a str,
    iscsi_iqn: &'a str,
    iscsi_lun: &'a str,
    iscsi_initiator: &'a str,
    nfs_server: &'a str,
    nfs_path: &'a str,
    csi_driver: &'a str,
    csi_handle: &'a str,
    local_path: &'a str,
    local_fs: &'a str,
    host_path: &'a str,
    host_path_type: &'a str,
}

fn volume_info(volume: &PersistentVolume, rows: &mut Rows<'_>) {
    let spec = &volume.spec;
    let mut place = Place::default();
    let (lun, wwids, wwns);
    if let Some(disk) = &spec.gce_persistent_disk {
        place.gce_disk = &disk.pd_name;
    } else if let Some(disk) = &spec.aws_elastic_block_store {
        place.ebs_volume = &disk.volume_id;
    } else if let Some(disk) = &spec.azure_disk {
        place.azure_disk = &disk.disk_name;
    } else if let Some(fc) = &spec.fc {
        lun = fc.lun.map(|lun| lun.to_string()).unwrap_or_default();
        (wwids, wwns) = (fc.wwids.join(","), fc.target_wwns.join(","));
        (place.fc_lun, place.fc_wwids, place.fc_target_wwns) = (&lun, &wwids, &wwns);
    } else if let Some(iscsi) = &spec.iscsi {
        lun = iscsi.lun.to_string();
        (place.iscsi_portal, place.iscsi_iqn) = (&iscsi.target_portal, &iscsi.iqn);
        (place.iscsi_lun, place.iscsi_initiator) = (&lun, &iscsi.initiator_name);
    } else if let Some(nfs) = &spec.nfs {
        (place.nfs_server, place.nfs_path) = (&nfs.server, &nfs.path);
    } else if let Some(csi) = &spec.csi {
        (place.csi_driver, place.csi_handle) = (&csi.driver, &csi.volume_handle);
    } else if let Some(local) = &spec.local {
        (place.local_path, place.local_fs) = (&local.path, &local.fs_type);
    } else if let Some(host) = &spec.host_path {
        (place.host_path, place.host_path_type) = (&host.path, &host.kind);
    }
    rows.row(
        &[
            ("storageclass", &spec.storage_class_name),
            ("gce_persistent_disk_name", place.gce_disk),
            ("ebs_volume_id", place.ebs_volume),
            ("azure_disk_name", place.azure_disk),
            ("fc_wwids", place.fc_wwids),
            ("fc_lun", place.fc_lun),
            ("fc_target_wwns", place.fc_target_wwns),
            ("iscsi_target_portal", place.iscsi_portal),
            ("iscsi_iqn", place.iscsi_iqn),
            ("iscsi_lun", place.iscsi_lun),
            ("iscsi_initiator_name", place.iscsi_initiator),
            ("nfs_server", place.nfs_server),
            ("nfs_path", place.nfs_path),
            ("csi_driver", place.csi_driver),
            ("csi_volume_handle", place.csi_handle),
            ("local_path", place.local_path),
            ("local_fs", place.local_fs),
            ("host_path", place.host_path),
            ("host_path_type", place.host_path_type),
            ("reclaim_policy", &spec.persistent_volume_reclaim_policy),
        ],
        1.0,
    );
}

impl Stateful for PersistentVolumeClaim {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_persistentvolumeclaim_annotations"),
        labels("kube_persistentvolumeclaim_labels"),
        gauge("kube_persistentvolumeclaim_access_mode", "How it is to be mounted.", |object: &Self, rows| {
            for mode in &object.spec.access_modes {
                rows.row(&[("access_mode", mode)], 1.0);
            }
        }),
        created("kube_persistentvolumeclaim_created"),
        deleted("kube_persistentvolumeclaim_deletion_timestamp"),
        gauge("kube_persistentvolumeclaim_info", "Which volume it has.", |object: &Self, rows| {
            let spec = &object.spec;
            let class = object.meta().annotations.get(CLASS_ANNOTATION).unwrap_or(&spec.storage_class_name);
            let labels = [
                ("storageclass", class),
                ("volumename", &*spec.volume_name),
                ("volumemode", &*spec.volume_mode),
            ];
            rows.row(&labels, 1.0);
        }),
        gauge(
            "kube_persistentvolumeclaim_resource_requests_storage_bytes",
            "How much is asked for.",
            |object: &Self, rows| {
                if let Some(bytes) = object.spec.resources.requests.get("storage") {
                    rows.row(&[], bytes.ceil());
                }
            },
        ),
        gauge(
            "kube_persistentvolumeclaim_status_condition",
            "What holds of the claim.",
            |object: &Self, rows| conditions(&object.status.conditions, rows),
        ),
        gauge(
            "kube_persistentvolumeclaim_status_phase",
            "Whether it has a volume.",
            |object: &Self, rows| {
                let phase = &*object.status.phase;
                if !phase.is_empty() {
                    rows.states("phase", &["Lost", "Bound", "Pending"], |state| state == phase);
                }
            },
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("persistentvolumeclaim", &self.meta().name);
    }
}

impl Stateful for StorageClass {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_storageclass_annotations"),
        labels("kube_storageclass_labels"),
        created("kube_storageclass_created"),
        gauge(
            "kube_storageclass_info",
            "How volumes are made and what becomes of them.",
            |object: &Self, rows| {
                rows.row(
                    &[
                        ("provisioner", &object.provisioner),
                        ("reclaim_policy", object.reclaim_policy.as_deref().unwrap_or("Delete")),
                        ("volume_binding_mode", object.volume_binding_mode.as_deref().unwrap_or("Immediate")),
                    ],
                    1.0,
                );
            },
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("storageclass", &self.meta().name);
    }
}

impl Stateful for VolumeAttachment {
    const FAMILIES: &'static [Family<Self>] = &[
        labels("kube_volumeattachment_labels"),
        created("kube_volumeattachment_created"),
        gauge("kube_volumeattachment_info", "Who attaches it to which machine.", |object: &Self, rows| {
            rows.row(&[("attacher", &object.spec.attacher), ("node", &object.spec.node_name)], 1.0);
        }),
        gauge(
            "kube_volumeattachment_spec_source_persistentvolume",
            "Which volume it is about.",
            |object: &Self, rows| {
                if let Some(name) = &object.spec.source.persistent_volume_name {
                    rows.row(&[("volumename", name)], 1.0);
                }
            },
        ),
        gauge("kube_volumeattachment_status_attached", "Whether it is attached.", |object: &Self, rows| {
            rows.row(&[], f64::from(object.status.attached));
        }),
        gauge(
            "kube_volumeattachment_status_attachment_metadata",
            "What its driver says of it.",
            |object: &Self, rows| rows.named("metadata_", object.status.attachment_metadata.iter()),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("volumeattachment", &self.meta().name);
    }
}
