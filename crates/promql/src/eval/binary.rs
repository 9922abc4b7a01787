//! Binary operators. Which series of two vectors belong together depends on labels only, so it is
//! found once for all times; whether a match is unique depends on which samples are there, and is
//! judged time by time.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use vedette_model::Labels;

use super::{
    DESCRIPTIVE, Evaluator, ROW_BYTES, Result, Sink,
    answer::{are_many, ascends, passed},
    column::{Grid, HISTOGRAM, Histograms, NONE, Row, is_none, is_some},
    join,
    notes::{Note, Notes},
    operator::{self, Answer, Operand},
};
use crate::{
    QueryError,
    ast::{Binary, BinaryOp, Cardinality, Edges, Expr, ExprKind, Matching, ValueType, VectorSelector},
    syntax::quote::quote,
};

/// What is to be told of one evaluation: only the last problem, as in Prometheus. Series come in
/// order of their numbers.
#[derive(Default)]
struct Problems(RefCell<BTreeMap<usize, Problem>>);

/// Numbers of the series on the many side and on the one side, and what is to be told.
type Problem = ((usize, usize), Note<'static>);

impl Problems {
    fn note(&self, step: usize, order: (usize, usize), note: Note<'static>) {
        let mut all = self.0.borrow_mut();
        let last = all.entry(step).or_insert((order, note));
        if order >= last.0 {
            *last = (order, note);
        }
    }

    fn tell(self, notes: &Notes<'_>) {
        let mut told: Vec<Note<'static>> = Vec::new();
        for (_, note) in self.0.into_inner().into_values() {
            if !told.contains(&note) {
                notes.tell(note);
                told.push(note);
            }
        }
    }
}

/// Whether the answer is a new quantity, no longer what the metric's name says.
pub fn changes_meaning(binary: &Binary) -> bool {
    calculates(binary.op) || binary.return_bool
}

/// Neither compares nor trims, both of which leave samples of the same metric.
fn calculates(op: BinaryOp) -> bool {
    !op.is_comparison() && !operator::is_trim(op)
}

impl Evaluator<'_> {
    pub fn binary(&self, binary: &Binary, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        self.climb(binary, grid)?;
        match (binary.lhs.value_type(), binary.rhs.value_type()) {
            (ValueType::Vector, ValueType::Vector) if binary.op.is_set() => self.set(binary, grid, sink),
            (ValueType::Vector, ValueType::Vector) => self.vectors(binary, grid, sink),
            (ValueType::Vector, _) => {
                let scalars = self.scalar(&binary.rhs, grid)?;
                self.with_scalar(binary, &scalars, false, grid, sink)
            }
            _ => {
                let scalars = self.scalar(&binary.lhs, grid)?;
                self.with_scalar(binary, &scalars, true, grid, sink)
            }
        }
    }

    /// A vector and a scalar, which may stand on the left.
    fn with_scalar(
        &self,
        binary: &Binary,
        scalars: &[f64],
        scalar_left: bool,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<()> {
        let drops = changes_meaning(binary);
        let trims = operator::is_trim(binary.op);
        let vector = if scalar_left { &binary.rhs } else { &binary.lhs };
        let problems = Problems::default();
        let mut order = 0;
        self.vector(vector, grid, &mut |mut row| {
            order += 1;
            let histograms = row.take_histograms();
            if trims {
                for (i, v) in row.values.iter_mut().enumerate().filter(|(_, v)| is_some(**v)) {
                    *v = NONE;
                    let note = Note::IncompatibleTypes("float", binary.op.as_str(), "float");
                    problems.note(i, (order, 0), note);
                }
            } else if scalar_left {
                for (i, v) in row.values.iter_mut().enumerate().filter(|(_, v)| is_some(**v)) {
                    *v = operator::floats(binary, scalars[i], *v, *v);
                }
            } else {
                for (i, v) in row.values.iter_mut().enumerate().filter(|(_, v)| is_some(**v)) {
                    *v = operator::floats(binary, *v, scalars[i], *v);
                }
            }
            for (i, histogram) in histograms.iter() {
                let (scalar, own) = (Operand::Float(scalars[i]), Operand::Histogram(histogram));
                let (l, r) = if scalar_left { (scalar, own) } else { (own, scalar) };
                let (answer, note) = operator::operate(binary, l, r);
                if let Some(note) = note {
                    problems.note(i, (order, 0), note);
                }
                put(answer, i, &mut row.values, &mut row.histograms);
            }
            row.drop_name |= drops;
            if row.is_empty() {
                self.recycle_row(row);
                return Ok(());
            }
            sink(row)
        })?;
        problems.tell(&self.notes(binary.lhs.span, ""));
        Ok(())
    }

    /// A side that only selects: it has nothing to tell of what it finds. Who counts what is looked at
    /// wants all sides looked at.
    fn silent_selector<'e>(&self, side: &'e Expr) -> Option<&'e VectorSelector> {
        match &side.unwrap_parens().kind {
            _ if self.cancel.observer().is_some() => None,
            ExprKind::Vector(selector) if selector.edges != Edges::Smoothed => Some(selector),
            _ => None,
        }
    }

    /// Whether the right side is to be looked at before the left one, which may then be left out.
    fn right_first([left, right]: [Option<&VectorSelector>; 2]) -> bool {
        left.is_some_and(|left| right.is_none_or(|right| right.matchers.len() >= left.matchers.len()))
    }

    /// The series of both sides. Where a side without series decides that there is no answer, and
    /// nothing but reading is lost by it, the other one is left out.
    fn sides(&self, binary: &Binary, grid: &Grid) -> Result<(Vec<Row>, Vec<Row>)> {
        let filled = binary.matching.fill_left.is_some() || binary.matching.fill_right.is_some();
        let sides = [&binary.lhs, &binary.rhs].map(|side| self.silent_selector(side));
        let [left, right] = sides;
        if !filled && Self::right_first(sides) {
            let rhs = self.rows(&binary.rhs, grid)?;
            if let (Some(left), true) = (left, rhs.is_empty()) {
                self.references(&left.shift, grid)?;
                return Ok((Vec::new(), rhs));
            }
            return Ok((self.rows(&binary.lhs, grid)?, rhs));
        }
        let lhs = self.rows(&binary.lhs, grid)?;
        if let (Some(right), true) = (right, !filled && lhs.is_empty()) {
            self.references(&right.shift, grid)?;
            return Ok((lhs, Vec::new()));
        }
        let rhs = self.rows(&binary.rhs, grid)?;
        Ok((lhs, rhs))
    }

    /// `and`, `or`, `unless`: of one side only the times are held at which its match groups have
    /// samples.
    fn set(&self, binary: &Binary, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let matching = &binary.matching;
        let mut there: HashMap<Labels, Vec<bool>> = HashMap::new();
        let group_bytes = ROW_BYTES + grid.count as u64;
        let mut note = |row: &Row| {
            let before = there.len();
            let times = there
                .entry(matching_labels(matching, &row.labels))
                .or_insert_with(|| vec![false; grid.count]);
            for (there, v) in times.iter_mut().zip(&row.values) {
                *there |= is_some(*v);
            }
            if there.len() > before { self.cancel.hold_bytes(group_bytes) } else { Ok(()) }
        };
        let mut rows = None;
        if binary.op == BinaryOp::Or {
            // All of the left side, and what the right side has beyond it.
            self.vector(&binary.lhs, grid, &mut |row| {
                note(&row)?;
                sink(row)
            })?;
        } else {
            let sides = [&binary.lhs, &binary.rhs].map(|side| self.silent_selector(side));
            if !Self::right_first(sides) {
                let lhs = self.rows(&binary.lhs, grid)?;
                if let (Some(right), true) = (sides[1], lhs.is_empty()) {
                    return self.references(&right.shift, grid).map(|_| ());
                }
                rows = Some(lhs);
            }
            self.vector(&binary.rhs, grid, &mut |row| {
                note(&row)?;
                self.recycle_row(row);
                Ok(())
            })?;
            if let (BinaryOp::And, Some(left), true) = (binary.op, sides[0], there.is_empty()) {
                return self.references(&left.shift, grid).map(|_| ());
            }
        }
        let wanted = binary.op == BinaryOp::And;
        let mut keep = |mut row: Row| {
            let times =
                if there.is_empty() { None } else { there.get(&matching_labels(matching, &row.labels)) };
            match times {
                Some(times) => {
                    for (v, there) in row.values.iter_mut().zip(times) {
                        *v = if *there == wanted { *v } else { NONE };
                    }
                }
                None if wanted => row.values.fill(NONE),
                None => {}
            }
            row.drop_holes();
            if row.is_empty() {
                self.recycle_row(row);
                return Ok(());
            }
            sink(row)
        };
        match rows {
            Some(rows) => rows.into_iter().try_for_each(keep),
            None if binary.op == BinaryOp::Or => self.vector(&binary.rhs, grid, &mut keep),
            None => self.vector(&binary.lhs, grid, &mut keep),
        }?;
        self.cancel.release_bytes(group_bytes * there.len() as u64);
        Ok(())
    }

    /// Arithmetic and comparisons of two vectors.
    fn vectors(&self, binary: &Binary, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        if self.vectors_in_pairs(binary, grid, sink)? {
            return Ok(());
        }
        let swapped = binary.matching.cardinality == Cardinality::OneToMany;
        let (lhs, rhs) = self.sides(binary, grid)?;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        let mut join_sides = Join::new(binary, grid, swapped, many, one);
        join_sides.check_one_side()?;
        let mut out = Vec::new();
        for (group, (many_here, one_here)) in std::mem::take(&mut join_sides.groups) {
            join_sides.group(self, &group, &many_here, &one_here, &mut out)?;
            join_sides.spend(self, &many_here, &one_here);
        }
        std::mem::take(&mut join_sides.problems).tell(&self.notes(binary.lhs.span, ""));
        drop(join_sides);
        join(out)?.into_iter().try_for_each(sink)
    }
}

impl Evaluator<'_> {
    /// Arithmetic and comparisons of two vectors of which each series comes from one that is stored:
    /// which belong together is known before any is read, and one match group is read at a time.
    /// Says whether it can be done so.
    fn vectors_in_pairs(&self, binary: &Binary, grid: &Grid, sink: Sink<'_>) -> Result<bool> {
        let matching = &binary.matching;
        let is_filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        if grid.count == 1 || is_filled || self.cancel.observer().is_some() || self.only.get().is_some() {
            return Ok(false);
        }
        let (Some(left), Some(right)) = (passed(&binary.lhs), passed(&binary.rhs)) else { return Ok(false) };
        if !left.is_plain || !right.is_plain {
            return Ok(false);
        }
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let sides = [(&binary.lhs, left), (&binary.rhs, right)];
        let [many, one] = if swapped { [sides[1], sides[0]] } else { sides };
        let sets = [self.set_of(many.0, many.1.selector, grid)?, self.set_of(one.0, one.1.selector, grid)?];
        if !are_many((sets[0].len() + sets[1].len()).saturating_mul(grid.count)) {
            return Ok(false);
        }
        let [many_rows, one_rows] = [(&sets[0], many.1), (&sets[1], one.1)].map(|(set, passed)| {
            let row = |series| Row::floats(set.labels(series), passed.drops_name, Vec::new());
            (0..set.len()).map(row).collect::<Vec<_>>()
        });
        let mut join_sides = Join::new(binary, grid, swapped, many_rows, one_rows);
        if join_sides.groups.iter().any(|(_, (_, one_here))| one_here.len() > 1) {
            return Ok(false);
        }
        let mut groups = std::mem::take(&mut join_sides.groups);
        let is_promised = self.promise_pairs(binary, &join_sides, &mut groups);
        let mut out = Vec::new();
        for (group, (many_here, one_here)) in groups {
            let is_matched = !many_here.is_empty() && !one_here.is_empty();
            for (here, (expr, passed), rows) in
                [(&many_here, many, &mut join_sides.many), (&one_here, one, &mut join_sides.one)]
            {
                // What is not matched may still have something to be told.
                if !is_matched && self.silent_selector(expr).is_some() {
                    continue;
                }
                for place in here {
                    rows[*place] = match self.row_of(expr, passed.selector, *place, grid)? {
                        Some(row) => row,
                        None => {
                            let labels = rows[*place].labels.clone();
                            Row::floats(labels, passed.drops_name, self.column(grid.count, NONE)?)
                        }
                    };
                }
            }
            join_sides.group(self, &group, &many_here, &one_here, &mut out)?;
            join_sides.spend(self, &many_here, &one_here);
            if is_promised {
                out.drain(..).try_for_each(&mut *sink)?;
            }
        }
        std::mem::take(&mut join_sides.problems).tell(&self.notes(binary.lhs.span, ""));
        drop(join_sides);
        join(out)?.into_iter().try_for_each(sink)?;
        Ok(true)
    }

    /// Puts match groups into the order of their answers, and promises that order if it can be kept.
    fn promise_pairs(&self, binary: &Binary, sides: &Join<'_>, groups: &mut [(Labels, Places)]) -> bool {
        if self.is_order_wanted(binary, usize::MAX).is_none()
            || groups.iter().any(|(_, (many_here, _))| many_here.len() > 1)
        {
            return false;
        }
        let answer = |(_, (many_here, one_here)): &(Labels, Places)| {
            let (many, one) = (many_here.first()?, one_here.first()?);
            Some(sides.answer_labels(&sides.many[*many].labels, Some(&sides.one[*one].labels)))
        };
        groups.sort_by_cached_key(answer);
        let ascends = ascends(groups.iter().filter_map(answer), binary.return_bool);
        if ascends {
            self.promise(binary);
        }
        ascends
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
    many: Vec<Row>,
    one: Vec<Row>,
    /// In order of first appearance.
    groups: Vec<(Labels, Places)>,
    problems: Problems,
}

impl<'j> Join<'j> {
    fn new(binary: &'j Binary, grid: &'j Grid, swapped: bool, many: Vec<Row>, one: Vec<Row>) -> Self {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut groups: Vec<(Labels, Places)> = Vec::new();
        for (side, rows) in [&many, &one].into_iter().enumerate() {
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
        Self { binary, grid, swapped, many, one, groups, problems: Problems::default() }
    }

    /// The value that stands for a missing sample of the many side, and of the one side. The right
    /// one is always that of the one side, wherever that stands.
    fn fills(&self) -> (Option<f64>, Option<f64>) {
        (self.binary.matching.fill_left, self.binary.matching.fill_right)
    }

    /// The one side must be unique in each match group, at each time at which there is something
    /// to match.
    fn check_one_side(&self) -> Result<()> {
        let doubtful = self.groups.iter().filter(|(_, (_, one_here))| one_here.len() > 1);
        let mut many_there: Option<Vec<bool>> = None;
        for (group, (_, one_here)) in doubtful {
            let fills = self.fills();
            let many_there = many_there.get_or_insert_with(|| {
                (0..self.grid.count)
                    .map(|i| fills.0.or(fills.1).is_some() || self.many.iter().any(|r| is_some(r.values[i])))
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
        for many_place in many_here {
            let many = &self.many[*many_place];
            for one_place in one_here {
                let one = &self.one[*one_place];
                let order = (*many_place, *one_place);
                self.pair(evaluator, many, Some(one), order, out, |i| {
                    let both = is_some(many.values[i]) && is_some(one.values[i]);
                    both.then(|| (many.values[i], one.values[i]))
                })?;
            }
            if let Some(fill) = fill_one {
                let filled = Row::floats(group.clone(), false, Vec::new());
                self.pair(evaluator, many, Some(&filled), (*many_place, usize::MAX), out, |i| {
                    let alone = one_here.iter().all(|o| is_none(self.one[*o].values[i]));
                    (alone && is_some(many.values[i])).then(|| (many.values[i], fill))
                })?;
            }
        }
        if let Some(fill) = fill_many {
            let filled = Row::floats(group.clone(), false, Vec::new());
            for one_place in one_here {
                let one = &self.one[*one_place];
                self.pair(evaluator, &filled, Some(one), (usize::MAX, *one_place), out, |i| {
                    // What it cannot be calculated with counts as not there.
                    let alone = many_here
                        .iter()
                        .map(|m| &self.many[*m])
                        .all(|many| is_none(many.values[i]) || !self.takes(many, one, i));
                    (alone && is_some(one.values[i])).then(|| (fill, one.values[i]))
                })?;
            }
        }
        self.check_many_side(&out[first..])?;
        self.check_filtered(group, many_here, one_here)
    }

    /// Gives back the columns of a match group that is done: no other group looks at them, and its
    /// answer takes as much as they did.
    fn spend(&mut self, evaluator: &Evaluator<'_>, many_here: &[usize], one_here: &[usize]) {
        for (rows, here) in [(&mut self.many, many_here), (&mut self.one, one_here)] {
            for place in here {
                let row = &mut rows[*place];
                // One that was not read has none.
                if row.values.is_empty() {
                    continue;
                }
                let spent = Row::floats(row.labels.clone(), row.drop_name, Vec::new());
                evaluator.recycle_row(std::mem::replace(row, spent));
            }
        }
    }

    fn takes(&self, many: &Row, one: &Row, step: usize) -> bool {
        let [many, one] = [many, one].map(|row| row.histograms.get(step));
        if let (Some(many), Some(one)) = (many, one)
            && matches!(self.binary.op, BinaryOp::Add | BinaryOp::Sub)
        {
            return many.is_custom() == one.is_custom();
        }
        let (l, r) = if self.swapped { (one, many) } else { (many, one) };
        operator::takes(self.binary.op, l.is_some(), r.is_some())
    }

    /// Adds the answer for one pair of series, if there is any.
    fn pair(
        &self,
        evaluator: &Evaluator<'_>,
        many: &Row,
        one: Option<&Row>,
        order: (usize, usize),
        out: &mut Vec<Row>,
        values: impl Fn(usize) -> Option<(f64, f64)>,
    ) -> Result<()> {
        let mut column = evaluator.column(self.grid.count, NONE)?;
        let mut histograms = Histograms::default();
        let only_floats = many.histograms.is_empty() && one.is_none_or(|one| one.histograms.is_empty());
        if only_floats && !operator::is_trim(self.binary.op) {
            for (i, out) in column.iter_mut().enumerate() {
                if let Some((many, one)) = values(i) {
                    let (l, r) = if self.swapped { (one, many) } else { (many, one) };
                    *out = operator::floats(self.binary, l, r, l);
                }
            }
        } else {
            let operand = |row: Option<&Row>, i: usize, float: f64| {
                row.and_then(|r| r.histograms.get(i)).map_or((None, float), |h| (Some(Arc::clone(h)), float))
            };
            for i in 0..self.grid.count {
                let Some((many_value, one_value)) = values(i) else { continue };
                let (many, one) = (operand(Some(many), i, many_value), operand(one, i, one_value));
                let (l, r) = if self.swapped { (&one, &many) } else { (&many, &one) };
                if l.0.is_none() && r.0.is_none() && !operator::is_trim(self.binary.op) {
                    column[i] = operator::floats(self.binary, l.1, r.1, l.1);
                    continue;
                }
                let [l, r] = [l, r].map(|(h, v)| h.as_deref().map_or(Operand::Float(*v), Operand::Histogram));
                let (answer, note) = operator::operate(self.binary, l, r);
                if let Some(note) = note {
                    self.problems.note(i, order, note);
                }
                put(answer, i, &mut column, &mut histograms);
            }
        }
        if column.iter().all(|v| is_none(*v)) {
            evaluator.recycle(column);
            return Ok(());
        }
        let labels = self.answer_labels(&many.labels, one.map(|r| &r.labels));
        // As in Prometheus, an earlier wish to drop the name is forgotten here.
        let drop_name = self.binary.return_bool;
        evaluator.hold(histograms.cells())?;
        out.push(Row { labels, drop_name, values: column, histograms });
        Ok(())
    }

    /// A match must be unique also where a comparison leaves samples out.
    fn check_filtered(&self, group: &Labels, many_here: &[usize], one_here: &[usize]) -> Result<()> {
        let filters = self.binary.op.is_comparison() && !self.binary.return_bool;
        let filled = self.fills().1.map(|_| Row::floats(group.clone(), false, Vec::new()));
        // Which of the one side it is makes no difference to which answers have the same labels.
        let any_one = one_here.first().map(|o| &self.one[*o]).or(filled.as_ref());
        let (true, true, Some(any_one)) = (filters, many_here.len() > 1, any_one) else { return Ok(()) };
        let one_to_one = self.binary.matching.cardinality == Cardinality::OneToOne;
        let mut by_labels: HashMap<Option<Labels>, Vec<&Row>> = HashMap::new();
        for many in many_here.iter().map(|m| &self.many[*m]) {
            let key = (!one_to_one).then(|| self.answer_labels(&many.labels, Some(&any_one.labels)));
            by_labels.entry(key).or_default().push(many);
        }
        for rows in by_labels.values().filter(|rows| rows.len() > 1) {
            for i in 0..self.grid.count {
                let one = one_here.iter().map(|o| &self.one[*o]).find(|one| is_some(one.values[i]));
                let Some(one) = one.or(filled.as_ref()) else { continue };
                if rows.iter().filter(|m| is_some(m.values[i]) && self.takes(m, one, i)).count() > 1 {
                    return Err(self.not_unique_answer());
                }
            }
        }
        Ok(())
    }

    fn not_unique_answer(&self) -> QueryError {
        let message = if self.binary.matching.cardinality == Cardinality::OneToOne {
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        } else {
            "multiple matches for labels: grouping labels must ensure unique matches"
        };
        QueryError::Execution(message.to_owned())
    }

    fn answer_labels(&self, many: &Labels, one: Option<&Labels>) -> Labels {
        let matching = &self.binary.matching;
        let mut labels = if calculates(self.binary.op) { many.drop(&DESCRIPTIVE) } else { many.clone() };
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
        let mut by_labels: HashMap<Option<&Labels>, Vec<&Row>> = HashMap::new();
        for row in answers {
            let key = (self.binary.matching.cardinality != Cardinality::OneToOne).then_some(&row.labels);
            by_labels.entry(key).or_default().push(row);
        }
        for rows in by_labels.values().filter(|rows| rows.len() > 1) {
            for i in 0..self.grid.count {
                if rows.iter().filter(|r| is_some(r.values[i])).count() > 1 {
                    return Err(self.not_unique_answer());
                }
            }
        }
        Ok(())
    }
}

/// Puts an answer into its place; answers come in order of evaluations.
fn put(answer: Answer, step: usize, values: &mut [f64], histograms: &mut Histograms) {
    match answer {
        Answer::None => {}
        Answer::Float(value) => values[step] = value,
        Answer::Histogram(histogram) => {
            values[step] = HISTOGRAM;
            histograms.push(step, Arc::new(histogram));
        }
    }
}

/// Labels all in braces, the name among them.
pub fn braces(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={}", quote(v))).collect();
    format!("{{{}}}", pairs.join(", "))
}
