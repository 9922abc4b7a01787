//! `info(v, {…})`: adds to each series the labels of the info series of the same source, that is
//! with the same `instance` and `job`.

use std::{collections::HashMap, sync::Arc};

use vedette_model::{Labels, METRIC_NAME, MatchOp, Matcher};

use super::{
    Evaluator, Result, Sink,
    binary::braces,
    column::{Grid, Histograms, NONE, Row, is_none, is_some},
    join,
    selector::Take,
};
use crate::{
    QueryError,
    ast::{Call, Edges, Expr, ExprKind, Shift, VectorSelector},
};

/// Labels that name a source.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// An info series: its column holds the times of its samples.
struct Info {
    labels: Labels,
    times: Vec<f64>,
}

impl Evaluator<'_> {
    pub fn info(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let given: &[Matcher] = match call.args.get(1).map(|a| &a.kind) {
            Some(ExprKind::Vector(selector)) => &selector.matchers,
            _ => &[],
        };
        let (mut names, data): (Vec<_>, Vec<_>) = given.iter().cloned().partition(|m| m.name == METRIC_NAME);
        if !names.is_empty() && names.iter().all(|m| matches!(m.op, MatchOp::NotEqual | MatchOp::NotRegex)) {
            // Only excluding names leaves the info metrics by their usual names.
            let usual = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info");
            names.push(usual.map_err(|e| QueryError::Execution(e.to_string()))?);
        }
        let mut base = self.rows(&call.args[0], grid)?;
        // What has no samples any more, such as the square root of a histogram, has no source either.
        let empty: Vec<Row> = base.extract_if(.., |row| row.is_empty()).collect();
        empty.into_iter().for_each(|row| self.recycle_row(row));
        let positive: Vec<&Matcher> =
            names.iter().filter(|m| matches!(m.op, MatchOp::Equal | MatchOp::Regex)).collect();
        // A series that is itself an info series passes unchanged.
        let is_info = |labels: &Labels| {
            let name = labels.metric_name();
            if names.is_empty() {
                name == "target_info"
            } else {
                !positive.is_empty() && positive.iter().all(|m| m.matches(name))
            }
        };
        let described: Vec<&Labels> = base.iter().map(|r| &r.labels).filter(|l| !is_info(l)).collect();
        let infos = self.info_series(&call.args[0], &described, &names, &data, grid)?;
        let mut by_source: HashMap<Labels, Vec<&Info>> = HashMap::new();
        for info in &infos {
            by_source.entry(info.labels.keep(&IDENTIFYING)).or_default().push(info);
        }
        check_unique(&base, by_source.values(), grid)?;
        let must_match = data.iter().any(|m| !m.matches_empty());
        let wanted: Vec<&str> = data.iter().map(|m| m.name.as_str()).collect();
        let mut out = Vec::new();
        for row in base {
            let source = row.labels.keep(&IDENTIFYING);
            if is_info(&row.labels) {
                out.push(row);
                continue;
            }
            let candidates = by_source.get(&source).filter(|_| !source.is_empty());
            let mut enriched: HashMap<Labels, (Vec<f64>, Histograms)> = HashMap::new();
            for (i, v) in row.values.iter().enumerate().filter(|(_, v)| is_some(**v)) {
                let current = newest(candidates.map_or(&[][..], |c| c), i)?;
                if current.is_empty() && must_match {
                    continue;
                }
                let labels = add_labels(&row.labels, &current, &wanted)?;
                if must_match && !data.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or(""))) {
                    continue;
                }
                let (values, histograms) =
                    enriched.entry(labels).or_insert_with(|| (vec![NONE; grid.count], Histograms::default()));
                values[i] = *v;
                if let Some(histogram) = row.histograms.get(i) {
                    histograms.push(i, Arc::clone(histogram));
                }
            }
            let drop_name = row.drop_name;
            self.recycle_row(row);
            for (labels, (values, histograms)) in enriched {
                self.hold(values.len() + histograms.cells())?;
                out.push(Row { labels, drop_name, values, histograms });
            }
        }
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        join(out)?.into_iter().try_for_each(sink)
    }

    /// The info series of the sources that `described` name, looked up at the times at which the base's
    /// selector looks.
    fn info_series(
        &self,
        base_expr: &Expr,
        described: &[&Labels],
        names: &[Matcher],
        data: &[Matcher],
        grid: &Grid,
    ) -> Result<Vec<Info>> {
        let mut matchers = data.iter().filter(|m| !m.matches_empty()).cloned().collect::<Vec<_>>();
        if names.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, "target_info"));
        }
        matchers.extend_from_slice(names);
        for label in IDENTIFYING {
            let mut values: Vec<&str> = described.iter().filter_map(|l| l.get(label)).collect();
            values.sort_unstable();
            values.dedup();
            if values.is_empty() {
                continue;
            }
            let pattern: Vec<String> = values.iter().map(|v| regex::escape(v)).collect();
            let matcher = Matcher::new(MatchOp::Regex, label, pattern.join("|"))
                .map_err(|e| QueryError::Execution(e.to_string()))?;
            matchers.push(matcher);
        }
        // Series that name no source have no info series.
        if !described.iter().any(|l| IDENTIFYING.iter().any(|label| l.get(label).is_some())) {
            return Ok(Vec::new());
        }
        let mut infos = Vec::new();
        let selector = VectorSelector { name: None, matchers, shift: Shift::default(), edges: Edges::Plain };
        let shifted = self.info_grid(base_expr, grid)?;
        self.select_instant(&selector, base_expr.span, &shifted, Take::InfoTime, &mut |row| {
            let mut times = row.values;
            if shifted.count == 1 && grid.count > 1 {
                times.resize(grid.count, times[0]);
            }
            infos.push(Info { labels: row.labels, times });
            Ok(())
        })?;
        Ok(infos)
    }

    /// The times at which the base looks: those of its selector if it has exactly one way of
    /// shifting them, else the evaluation's own.
    fn info_grid(&self, base: &Expr, grid: &Grid) -> Result<Grid> {
        let mut shifts: Vec<Vec<&Shift>> = Vec::new();
        collect_shifts(base, &mut Vec::new(), &mut shifts);
        let mut grids = Vec::new();
        for path in shifts {
            let mut current = *grid;
            for shift in path {
                let references = self.references(shift, &current)?;
                current = Grid {
                    start_ms: references.first(),
                    step_ms: if references.pinned_ms.is_some() { 0 } else { current.step_ms },
                    count: if references.pinned_ms.is_some() { 1 } else { current.count },
                    end_ms: references.last(),
                };
            }
            grids.push(current);
        }
        let first = grids.first().copied().unwrap_or(*grid);
        let same = grids
            .iter()
            .all(|g| (g.start_ms, g.step_ms, g.count) == (first.start_ms, first.step_ms, first.count));
        Ok(if same { first } else { *grid })
    }
}

/// The shifts above each selector, outermost first, its own last.
fn collect_shifts<'e>(expr: &'e Expr, above: &mut Vec<&'e Shift>, out: &mut Vec<Vec<&'e Shift>>) {
    let own = match &expr.kind {
        ExprKind::Vector(v) => &v.shift,
        ExprKind::Matrix(m) => &m.selector.shift,
        ExprKind::Subquery(s) => &s.shift,
        _ => {
            for child in expr.children() {
                collect_shifts(child, above, out);
            }
            return;
        }
    };
    above.push(own);
    match &expr.kind {
        ExprKind::Subquery(s) => collect_shifts(&s.expr, above, out),
        _ => out.push(above.clone()),
    }
    above.pop();
}

/// Info series of one source must not contradict each other, even where no series asks for them.
fn check_unique<'i>(
    base: &[Row],
    sources: impl Iterator<Item = &'i Vec<&'i Info>> + Clone,
    grid: &Grid,
) -> Result<()> {
    let doubtful = sources.filter(|infos| infos.len() > 1);
    for step in 0..grid.count {
        if base.iter().any(|row| is_some(row.values[step])) {
            doubtful.clone().try_for_each(|infos| newest(infos, step).map(drop))?;
        }
    }
    Ok(())
}

/// Of each info metric the series with the newest sample at a time.
fn newest<'i>(candidates: &[&'i Info], step: usize) -> Result<Vec<&'i Info>> {
    let mut best: Vec<&Info> = Vec::new();
    for info in candidates.iter().filter(|i| !is_none(i.times[step])) {
        let name = info.labels.metric_name();
        match best.iter_mut().find(|b| b.labels.metric_name() == name) {
            None => best.push(info),
            Some(other) if info.times[step] > other.times[step] => *other = info,
            Some(other) if info.times[step] == other.times[step] => {
                let shown = |info: &Info| {
                    format!("{} @ {}", braces(&info.labels), (info.times[step] * 1000.0).round())
                };
                return Err(QueryError::Execution(format!(
                    "found duplicate series for info metric: existing {}, new {}",
                    shown(other),
                    shown(info)
                )));
            }
            Some(_) => {}
        }
    }
    Ok(best)
}

/// The labels of a series with those of its info series added; its own stay.
fn add_labels(base: &Labels, infos: &[&Info], wanted: &[&str]) -> Result<Labels> {
    let mut builder = base.to_builder();
    let mut added: HashMap<&str, &str> = HashMap::new();
    for info in infos {
        for (name, value) in info.labels.iter() {
            let own = base.get(name).is_some() || name == METRIC_NAME || IDENTIFYING.contains(&name);
            if own || (!wanted.is_empty() && !wanted.contains(&name)) {
                continue;
            }
            if added.insert(name, value).is_some_and(|other| other != value) {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            builder.set(name, value);
        }
    }
    Ok(builder.build())
}
