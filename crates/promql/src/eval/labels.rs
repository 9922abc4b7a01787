//! `label_replace` and `label_join`.

use std::collections::HashMap;

use vedette_model::{GroupRegexp, Labels, MAX_LABEL_BYTES, METRIC_NAME};

use super::{Evaluator, Result, Row, Sink, column::Grid, join, label_name, string};
use crate::{QueryError, ast::Call};

impl Evaluator<'_> {
    pub fn label_replace(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let [replacement, source, pattern] = [2, 3, 4].map(|i| string(&call.args[i]));
        let (replacement, source, pattern) = (replacement?, source?, pattern?);
        let regex = GroupRegexp::new(pattern).map_err(|e| {
            QueryError::Execution(format!("invalid regular expression in label_replace(): {}", e.expression))
        })?;
        let target = label_name(&call.args[1], "destination label name in label_replace()")?;
        self.relabel(call, grid, target, sink, |labels| {
            let text = labels.get(source).unwrap_or("");
            fits(replacement.len() + replacement.matches('$').count() * text.len())?;
            Ok(regex.expand(text, replacement))
        })
    }

    pub fn label_join(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let separator = string(&call.args[2])?;
        let source = |arg| label_name(arg, "source label name in label_join()");
        let sources = call.args[3..].iter().map(source).collect::<Result<Vec<_>>>()?;
        let target = label_name(&call.args[1], "destination label name in label_join()")?;
        self.relabel(call, grid, target, sink, |labels| {
            let values: Vec<&str> = sources.iter().map(|s| labels.get(s).unwrap_or("")).collect();
            fits(values.iter().map(|v| v.len() + separator.len()).sum())?;
            Ok(Some(values.join(separator)))
        })
    }

    /// Sets a label of all series to what `value` answers, if anything.
    fn relabel(
        &self,
        call: &Call,
        grid: &Grid,
        target: &str,
        sink: Sink<'_>,
        value: impl Fn(&Labels) -> Result<Option<String>>,
    ) -> Result<()> {
        // Series with the same labels give the same answer, also over several subquery steps.
        let mut known: HashMap<Labels, Option<Labels>> = HashMap::new();
        let mut rows = Vec::new();
        self.vector(&call.args[0], grid, &mut |mut row: Row| {
            let changed = match known.get(&row.labels) {
                Some(changed) => changed.clone(),
                None => {
                    let changed =
                        value(&row.labels)?.map(|v| row.labels.to_builder().set(target, &v).build());
                    // Label text can be long: it counts like samples of 8 bytes.
                    self.hold(changed.as_ref().map_or(0, Labels::heap_bytes) / 8)?;
                    known.insert(row.labels.clone(), changed.clone());
                    changed
                }
            };
            if let Some(labels) = changed {
                row.labels = labels;
                // A name that was set on purpose stays.
                row.drop_name &= target != METRIC_NAME;
            }
            rows.push(row);
            Ok(())
        })?;
        join(rows)?.into_iter().try_for_each(sink)
    }
}

/// Refuses label values that no label set could hold, before they are made.
fn fits(bytes: usize) -> Result<()> {
    if bytes > MAX_LABEL_BYTES {
        return Err(QueryError::Execution(format!(
            "a label value of {bytes} bytes is longer than {MAX_LABEL_BYTES}"
        )));
    }
    Ok(())
}
