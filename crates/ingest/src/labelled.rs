//! Series of protocols that do not write labels as remote write does: their labels are written so here,
//! and then they are found as those of remote write are.

use vedette_model::LabelsBuilder;
use vedette_wire::remote_write::push_labels;

use crate::{
    intake::{Passage, Scratch, WriteError, Written},
    remote_write::LabelBytes,
};

/// Series of one request.
pub(crate) struct Labelled<'a, 'p> {
    pub passage: &'a mut Passage<'p>,
    pub scratch: &'a mut Scratch,
    buffer: Vec<u8>,
    is_too_large: bool,
}

impl<'a, 'p> Labelled<'a, 'p> {
    pub fn new(passage: &'a mut Passage<'p>, scratch: &'a mut Scratch) -> Self {
        scratch.message.clear();
        Self { passage, scratch, buffer: Vec::new(), is_too_large: false }
    }

    /// Adds a series; `None` where the request has become too large, which is told at its end.
    pub fn series(&mut self, labels: &LabelsBuilder) -> Option<u32> {
        let Scratch { message, places, keys, .. } = &mut *self.scratch;
        let begin = message.len();
        push_labels(message, &mut self.buffer, labels.iter());
        if message.len() > self.passage.stores.config.message_bytes_max {
            // Attributes of a resource and tags of a line are repeated in each of their series.
            self.is_too_large = true;
            message.truncate(begin);
            return None;
        }
        keys.push(self.passage.cache.key(&message[begin..]));
        places.push(begin as u32..message.len() as u32);
        Some(keys.len() as u32 - 1)
    }

    /// The bytes by which a series is found.
    pub fn label_bytes(&self, series: u32) -> &[u8] {
        let place = &self.scratch.places[series as usize];
        &self.scratch.message[place.start as usize..place.end as usize]
    }

    /// Stores everything.
    pub fn store(self) -> Result<Written, WriteError> {
        if self.is_too_large {
            return Err(WriteError::TooLarge(
                "the labels of all series of the request take too much; send less at a time".to_owned(),
            ));
        }
        let scratch = self.scratch;
        let message = std::mem::take(&mut scratch.message);
        let places = std::mem::take(&mut scratch.places);
        let result = self.passage.store(scratch, &LabelBytes { message: &message, places: &places });
        (scratch.message, scratch.places) = (message, places);
        result
    }
}
