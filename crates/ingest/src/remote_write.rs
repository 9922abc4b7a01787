//! Requests of Prometheus' remote write 1.0, and of 2.0 in [`v2`].
//!
//! A message of 1.0 names each series by the bytes of its labels, by whose hash the series is found.
//! What is wrong with the message as such costs the sender the whole request; nothing of it is stored.

pub(crate) mod labels;
pub(crate) mod v2;

use std::{ops::Range, sync::Arc};

use vedette_model::{Exemplar, Labels};
use vedette_wire::remote_write::{DecodeError, ExemplarMessage, Item, Point, Request, SeriesMessage};

use crate::{
    Config,
    intake::{Histogram, Names, Passage, Sample, Scratch, WriteError, Written},
    metrics::Reason,
};

/// Takes the body of a request.
pub(crate) fn take(
    passage: &mut Passage<'_>,
    scratch: &mut Scratch,
    body: &[u8],
) -> Result<Written, WriteError> {
    let length = decompress(body, passage.stores.config.message_bytes_max, &mut scratch.message)?;
    passage.stores.metrics.message_bytes.add(length as u64);
    let message = std::mem::take(&mut scratch.message);
    let result = store(passage, scratch, &message[..length]);
    scratch.message = message;
    result
}

/// Series that are named by the bytes of their labels.
pub(crate) struct LabelBytes<'a> {
    pub message: &'a [u8],
    pub places: &'a [Range<u32>],
}

impl<'a> LabelBytes<'a> {
    fn of(&self, series: usize) -> &'a [u8] {
        let Range { start, end } = self.places[series];
        &self.message[start as usize..end as usize]
    }
}

impl Names for LabelBytes<'_> {
    fn labels(&self, config: &Config, series: usize) -> Result<Labels, String> {
        labels::read(config, self.of(series))
    }
}

fn store(passage: &mut Passage<'_>, scratch: &mut Scratch, message: &[u8]) -> Result<Written, WriteError> {
    if !walk_guessing(passage, scratch, message) {
        // A series that only looked as if it ended with a sample, or something is wrong.
        passage.forget(scratch);
        walk(passage, scratch, Request::new(message)).map_err(|e| WriteError::Malformed(e.to_string()))?;
    }
    let places = std::mem::take(&mut scratch.places);
    let result = passage.store(scratch, &LabelBytes { message, places: &places });
    scratch.places = places;
    result
}

/// Walks the message the quick way; gives whether all of it was understood rightly.
fn walk_guessing(passage: &mut Passage<'_>, scratch: &mut Scratch, message: &[u8]) -> bool {
    if walk(passage, scratch, Request::guessing(message)).is_err() {
        return false;
    }
    passage.look_up(scratch);
    let names = LabelBytes { message, places: &scratch.places };
    scratch.misses.iter().all(|&number| SeriesMessage::has_whole_labels(names.of(number as usize)))
}

/// Notes everything that the message says.
fn walk(passage: &mut Passage<'_>, scratch: &mut Scratch, request: Request<'_>) -> Result<(), DecodeError> {
    for item in request {
        match item? {
            Item::Series(series) => walk_series(passage, scratch, series)?,
            Item::Metadata(metadata) => scratch.metadata.push(metadata),
        }
    }
    Ok(())
}

#[inline]
fn walk_series(
    passage: &mut Passage<'_>,
    scratch: &mut Scratch,
    series: SeriesMessage<'_>,
) -> Result<(), DecodeError> {
    let label_bytes = series.label_bytes();
    let begin = series.position();
    let number = scratch.keys.len() as u32;
    scratch.keys.push(passage.cache.key(label_bytes));
    scratch.places.push(begin as u32..(begin + label_bytes.len()) as u32);
    for point in series.points() {
        match point? {
            Point::Sample { time_ms, value } => {
                scratch.samples.push(Sample { time_ms, value, series: number, start: 0 });
            }
            Point::Histogram(message) => {
                let (time_ms, histogram) = message.decode()?;
                match histogram.and_then(|h| h.validate().map(|()| h)) {
                    Ok(histogram) => {
                        let histogram = Arc::new(histogram);
                        scratch.histograms.push(Histogram {
                            series: number,
                            time_ms,
                            start_ms: 0,
                            histogram,
                        });
                    }
                    Err(error) => passage.outcome.refuse_for(Reason::Histogram, 1, &error),
                }
            }
            // As with Prometheus a request is not refused for the sake of an exemplar.
            Point::Exemplar(message) => match decode_exemplar(message) {
                Ok(exemplar) => scratch.exemplars.push((number, exemplar)),
                Err(_) => passage.outcome.refused_exemplars += 1,
            },
        }
    }
    Ok(())
}

fn decode_exemplar(message: ExemplarMessage<'_>) -> Result<Exemplar, DecodeError> {
    let pairs: Vec<_> = message.labels().collect::<Result<_, _>>()?;
    let labels = Labels::from_pairs(pairs);
    Ok(Exemplar { labels, value: message.value, time_ms: message.time_ms })
}

/// Undoes the compression into the beginning of `message`; gives how long that is.
pub(crate) fn decompress(body: &[u8], bytes_max: usize, message: &mut Vec<u8>) -> Result<usize, WriteError> {
    let malformed =
        |e: snap::Error| WriteError::Malformed(format!("the body is not in Snappy's block format: {e}"));
    let length = snap::raw::decompress_len(body).map_err(malformed)?;
    if length > bytes_max {
        return Err(WriteError::TooLarge(format!(
            "the request has {length} bytes when its compression is undone, more than {bytes_max}; send fewer \
             samples at a time"
        )));
    }
    if message.len() < length {
        message.resize(length, 0);
    }
    snap::raw::Decoder::new().decompress(body, &mut message[..length]).map_err(malformed)
}

#[cfg(test)]
pub(crate) mod tests;
