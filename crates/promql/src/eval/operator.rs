//! Binary operators on two samples, of which any may be a native histogram.

use super::{
    Result,
    column::NONE,
    notes::{Note, Operation},
};
use crate::{
    Histogram, QueryError,
    ast::{Binary, BinaryOp},
    histogram::{Keep, Merged},
    syntax::quote::quote,
};

/// Applies an operator to two numbers; comparisons give 0 or 1.
pub fn scalars(op: BinaryOp, l: f64, r: f64) -> Result<f64> {
    if is_trim(op) {
        return Err(QueryError::Execution(format!(
            "operator {} not allowed for Scalar operations",
            quote(op.as_str())
        )));
    }
    Ok(compare(op, l, r).map_or_else(|| calculate(op, l, r), |holds| f64::from(u8::from(holds))))
}

pub fn is_trim(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
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

/// The value of an operation on two floats, or a hole where a comparison leaves the sample out;
/// `kept` is the sample that a comparison keeps.
pub fn floats(binary: &Binary, l: f64, r: f64, kept: f64) -> f64 {
    match compare(binary.op, l, r) {
        None => calculate(binary.op, l, r),
        Some(holds) if binary.return_bool => f64::from(u8::from(holds)),
        Some(true) => kept,
        Some(false) => NONE,
    }
}

/// A sample.
#[derive(Debug, Clone, Copy)]
pub enum Operand<'o> {
    Float(f64),
    Histogram(&'o Histogram),
}

impl Operand<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What an operation on two samples gives, of which one is a histogram.
#[derive(Debug)]
pub enum Answer {
    None,
    Float(f64),
    Histogram(Histogram),
}

/// Whether an operator takes two samples of these kinds.
pub fn takes(op: BinaryOp, left_is_histogram: bool, right_is_histogram: bool) -> bool {
    use BinaryOp as B;
    match (left_is_histogram, right_is_histogram) {
        (false, false) => !is_trim(op),
        (false, true) => op == B::Mul,
        (true, false) => matches!(op, B::Mul | B::Div | B::TrimUpper | B::TrimLower),
        (true, true) => matches!(op, B::Add | B::Sub | B::Equal | B::NotEqual),
    }
}

/// Applies an operator to two samples that are not both floats, and tells what is to be noted.
pub fn operate(binary: &Binary, l: Operand<'_>, r: Operand<'_>) -> (Answer, Option<Note<'static>>) {
    use BinaryOp as B;
    use Operand::{Float, Histogram as H};
    let op = binary.op;
    let scaled = |h: &Histogram, change: &dyn Fn(&mut Histogram)| {
        let mut answer = h.clone();
        change(&mut answer);
        (Answer::Histogram(answer), None)
    };
    match (l, op, r) {
        (Float(factor), B::Mul, H(h)) | (H(h), B::Mul, Float(factor)) => scaled(h, &|h| {
            h.multiply(factor);
            h.compact();
        }),
        (H(h), B::Div, Float(by)) => scaled(h, &|h| {
            h.divide(by);
            h.compact();
        }),
        (H(h), B::TrimUpper, Float(at)) => scaled(h, &|h| h.trim(at, Keep::Below)),
        (H(h), B::TrimLower, Float(at)) => scaled(h, &|h| h.trim(at, Keep::Above)),
        (H(a), B::Add, H(b)) => sum(a, b, Operation::Addition),
        (H(a), B::Sub, H(b)) => sum(a, b, Operation::Subtraction),
        (H(a), B::Equal | B::NotEqual, H(b)) => {
            let holds = a.same_as(b) == (op == B::Equal);
            let answer = match holds {
                _ if binary.return_bool => Answer::Float(f64::from(u8::from(holds))),
                true => Answer::Histogram(a.clone()),
                false => Answer::None,
            };
            (answer, None)
        }
        _ => (Answer::None, Some(Note::IncompatibleTypes(l.kind(), op.as_str(), r.kind()))),
    }
}

fn sum(a: &Histogram, b: &Histogram, operation: Operation) -> (Answer, Option<Note<'static>>) {
    let mut answer = a.clone();
    let merged = match operation {
        Operation::Subtraction => answer.subtract(b),
        _ => answer.add(b),
    };
    let Ok(Merged { collision, reconciled }) = merged else {
        let op = if operation == Operation::Subtraction { "-" } else { "+" };
        return (Answer::None, Some(Note::IncompatibleLayout(op)));
    };
    if collision {
        return (Answer::None, Some(Note::Collision(operation)));
    }
    if operation == Operation::Subtraction {
        answer.hint = vedette_model::ResetHint::Gauge;
    }
    answer.compact();
    (Answer::Histogram(answer), reconciled.then_some(Note::Reconciled(operation)))
}
