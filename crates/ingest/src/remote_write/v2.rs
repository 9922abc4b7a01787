//! Requests of Prometheus' remote write 2.0.
//!
//! A series is named by numbers of symbols, which mean something in this message only. So each symbol
//! is hashed once, and a series is found by the hashes of its symbols one after the other.
//!
//! As with Prometheus what is wrong with a series, a sample or an exemplar is told to the sender
//! while the rest is stored.

use std::{ops::Range, sync::Arc};

use vedette_model::{Exemplar, Labels, METRIC_NAME, MetricKind, MetricMetadata};
use vedette_wire::remote_write::{
    DecodeError,
    v2::{Field, Item, MetadataMessage, Request, SeriesMessage},
};

use super::{decompress, labels};
use crate::{
    Config,
    intake::{Histogram, Names, Passage, Scratch, WriteError, Written},
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
    passage.outcome.tells_late_exemplars = true;
    let message = std::mem::take(&mut scratch.message);
    let result = store(passage, scratch, &message[..length]);
    scratch.message = message;
    result
}

fn store(passage: &mut Passage<'_>, scratch: &mut Scratch, message: &[u8]) -> Result<Written, WriteError> {
    walk(passage, scratch, message).map_err(|e| WriteError::Malformed(e.to_string()))?;
    let [symbols, places] = [&mut scratch.symbols, &mut scratch.places].map(std::mem::take);
    let refs = std::mem::take(&mut scratch.refs);
    let names = SymbolNames { symbols: Symbols { message, places: &symbols }, refs: &refs, places: &places };
    let result = passage.store(scratch, &names);
    (scratch.symbols, scratch.places, scratch.refs) = (symbols, places, refs);
    result
}

/// The table of a message.
#[derive(Clone, Copy)]
struct Symbols<'a> {
    message: &'a [u8],
    places: &'a [Range<u32>],
}

impl<'a> Symbols<'a> {
    fn get(&self, number: u32) -> Option<&'a [u8]> {
        let Range { start, end } = *self.places.get(number as usize)?;
        self.message.get(start as usize..end as usize)
    }

    fn text(&self, number: u32) -> Result<&'a str, String> {
        let symbol = self.get(number).ok_or_else(|| {
            format!("names the symbol {number}, and the request has {} of them", self.places.len())
        })?;
        std::str::from_utf8(symbol)
            .map_err(|_| format!("names the symbol {number}, which is not valid UTF-8"))
    }
}

/// Series that are named by numbers of symbols.
struct SymbolNames<'a> {
    symbols: Symbols<'a>,
    refs: &'a [u32],
    places: &'a [Range<u32>],
}

impl Names for SymbolNames<'_> {
    fn labels(&self, config: &Config, series: usize) -> Result<Labels, String> {
        let Range { start, end } = self.places[series];
        let pairs = pairs(self.symbols, &self.refs[start as usize..end as usize])
            .map_err(|error| format!("a series {error}"))?;
        labels::check(config, pairs)
    }
}

/// Names and values.
fn pairs<'a>(symbols: Symbols<'a>, refs: &[u32]) -> Result<Vec<(&'a str, &'a str)>, String> {
    let (pairs, rest) = refs.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(format!("has {} numbers for its labels, which is no even number", refs.len()));
    }
    pairs.iter().map(|[name, value]| Ok((symbols.text(*name)?, symbols.text(*value)?))).collect()
}

/// Notes everything that the message says.
fn walk(passage: &mut Passage<'_>, scratch: &mut Scratch, message: &[u8]) -> Result<(), DecodeError> {
    for item in Request::new(message) {
        match item? {
            Item::Symbol(text) => {
                let Range { start, end } = text.range();
                scratch.symbols.push(start as u32..end as u32);
                scratch.symbol_hashes.push(passage.cache.hash(text.bytes()).to_le_bytes());
            }
            Item::Series(series) => {
                let Range { start, end } = series.range();
                scratch.messages.push(start as u32..end as u32);
            }
        }
    }
    let symbols = std::mem::take(&mut scratch.symbols);
    let messages = std::mem::take(&mut scratch.messages);
    let table = Symbols { message, places: &symbols };
    let name_symbol = (0..).zip(&symbols).find(|(n, _)| table.get(*n) == Some(METRIC_NAME.as_bytes()));
    let mut walk = Walk { symbols: table, name_symbol: name_symbol.map(|(n, _)| n), told: None };
    let result = messages.iter().try_for_each(|range| {
        let series = SeriesMessage::at(message, range.start as usize..range.end as usize);
        walk.series(passage, scratch, series)
    });
    (scratch.symbols, scratch.messages) = (symbols, messages);
    result
}

/// What the series of a message have in common.
struct Walk<'a> {
    symbols: Symbols<'a>,
    /// The symbol that says `__name__`.
    name_symbol: Option<u32>,
    /// The metric that was looked at last, and what was told of it: neighbours are mostly of one family.
    told: Option<(u32, MetadataMessage)>,
}

impl Walk<'_> {
    fn series(
        &mut self,
        passage: &mut Passage<'_>,
        scratch: &mut Scratch,
        series: SeriesMessage<'_>,
    ) -> Result<(), DecodeError> {
        let number = scratch.keys.len() as u32;
        let begin = scratch.refs.len();
        let (samples, histograms) = (scratch.samples.len(), scratch.histograms.len());
        let (exemplars, mut refused, mut metadata) = (scratch.exemplars.len(), 0, None);
        for field in series.fields() {
            match field? {
                Field::Labels(refs) => {
                    for number in refs {
                        scratch.refs.push(number?);
                    }
                }
                Field::Sample(s) => scratch.push_sample(number, s.time_ms, s.value, s.start_ms),
                Field::Histogram(message) => {
                    let decoded = message.decode_with_start()?;
                    match decoded.histogram.and_then(|h| h.validate().map(|()| h)) {
                        Ok(histogram) => scratch.histograms.push(Histogram {
                            series: number,
                            time_ms: decoded.time_ms,
                            start_ms: decoded.start_ms,
                            histogram: Arc::new(histogram),
                        }),
                        Err(error) => {
                            refused += 1;
                            passage.outcome.refuse_for(Reason::Histogram, 1, &error);
                        }
                    }
                }
                Field::Exemplar(exemplar) => {
                    let mut refs = Vec::new();
                    exemplar.labels(&mut refs)?;
                    match pairs(self.symbols, &refs) {
                        Ok(pairs) => {
                            let labels = Labels::from_pairs(pairs);
                            let (value, time_ms) = (exemplar.value, exemplar.time_ms);
                            scratch.exemplars.push((number, Exemplar { labels, value, time_ms }));
                        }
                        Err(error) => {
                            passage.outcome.refused_exemplars += 1;
                            passage.outcome.find_fault(&format_args!("an exemplar {error}"));
                        }
                    }
                }
                Field::Metadata(told) => metadata = Some(told),
            }
        }
        let points = scratch.samples.len() - samples + scratch.histograms.len() - histograms;
        if let Some(key) = self.name(passage, scratch, begin) {
            if points + refused == 0 {
                passage.outcome.find_fault(&"a series has neither a sample nor a histogram");
            }
            scratch.keys.push(key);
            scratch.places.push(begin as u32..scratch.refs.len() as u32);
            if let Some(metadata) = metadata {
                self.tell(passage, scratch, begin, metadata);
            }
            return Ok(());
        }
        let error = pairs(self.symbols, &scratch.refs[begin..]).err().unwrap_or_default();
        passage.outcome.refuse_for(Reason::Labels, points as u64, &format_args!("a series {error}"));
        passage.outcome.refused_exemplars += (scratch.exemplars.len() - exemplars) as u64;
        scratch.refs.truncate(begin);
        scratch.samples.truncate(samples);
        scratch.histograms.truncate(histograms);
        scratch.exemplars.truncate(exemplars);
        if points == 0 {
            passage.outcome.find_fault(&"a series has neither labels nor samples that can be understood");
        }
        Ok(())
    }

    /// By what the series is found whose numbers begin there; `None` where they name no symbols.
    fn name(
        &self,
        passage: &Passage<'_>,
        scratch: &mut Scratch,
        begin: usize,
    ) -> Option<crate::series_cache::Key> {
        let Scratch { refs, symbol_hashes, name_bytes, .. } = scratch;
        let refs = &refs[begin..];
        if refs.len() % 2 != 0 {
            return None;
        }
        name_bytes.clear();
        for number in refs {
            name_bytes.extend_from_slice(symbol_hashes.get(*number as usize)?);
        }
        Some(passage.cache.key(name_bytes))
    }

    /// Notes metadata that was not told before.
    fn tell(
        &mut self,
        passage: &mut Passage<'_>,
        scratch: &mut Scratch,
        begin: usize,
        metadata: MetadataMessage,
    ) {
        let MetadataMessage { kind, help, unit } = metadata;
        if kind == MetricKind::Unknown && help == 0 && unit == 0 {
            return;
        }
        let named = scratch.refs[begin..].as_chunks::<2>().0.iter();
        let Some(name) = named.into_iter().find(|pair| Some(pair[0]) == self.name_symbol).map(|p| p[1])
        else {
            return;
        };
        if self.told.replace((name, metadata)) == Some((name, metadata)) {
            return;
        }
        let mut hash = [0; 56];
        for (part, number) in hash.as_chunks_mut::<16>().0.iter_mut().zip([name, help, unit]) {
            match scratch.symbol_hashes.get(number as usize) {
                Some(symbol) => *part = *symbol,
                None => {
                    let all = self.symbols.places.len();
                    let error =
                        format!("metadata names the symbol {number}, and the request has {all} of them");
                    return passage.outcome.find_fault(&error);
                }
            }
        }
        hash[48] = kind as u8;
        if passage.is_told(scratch, passage.cache.hash(&hash) as u64) {
            return;
        }
        let texts = [name, help, unit].map(|number| self.symbols.text(number));
        let [Ok(name), Ok(help), Ok(unit)] = texts else {
            return passage.outcome.find_fault(&"metadata is not valid UTF-8");
        };
        let family = family(name, kind).to_owned();
        scratch.metadata.push(MetricMetadata { family, kind, unit: unit.to_owned(), help: help.to_owned() });
    }
}

/// The family that a series of a classic histogram or a summary belongs to.
fn family(name: &str, kind: MetricKind) -> &str {
    let suffixes: &[&str] = match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => {
            &["_bucket", "_count", "_sum", "_gcount", "_gsum"]
        }
        MetricKind::Summary => &["_count", "_sum"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

#[cfg(test)]
mod tests;
