//! Scraping: which targets there are, when each is asked, and which of its series are gone.
//!
//! Everything here is synchronous and deterministic: time, files and the answers of others are
//! handed in. [`discovery`] turns what sources say into groups of targets and keeps the last good
//! ones where a source fails; a [`Pool`] makes the targets of one job from them; a [`Schedule`]
//! spreads their scrapes over the interval; a [`SeriesCache`] knows the series of a target from scrape
//! to scrape. Where samples go, and Kubernetes, are the business of others.

pub mod discovery;
mod negotiation;
mod pool;
mod sample_labels;
mod schedule;
mod series_cache;
mod target;

pub use negotiation::request_headers;
pub use pool::{Change, Dropped, Pool};
pub use sample_labels::{SeriesError, report_labels, sample_labels};
pub use schedule::Schedule;
pub use series_cache::SeriesCache;
pub use target::{Target, TargetError, TargetId};
