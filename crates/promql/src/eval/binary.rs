//! Binary operators. Which series of two vectors belong together depends on labels only, so it is
//! found once for all times; whether a match is unique depends on which samples are there, and is
//! judged time by time.

use std::collections::HashMap;

use vedette_model::Labels;

use super::{
    DESCRIPTIVE, Evaluator, Result, Sink,
    column::{Grid, NONE, Row, is_none, is_some},
    join,
};
use crate::{
    QueryError,
    ast::{Binary, BinaryOp, Cardinality, Matching, ValueType},
    syntax::quote::quote,
};

/// Applies an operator to two numbers; comparisons give 0 or 1.
pub fn scalars(op: BinaryOp, l: f64, r: f64) -> Result<f64> {
    if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
        return Err(QueryError::Execution(format!(
            "operator {} not allowed for Scalar operations",
            quote(op.as_str())
        )));
    }
    Ok(compare(op, l, r).map_or_else(|| calculate(op, l, r), |holds| f64::from(u8::from(holds))))
}

fn calculate(op: BinaryOp, l: f64, r: f64) -> f64 {
    match op {
        BinaryOp::Add => l + r,
        BinaryOp::Sub => l - r,
        BinaryOp::Mul => l * r,
        BinaryOp::Div => l / r,
        BinaryOp::Mod => l % r,
        BinaryOp::Pow => l.powf(r),
        BinaryOp::Atan2 => l.atan2(r),
        _ => unreachable!("BUG: {op:?} does not calculate"),
    }
}

/// Whether a comparison holds; `None` for other operators.
fn compare(op: BinaryOp, l: f64, r: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Equal => l == r,
        BinaryOp::NotEqual => l != r,
        BinaryOp::Less => l < r,
        BinaryOp::Greater => l > r,
        BinaryOp::LessEqual => l <= r,
        BinaryOp::GreaterEqual => l >= r,
        _ => return None,
    })
}

/// The value of an operation on samples, or a hole where a comparison leaves the sample out;
/// `kept` is the sample that a comparison keeps.
fn sample(binary: &Binary, l: f64, r: f64, kept: f64) -> f64 {
    match compare(binary.op, l, r) {
        None => calculate(binary.op, l, r),
        Some(holds) if binary.return_bool => f64::from(u8::from(holds)),
        Some(true) => kept,
        Some(false) => NONE,
    }
}

/// Whether the answer is a new quantity, no longer what the metric's name says.
fn changes_meaning(binary: &Binary) -> bool {
    !binary.op.is_comparison() || binary.return_bool
}

impl Evaluator<'_> {
    pub fn binary(&self, binary: &Binary, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        if matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
            return self.trim(binary, grid);
        }
        match (binary.lhs.value_type(), binary.rhs.value_type()) {
            (ValueType::Vector, ValueType::Vector) if binary.op.is_set() => self.set(binary, grid, sink),
            (ValueType::Vector, ValueType::Vector) => self.vectors(binary, grid, sink),
            (ValueType::Vector, _) => {
                let scalars = self.scalar(&binary.rhs, grid)?;
                self.with_scalar(binary, &binary.lhs, grid, sink, |v, i| sample(binary, v, scalars[i], v))
            }
            _ => {
                let scalars = self.scalar(&binary.lhs, grid)?;
                self.with_scalar(binary, &binary.rhs, grid, sink, |v, i| sample(binary, scalars[i], v, v))
            }
        }
    }

    fn with_scalar(
        &self,
        binary: &Binary,
        vector: &crate::Expr,
        grid: &Grid,
        sink: Sink<'_>,
        f: impl Fn(f64, usize) -> f64,
    ) -> Result<()> {
        let drops = changes_meaning(binary);
        self.vector(vector, grid, &mut |mut row| {
            for (i, v) in row.values.iter_mut().enumerate().filter(|(_, v)| is_some(**v)) {
                *v = f(*v, i);
            }
            row.drop_name |= drops;
            sink(row)
        })
    }

    /// Histogram trims: numbers cannot be trimmed and are left out.
    fn trim(&self, binary: &Binary, grid: &Grid) -> Result<()> {
        let mut any = false;
        for side in [&binary.lhs, &binary.rhs] {
            if side.value_type() == ValueType::Vector {
                self.vector(side, grid, &mut |row| {
                    any = true;
                    self.recycle(row.values);
                    Ok(())
                })?;
            }
        }
        if any {
            let op = binary.op.as_str();
            let message = format!(
                "incompatible sample types encountered for binary operator {}: float {op} float",
                quote(op)
            );
            self.annotations.info(binary.lhs.span, message);
        }
        Ok(())
    }

    /// `and`, `or`, `unless`
    fn set(&self, binary: &Binary, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let matching = &binary.matching;
        let lhs = self.rows(&binary.lhs, grid)?;
        let rhs = self.rows(&binary.rhs, grid)?;
        let either = binary.op == BinaryOp::Or;
        let asked = if either { &lhs } else { &rhs };
        // For each match group the times at which the other side has a sample.
        let mut there: HashMap<Labels, Vec<bool>> = HashMap::new();
        for row in asked {
            let times = there
                .entry(matching_labels(matching, &row.labels))
                .or_insert_with(|| vec![false; grid.count]);
            for (there, v) in times.iter_mut().zip(&row.values) {
                *there |= is_some(*v);
            }
        }
        // `or` gives all of the left side, and what the right side has beyond it.
        let (kept, whole, spent) = if either { (rhs, lhs, Vec::new()) } else { (lhs, Vec::new(), rhs) };
        spent.into_iter().for_each(|r| self.recycle(r.values));
        let wanted = binary.op == BinaryOp::And;
        let mut out = Vec::new();
        for mut row in kept {
            let times = there.get(&matching_labels(matching, &row.labels));
            for (i, v) in row.values.iter_mut().enumerate() {
                if times.is_some_and(|t| t[i]) != wanted {
                    *v = NONE;
                }
            }
            if row.values.iter().all(|v| is_none(*v)) {
                self.recycle(row.values);
            } else {
                out.push(row);
            }
        }
        whole.into_iter().chain(out).try_for_each(sink)
    }

    /// Arithmetic and comparisons of two vectors.
    fn vectors(&self, binary: &Binary, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let swapped = binary.matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (&binary.rhs, &binary.lhs) } else { (&binary.lhs, &binary.rhs) };
        let many = self.rows(many, grid)?;
        let one = self.rows(one, grid)?;
        let join_sides = Join::new(binary, grid, swapped, &many, &one);
        join_sides.check_one_side()?;
        let mut out = Vec::new();
        for (group, (many_here, one_here)) in &join_sides.groups {
            join_sides.group(self, group, many_here, one_here, &mut out)?;
        }
        drop(join_sides);
        many.into_iter().chain(one).for_each(|r| self.recycle(r.values));
        join(out)?.into_iter().try_for_each(sink)
    }
}

/// The labels by which series find each other.
fn matching_labels(matching: &Matching, labels: &Labels) -> Labels {
    if matching.on {
        labels.keep(&matching.labels)
    } else if matching.labels.is_empty() {
        labels.drop(&DESCRIPTIVE)
    } else {
        labels.drop(&matching.labels).drop(&DESCRIPTIVE)
    }
}

/// The places of a match group's series on the many side and on the one side.
type Places = (Vec<usize>, Vec<usize>);

/// Two vectors, sorted into match groups.
struct Join<'j> {
    binary: &'j Binary,
    grid: &'j Grid,
    /// The many side is the right one.
    swapped: bool,
    many: &'j [Row],
    one: &'j [Row],
    /// In order of first appearance.
    groups: Vec<(Labels, Places)>,
}

impl<'j> Join<'j> {
    fn new(binary: &'j Binary, grid: &'j Grid, swapped: bool, many: &'j [Row], one: &'j [Row]) -> Self {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut groups: Vec<(Labels, Places)> = Vec::new();
        for (side, rows) in [many, one].into_iter().enumerate() {
            for (i, row) in rows.iter().enumerate() {
                let labels = matching_labels(&binary.matching, &row.labels);
                let next = groups.len();
                let place = *places.entry(labels).or_insert_with_key(|labels| {
                    groups.push((labels.clone(), (Vec::new(), Vec::new())));
                    next
                });
                let (many_here, one_here) = &mut groups[place].1;
                if side == 0 { many_here.push(i) } else { one_here.push(i) }
            }
        }
        Self { binary, grid, swapped, many, one, groups }
    }

    /// The value that stands for a missing sample of the many side, and of the one side.
    fn fills(&self) -> (Option<f64>, Option<f64>) {
        let m = &self.binary.matching;
        if self.swapped { (m.fill_right, m.fill_left) } else { (m.fill_left, m.fill_right) }
    }

    /// The one side must be unique in each match group, at each time at which there is something
    /// to match.
    fn check_one_side(&self) -> Result<()> {
        let doubtful = self.groups.iter().filter(|(_, (_, one_here))| one_here.len() > 1);
        let mut many_there: Option<Vec<bool>> = None;
        for (group, (_, one_here)) in doubtful {
            let (fill_many, _) = self.fills();
            let many_there = many_there.get_or_insert_with(|| {
                (0..self.grid.count)
                    .map(|i| fill_many.is_some() || self.many.iter().any(|r| is_some(r.values[i])))
                    .collect()
            });
            for i in (0..self.grid.count).filter(|i| many_there[*i]) {
                let mut there = one_here.iter().filter(|r| is_some(self.one[**r].values[i]));
                if let (Some(first), Some(second)) = (there.next(), there.next()) {
                    return Err(self.not_unique(group, &self.one[*first].labels, &self.one[*second].labels));
                }
            }
        }
        Ok(())
    }

    fn not_unique(&self, group: &Labels, first: &Labels, second: &Labels) -> QueryError {
        let side = if self.swapped { "left" } else { "right" };
        QueryError::Execution(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            braces(group),
            braces(first),
            braces(second)
        ))
    }

    /// Computes one match group.
    fn group(
        &self,
        evaluator: &Evaluator<'_>,
        group: &Labels,
        many_here: &[usize],
        one_here: &[usize],
        out: &mut Vec<Row>,
    ) -> Result<()> {
        let (fill_many, fill_one) = self.fills();
        if (many_here.is_empty() && fill_many.is_none()) || (one_here.is_empty() && fill_one.is_none()) {
            return Ok(());
        }
        let first = out.len();
        for many in many_here.iter().map(|i| &self.many[*i]) {
            for one in one_here.iter().map(|i| &self.one[*i]) {
                self.pair(evaluator, many, Some(one), out, |i| {
                    let both = is_some(many.values[i]) && is_some(one.values[i]);
                    both.then(|| (many.values[i], one.values[i]))
                })?;
            }
            if let Some(fill) = fill_one {
                self.pair(evaluator, many, None, out, |i| {
                    let alone = one_here.iter().all(|o| is_none(self.one[*o].values[i]));
                    (alone && is_some(many.values[i])).then(|| (many.values[i], fill))
                })?;
            }
        }
        if let Some(fill) = fill_many {
            let filled = Row { labels: group.clone(), drop_name: false, values: Vec::new() };
            for one in one_here.iter().map(|i| &self.one[*i]) {
                self.pair(evaluator, &filled, Some(one), out, |i| {
                    let alone = many_here.iter().all(|m| is_none(self.many[*m].values[i]));
                    (alone && is_some(one.values[i])).then(|| (fill, one.values[i]))
                })?;
            }
        }
        self.check_many_side(&out[first..])
    }

    /// Adds the answer for one pair of series, if there is any.
    fn pair(
        &self,
        evaluator: &Evaluator<'_>,
        many: &Row,
        one: Option<&Row>,
        out: &mut Vec<Row>,
        values: impl Fn(usize) -> Option<(f64, f64)>,
    ) -> Result<()> {
        let mut column = evaluator.column(self.grid.count, NONE)?;
        let mut any = false;
        for (i, out) in column.iter_mut().enumerate() {
            if let Some((many, one)) = values(i) {
                let (l, r) = if self.swapped { (one, many) } else { (many, one) };
                *out = sample(self.binary, l, r, l);
                any |= is_some(*out);
            }
        }
        if !any {
            evaluator.recycle(column);
            return Ok(());
        }
        let labels = self.answer_labels(&many.labels, one.map(|r| &r.labels));
        let drop_name = self.binary.return_bool || (many.drop_name && self.binary.op.is_comparison());
        out.push(Row { labels, drop_name, values: column });
        Ok(())
    }

    fn answer_labels(&self, many: &Labels, one: Option<&Labels>) -> Labels {
        let matching = &self.binary.matching;
        let mut labels = if self.binary.op.is_comparison() { many.clone() } else { many.drop(&DESCRIPTIVE) };
        if matching.cardinality == Cardinality::OneToOne {
            labels = if matching.on { labels.keep(&matching.labels) } else { labels.drop(&matching.labels) };
        }
        if matching.include.is_empty() {
            return labels;
        }
        let mut builder = labels.to_builder();
        for name in &matching.include {
            builder.set(name, one.and_then(|l| l.get(name)).unwrap_or(""));
        }
        builder.build()
    }

    /// At each time a match group may answer once, or with grouping once for each label set.
    fn check_many_side(&self, answers: &[Row]) -> Result<()> {
        if answers.len() < 2 {
            return Ok(());
        }
        let message = if self.binary.matching.cardinality == Cardinality::OneToOne {
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        } else {
            "multiple matches for labels: grouping labels must ensure unique matches"
        };
        let mut by_labels: HashMap<Option<&Labels>, Vec<&Row>> = HashMap::new();
        for row in answers {
            let key = (self.binary.matching.cardinality != Cardinality::OneToOne).then_some(&row.labels);
            by_labels.entry(key).or_default().push(row);
        }
        for rows in by_labels.values().filter(|rows| rows.len() > 1) {
            for i in 0..self.grid.count {
                if rows.iter().filter(|r| is_some(r.values[i])).count() > 1 {
                    return Err(QueryError::Execution(message.to_owned()));
                }
            }
        }
        Ok(())
    }
}

/// Labels all in braces, the name among them.
fn braces(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={}", quote(v))).collect();
    format!("{{{}}}", pairs.join(", "))
}
