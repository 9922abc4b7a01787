//! The table: one row a figure, one column a program, and how Vedette compares.

use super::program::Kind;

/// Whether more or less is better, and by how much Vedette must be ahead.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Vedette's figure over the other's, at least: against Prometheus, against VictoriaMetrics.
    AtLeast(f64, f64),
    /// At most.
    AtMost(f64, f64),
    /// There is none.
    None,
}

/// A figure of all programs that ran.
pub struct Row {
    pub name: &'static str,
    pub values: Vec<(Kind, f64)>,
    pub digits: usize,
    pub goal: Goal,
}

impl Row {
    fn of(&self, kind: Kind) -> Option<f64> {
        self.values.iter().find(|(k, _)| *k == kind).map(|(_, v)| *v)
    }

    /// Vedette's figure over that of another, and whether the goal is met.
    fn ratio(&self, other: Kind) -> Option<(f64, Option<bool>)> {
        let ratio = Some(self.of(Kind::Vedette)? / self.of(other)?).filter(|r| r.is_finite())?;
        let bound = |p, v| if other == Kind::Prometheus { p } else { v };
        let met = match self.goal {
            Goal::AtLeast(p, v) => Some(ratio >= bound(p, v)),
            Goal::AtMost(p, v) => Some(ratio <= bound(p, v)),
            Goal::None => None,
        };
        Some((ratio, met))
    }

    fn goal(&self, other: Kind) -> String {
        let bound = |p, v| if other == Kind::Prometheus { p } else { v };
        match self.goal {
            Goal::AtLeast(p, v) => format!("≥ {:.2}", bound(p, v)),
            Goal::AtMost(p, v) => format!("≤ {:.2}", bound(p, v)),
            Goal::None => String::new(),
        }
    }
}

/// The table as Markdown.
pub fn print(rows: &[Row]) -> String {
    let mut out = String::from("|");
    for head in [
        "",
        "Prometheus 2.42",
        "VictoriaMetrics 1.79",
        "Vedette",
        "÷ Prometheus",
        "goal",
        "÷ VictoriaMetrics",
        "goal",
    ] {
        out.push_str(&format!(" {head} |"));
    }
    out.push_str("\n|---|---:|---:|---:|---:|---:|---:|---:|\n");
    for row in rows {
        let mut cells = vec![row.name.to_owned()];
        for kind in Kind::ALL {
            cells.push(row.of(kind).map_or_else(|| "-".to_owned(), |v| number(v, row.digits)));
        }
        for other in [Kind::Prometheus, Kind::VictoriaMetrics] {
            let (ratio, met) = row.ratio(other).map_or((None, None), |(r, met)| (Some(r), met));
            let mark = match met {
                Some(true) => " ✓",
                Some(false) => " ✗",
                None => "",
            };
            cells.push(ratio.map_or_else(|| "-".to_owned(), |r| format!("{r:.2}{mark}")));
            cells.push(row.goal(other));
        }
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

/// With commas between thousands.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 && c.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(c);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_compared_with_their_goals() {
        let row = |values: &[(Kind, f64)], goal| Row { name: "x", values: values.to_vec(), digits: 1, goal };
        let values = [(Kind::Prometheus, 1234567.0), (Kind::VictoriaMetrics, 10.0), (Kind::Vedette, 20.0)];
        let text = print(&[row(&values, Goal::AtLeast(1.0, 3.0)), row(&values[1..], Goal::AtMost(1.0, 2.0))]);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "| x | 1,234,567.0 | 10.0 | 20.0 | 0.00 ✗ | ≥ 1.00 | 2.00 ✗ | ≥ 3.00 |");
        assert_eq!(lines[1], "| x | - | 10.0 | 20.0 | - | ≤ 1.00 | 2.00 ✓ | ≤ 2.00 |");
    }
}
