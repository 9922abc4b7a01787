//! What is done with scraped series.

use vedette_collector::scrape::{Features, StartTimes};

use super::{Error, Scrape};

/// Checks what is written.
pub(super) fn features(place: &str, written: &Scrape) -> Result<Features, Error> {
    let start_times = match written.start_timestamps.as_deref() {
        None | Some("ignore") => StartTimes::Ignored,
        Some("zero") => StartTimes::ZeroSamples,
        Some("store") => StartTimes::Stored,
        Some(other) => {
            let place = format!("{place}.start_timestamps");
            return Err(Error::Value {
                place,
                reason: format!("{other:?} is none of ignore, zero and store"),
            });
        }
    };
    Ok(Features { start_times, type_and_unit_labels: written.type_and_unit_labels })
}
