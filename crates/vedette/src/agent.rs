//! What `vedette agent` has not: a store and rules. The server refuses what needs them
//! before anybody is asked, as Prometheus' agent does; what is known of metric families is told.

use std::sync::Arc;

use vedette_api::Judgement;
use vedette_model::{
    Finding, HeadFigures, LabelQuery, Labels, MetricMetadata, MetricReader, ReadError, SegmentFigures,
    Select, SeriesSet, StoreFigures,
};
use vedette_remote::Spool;
use vedette_wire::prometheus::RuleGroup;

/// The store that an agent has not.
pub struct Unkept(pub Arc<Spool>);

const WHY: &str = "an agent sends samples on and keeps none; ask the server that they are sent to";

fn unavailable() -> ReadError {
    let source = std::io::Error::new(std::io::ErrorKind::Unsupported, WHY);
    ReadError::Io { place: format!("series: unavailable in agent mode; {WHY}"), source }
}

impl MetricReader for Unkept {
    fn select(&self, _: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        Err(unavailable())
    }

    fn label_names(&self, _: &LabelQuery) -> Result<Vec<String>, ReadError> {
        Err(unavailable())
    }

    fn label_values(&self, _: &str, _: &LabelQuery) -> Result<Vec<String>, ReadError> {
        Err(unavailable())
    }

    fn series(&self, _: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        Err(unavailable())
    }

    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata> {
        let all = match family {
            Some(family) => self.0.metadata(family).into_iter().collect(),
            None => self.0.all_metadata(),
        };
        let limit = if limit == 0 { usize::MAX } else { limit };
        all.iter().take(limit).map(|told| MetricMetadata::clone(told)).collect()
    }
}

impl StoreFigures for Unkept {
    fn head_figures(&self, _: usize) -> HeadFigures {
        HeadFigures::default()
    }

    fn segment_figures(&self) -> Vec<SegmentFigures> {
        Vec::new()
    }
}

impl Judgement for Unkept {
    fn rule_groups(&self) -> Vec<RuleGroup> {
        Vec::new()
    }

    fn findings(&self) -> Vec<Finding> {
        Vec::new()
    }
}
