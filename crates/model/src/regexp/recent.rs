//! Expressions that were read lately. Rules and dashboards come with the same ones again and again,
//! and to read one costs as much as a small query.

use parking_lot::Mutex;

use super::RegexpError;

/// How many are kept.
const KEPT_MAX: usize = 128;

/// Longer expressions are read each time, so that the memory of the others stays small.
const KEPT_BYTES_MAX: usize = 256;

/// Expressions with what was made of them, the last used at the end.
pub struct Recent<T>(Mutex<Vec<(String, T)>>);

impl<T: Clone> Recent<T> {
    pub const fn new() -> Self {
        Self(parking_lot::const_mutex(Vec::new()))
    }

    /// What was made of the expression before, or what `read` makes of it now.
    pub fn get(
        &self,
        expression: &str,
        read: impl FnOnce(&str) -> Result<T, RegexpError>,
    ) -> Result<T, RegexpError> {
        if expression.len() > KEPT_BYTES_MAX {
            return read(expression);
        }
        if let Some(known) = self.known(expression) {
            return Ok(known);
        }
        let made = read(expression)?;
        let mut kept = self.0.lock();
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push((expression.to_owned(), made.clone()));
        Ok(made)
    }

    fn known(&self, expression: &str) -> Option<T> {
        let mut kept = self.0.lock();
        let place = kept.iter().rposition(|(known, _)| known == expression)?;
        let entry = kept.remove(place);
        let made = entry.1.clone();
        kept.push(entry);
        Some(made)
    }
}
