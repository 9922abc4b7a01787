//! The section `alerting`: where alerts go, and what becomes of their labels on the way.

use std::time::Duration;

use vedette_model::{NameScheme, RelabelRule};

use crate::{
    HttpClient,
    discovery::{self, Discovery},
    fields::{Fields, Result},
    relabel,
};

use super::remote::{CloudAuth, cloud_auth};

/// Where alerts go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alerting {
    /// Rules for alerts on their way to all.
    pub alert_relabel: Vec<RelabelRule>,
    /// Groups of Alertmanagers; each takes all alerts.
    pub alertmanagers: Vec<Alertmanager>,
}

/// A group of Alertmanagers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alertmanager {
    /// Where they come from.
    pub discoveries: Vec<Discovery>,
    /// How they are reached.
    pub client: HttpClient,
    /// A signature that a cloud asks for.
    pub cloud_auth: Option<CloudAuth>,
    /// The scheme of their URL.
    pub scheme: String,
    /// What stands before the path of the API.
    pub path_prefix: String,
    /// How long sending may take.
    pub timeout: Duration,
    /// Rules that choose among them.
    pub relabel: Vec<RelabelRule>,
    /// Rules for alerts on their way to these.
    pub alert_relabel: Vec<RelabelRule>,
}

impl Alerting {
    pub(super) fn read(fields: &mut Fields<'_>, scheme: NameScheme) -> Result<Self> {
        let rule = "an alert relabeling rule";
        Ok(Self {
            alert_relabel: relabel::rules(fields, "alert_relabel_configs", rule, scheme)?,
            alertmanagers: fields
                .list("alertmanagers", "an Alertmanager config", |f| Alertmanager::read(f, scheme))?,
        })
    }
}

impl Alertmanager {
    fn read(fields: &mut Fields<'_>, scheme: NameScheme) -> Result<Self> {
        let discoveries = discovery::read(fields)?;
        let mut client = HttpClient::read(fields)?;
        let cloud_auth = cloud_auth(fields, &["sigv4"], &mut client)?;
        fields.word("api_version", "v2", &["v2"])?;
        let known = "an Alertmanager target relabeling rule";
        let relabel = relabel::rules(fields, "relabel_configs", known, scheme)?;
        if relabel.is_empty() {
            discovery::check_static_addresses(fields, &discoveries)?;
        }
        let known = "an Alertmanager alert relabeling rule";
        Ok(Self {
            discoveries,
            client,
            cloud_auth,
            scheme: fields.text_or("scheme", "http")?,
            path_prefix: fields.text_or("path_prefix", "")?,
            timeout: fields.duration("timeout", Duration::from_secs(10))?,
            relabel,
            alert_relabel: relabel::rules(fields, "alert_relabel_configs", known, scheme)?,
        })
    }
}
