//! Random queries, of which most are well typed: all of the language, meeting the world's series.

use vedette_sys::Random;

use super::{
    answer::Order,
    grammar::{Node, Part, Type, parts},
    world,
};

/// What a query may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    pub histograms: bool,
}

/// A random query.
pub fn query(random: &mut Random, scope: Scope) -> Node {
    let mut generator = Generator { random, scope };
    let depth = 1 + generator.below(4);
    match generator.below(20) {
        0..2 => generator.scalar(depth),
        2 => generator.matrix(depth),
        3 if generator.one_in(4) => generator.text(),
        _ => generator.vector(depth),
    }
}

/// The order that the outermost function asks for.
pub fn order(query: &Node) -> Order {
    match query.parts.first() {
        Some(Part::Text(text)) if text.starts_with("sort_by_label") => Order::Labels,
        Some(Part::Text(text)) if text.starts_with("sort") => Order::Values,
        _ => Order::Any,
    }
}

const MATH: &[&str] = &[
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "deg", "exp", "floor",
    "ln", "log10", "log2", "rad", "sgn", "sin", "sinh", "sqrt", "tan", "tanh",
];
const DATE: &[&str] =
    &["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"];
const OVER_TIME: &[&str] = &[
    "avg_over_time",
    "changes",
    "count_over_time",
    "delta",
    "deriv",
    "first_over_time",
    "idelta",
    "increase",
    "irate",
    "last_over_time",
    "mad_over_time",
    "max_over_time",
    "min_over_time",
    "present_over_time",
    "absent_over_time",
    "rate",
    "resets",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];
const AGGREGATIONS: &[&str] = &["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];
const HISTOGRAM: &[&str] =
    &["histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum"];
const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISON: &[&str] = &["==", "!=", "<", ">", "<=", ">="];
const LABELS: &[&str] =
    &["job", "instance", "code", "le", "version", "__name__", "nothing", "\"label.with.dots\""];

struct Generator<'a> {
    random: &'a mut Random,
    scope: Scope,
}

impl Generator<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.one_in(n)
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len() as u64) as usize]
    }

    /// Parts that can be left out, once in `n` times.
    fn maybe(&mut self, n: u64, make: impl FnOnce(&mut Self) -> Vec<Part>) -> Part {
        if self.one_in(n) { Part::Optional(make(self)) } else { Part::Optional(Vec::new()) }
    }

    fn vector(&mut self, depth: u64) -> Node {
        if depth == 0 {
            return self.selector();
        }
        let depth = depth - 1;
        let parts = match self.below(32) {
            0..4 => return self.selector(),
            4..6 => {
                let name = self.pick(MATH);
                parts![format!("{name}("), self.vector(depth), ")"]
            }
            6..12 => self.over_time(depth),
            12..17 => self.aggregation(depth),
            17..22 => self.binary(depth),
            22..24 => self.with_scalar(depth),
            24..26 => self.label_function(depth),
            26..28 => self.histogram_function(depth),
            _ => self.other_function(depth),
        };
        Node::new(Type::Vector, parts)
    }

    fn metric(&mut self) -> &'static str {
        if self.scope.histograms && self.one_in(2) {
            return self.pick(&world::HISTOGRAM_METRICS);
        }
        // The smaller of two draws prefers the front.
        let names = world::FLOAT_METRICS;
        let n = names.len() as u64;
        names[self.below(n).min(self.below(n)) as usize]
    }

    fn matchers(&mut self) -> Part {
        let mut items = Vec::new();
        for _ in 0..self.below(4).saturating_sub(1) {
            let text = match self.below(14) {
                12.. => "job!=\"\"".to_owned(),
                0..3 => format!("job=\"{}\"", self.pick(&["api", "web"])),
                3..6 => format!("instance{}\"{}\"", self.pick(&["=", "!="]), self.pick(&["a", "b", "c"])),
                6 => format!(
                    "instance{}\"{}\"",
                    self.pick(&["=~", "!~"]),
                    self.pick(&["a|b", ".*", ".+", "", "[^a]", "(?i)B", "a.+|c"])
                ),
                7..9 => format!(
                    "code{}\"{}\"",
                    self.pick(&["=", "!=", "=~", "!~"]),
                    self.pick(&["200", "404", "", "5..", "200|404"])
                ),
                9 => format!(
                    "le{}\"{}\"",
                    self.pick(&["=", "!=", "=~"]),
                    self.pick(&["1", "+Inf", "0.5", ".+"])
                ),
                10 => format!("nothing{}\"\"", self.pick(&["=", "!="])),
                _ => "\"label.with.dots\"=\"x\"".to_owned(),
            };
            items.push(parts![text]);
        }
        Part::List { open: "{", close: "}", items, shown_empty: false }
    }

    /// A selector without modifiers.
    fn bare_selector(&mut self) -> Vec<Part> {
        let name = self.metric();
        if name.starts_with('"') || self.one_in(30) {
            let quoted = if name.starts_with('"') { name.to_owned() } else { format!("\"{name}\"") };
            return parts![format!("{{{quoted}}}")];
        }
        if self.one_in(25) {
            let pattern =
                self.pick(&["requests_total|other_total", "latency_.+", "(up|lone)", "hist.*", ".+_total"]);
            return parts![format!("{{__name__=~\"{pattern}\"}}")];
        }
        vec![name.into(), self.matchers()]
    }

    fn modifiers(&mut self) -> Vec<Part> {
        let mut out = Vec::new();
        if self.one_in(5) {
            let sign = self.pick(&["", "", "-"]);
            out.push(Part::Optional(parts![format!(" offset {sign}"), self.duration()]));
        }
        if self.one_in(7) {
            let at = match self.below(6) {
                0 => "start()".to_owned(),
                1 => "end()".to_owned(),
                2 => "0".to_owned(),
                _ => {
                    let ms = world::FIRST_MS + self.below(world::SPAN_MS as u64) as i64 / 15_000 * 15_000;
                    if self.one_in(5) { format!("{}.25", ms / 1000) } else { (ms / 1000).to_string() }
                }
            };
            out.push(Part::Optional(parts![format!(" @ {at}")]));
        }
        if out.len() == 2 && self.one_in(2) {
            out.swap(0, 1);
        }
        out
    }

    fn selector(&mut self) -> Node {
        let mut parts = self.bare_selector();
        if self.one_in(20) {
            parts.push(Part::Optional(parts![self.pick(&[" smoothed", " smoothed", " anchored"])]));
        }
        parts.extend(self.modifiers());
        Node::new(Type::Vector, parts)
    }

    fn duration(&mut self) -> Node {
        let parts = match self.below(12) {
            0..7 => parts![
                self.pick(&["5m", "1m", "30s", "15s", "2m30s", "10m", "90", "1h", "45s", "100ms", "1.5"])
            ],
            7 => parts!["step()"],
            8 => parts![self.pick(&[
                "range()",
                "step() * 2",
                "(step() + 1m)",
                "-1m + 3m",
                "2 * 30",
                "1m % 40s"
            ])],
            9 => {
                let function = self.pick(&["min_of", "max_of"]);
                parts![format!("{function}("), self.duration(), ", ", self.duration(), ")"]
            }
            10 => {
                let operator = self.pick(&["+", "-", "*", "/", "%", "^"]);
                parts!["(", self.duration(), format!(" {operator} "), self.duration(), ")"]
            }
            _ => parts![format!("{}s", 1 + self.below(900))],
        };
        Node::new(Type::Duration, parts)
    }

    fn matrix(&mut self, depth: u64) -> Node {
        let mut parts;
        if depth > 0 && self.one_in(4) {
            let inner = self.vector(depth - 1);
            parts = parts!["(", inner, ")[", self.duration(), ":"];
            parts.push(self.maybe(2, |g| parts![g.duration()]));
            parts.push("]".into());
        } else {
            parts = self.bare_selector();
            parts.extend(parts!["[", self.duration(), "]"]);
            if self.one_in(8) {
                parts.push(Part::Optional(parts![self.pick(&[" smoothed", " anchored"])]));
            }
        }
        parts.extend(self.modifiers());
        Node::new(Type::Matrix, parts)
    }

    fn over_time(&mut self, depth: u64) -> Vec<Part> {
        match self.below(16) {
            0 => parts!["quantile_over_time(", self.scalar(depth.min(1)), ", ", self.matrix(depth), ")"],
            1 => parts!["predict_linear(", self.matrix(depth), ", ", self.scalar(depth.min(1)), ")"],
            2 => {
                let factors = self.pick(&["0.5, 0.5", "0.1, 0.9", "0, 0.5", "1, 2"]);
                parts!["double_exponential_smoothing(", self.matrix(depth), format!(", {factors})")]
            }
            // What counters and dashboards are mostly asked.
            3..6 => {
                let function = self.pick(&["rate", "increase", "delta", "irate"]);
                parts![format!("{function}("), self.matrix(depth), ")"]
            }
            _ => {
                let function = self.pick(OVER_TIME);
                parts![format!("{function}("), self.matrix(depth), ")"]
            }
        }
    }

    fn labels(&mut self, open: &'static str) -> Part {
        let count = self.below(3) as usize;
        let items = (0..count).map(|_| parts![self.pick(LABELS)]).collect();
        Part::List { open, close: ")", items, shown_empty: true }
    }

    fn aggregation(&mut self, depth: u64) -> Vec<Part> {
        let mut parts = Vec::new();
        let (name, parameter): (&str, Option<Node>) = match self.below(14) {
            0..7 => (self.pick(AGGREGATIONS), None),
            7 => ("quantile", Some(self.scalar(depth.min(1)))),
            8..10 => {
                let name = self.pick(&["topk", "bottomk", "limitk"]);
                let count =
                    Node::new(Type::Scalar, parts![self.pick(&["1", "2", "3", "5", "0", "-1", "1.9"])]);
                (name, Some(if self.one_in(8) { self.scalar(depth.min(1)) } else { count }))
            }
            10 => {
                let ratio = Node::new(
                    Type::Scalar,
                    parts![self.pick(&["0.5", "-0.5", "0.1", "1", "-1", "0", "1.5", "NaN"])],
                );
                ("limit_ratio", Some(ratio))
            }
            11 => {
                let label = self.pick(&["\"value\"", "\"job\"", "\"with space\"", "\"\""]);
                ("count_values", Some(Node::new(Type::Text, parts![label])))
            }
            _ => ("sum", None),
        };
        parts.push(name.into());
        if self.one_in(2) {
            let open = self.pick(&[" by (", " without ("]);
            let labels = self.labels(open);
            parts.push(Part::Optional(vec![labels, " ".into()]));
        }
        parts.push("(".into());
        if let Some(parameter) = parameter {
            parts.extend(parts![parameter, ", "]);
        }
        parts.extend(parts![self.vector(depth), ")"]);
        parts
    }

    /// An operand; without parentheses what is inside may bind otherwise, which is a case too.
    fn operand(&mut self, node: Node) -> Vec<Part> {
        if self.one_in(5) { parts![node] } else { parts!["(", node, ")"] }
    }

    fn binary(&mut self, depth: u64) -> Vec<Part> {
        let left = self.vector(depth);
        let mut parts = self.operand(left.clone());
        let set = self.one_in(4);
        let operator = match self.below(8) {
            _ if set => self.pick(&["and", "or", "unless"]),
            0..5 => self.pick(ARITHMETIC),
            _ => self.pick(COMPARISON),
        };
        parts.push(format!(" {operator} ").into());
        if COMPARISON.contains(&operator) {
            parts.push(self.maybe(3, |_| parts!["bool "]));
        }
        if self.one_in(2) {
            let open = self.pick(&["on (", "on (", "ignoring ("]);
            let target = open == "on (" && self.one_in(2);
            let labels = if target { "on (job, instance)".into() } else { self.labels(open) };
            let mut modifier = vec![labels, " ".into()];
            if !set && self.one_in(2) {
                let open = self.pick(&["group_left (", "group_right ("]);
                modifier.push(Part::Optional(vec![self.labels(open), " ".into()]));
            }
            parts.push(Part::Optional(modifier));
        }
        if self.one_in(if set { 40 } else { 6 }) {
            let fill = self.pick(&[
                "fill (0) ",
                "fill_left (1) ",
                "fill_right (2) ",
                "fill_left (3) fill_right (NaN) ",
                "fill (-1) ",
            ]);
            parts.push(Part::Optional(parts![fill]));
        }
        // Operands that have nothing to do with each other meet nowhere.
        let right = if self.one_in(3) { left } else { self.vector(depth) };
        parts.extend(self.operand(right));
        parts
    }

    fn with_scalar(&mut self, depth: u64) -> Vec<Part> {
        let vector = self.vector(depth);
        let scalar = self.scalar(depth.min(1));
        let (vector, scalar) = (self.operand(vector), self.operand(scalar));
        let operator = match self.below(10) {
            0..4 => self.pick(ARITHMETIC),
            4..8 => self.pick(COMPARISON),
            8 => self.pick(&["</", ">/"]),
            _ => self.pick(&["==", "!=", "+"]),
        };
        let bool =
            if COMPARISON.contains(&operator) { self.maybe(3, |_| parts!["bool "]) } else { "".into() };
        let (mut parts, right) = if self.one_in(3) { (scalar, vector) } else { (vector, scalar) };
        parts.extend([format!(" {operator} ").into(), bool]);
        parts.extend(right);
        parts
    }

    fn label_function(&mut self, depth: u64) -> Vec<Part> {
        let vector = self.vector(depth);
        if self.one_in(3) {
            let separator = self.pick(&["\"-\"", "\"\"", "\", \""]);
            let to = self.pick(&["\"joined\"", "\"job\"", "\"__name__\"", "\"a b\"", "\"\""]);
            let items = (0..self.below(3))
                .map(|_| parts![self.pick(&["\"job\"", "\"instance\"", "\"nothing\"", "\"__name__\""])])
                .collect();
            let from = Part::List { open: ", ", close: "", items, shown_empty: false };
            return vec![
                "label_join(".into(),
                vector.into(),
                format!(", {to}, {separator}").into(),
                from,
                ")".into(),
            ];
        }
        let to = self.pick(&["\"new\"", "\"job\"", "\"__name__\"", "\"instance\"", "\"a-b\""]);
        let with =
            self.pick(&["\"$1\"", "\"x-$1-$2\"", "\"\"", "\"${1}y\"", "\"fixed\"", "\"$name\"", "\"$$1\""]);
        let from = self.pick(&["\"instance\"", "\"job\"", "\"__name__\"", "\"nothing\"", "\"code\""]);
        let pattern = self.pick(&[
            "\"(.*)\"",
            "\"(a|b)\"",
            "\"(.)(.*)\"",
            "\"\"",
            "\"(?P<name>.+)\"",
            "\".*\"",
            "\"(\"",
        ]);
        parts!["label_replace(", vector, format!(", {to}, {with}, {from}, {pattern})")]
    }

    fn histogram_function(&mut self, depth: u64) -> Vec<Part> {
        let vector = match self.below(6) {
            0..3 => {
                let source = if self.scope.histograms && self.one_in(2) { "hist" } else { "latency_bucket" };
                let range = Node::new(
                    Type::Matrix,
                    vec![source.into(), "[".into(), self.duration().into(), "]".into()],
                );
                let function = self.pick(&[
                    "rate",
                    "increase",
                    "delta",
                    "sum_over_time",
                    "avg_over_time",
                    "last_over_time",
                ]);
                Node::new(Type::Vector, parts![format!("{function}("), range, ")"])
            }
            3 => Node::new(Type::Vector, parts!["sum by (job, le) (latency_bucket)"]),
            _ => self.vector(depth),
        };
        match self.below(8) {
            0..3 => parts!["histogram_quantile(", self.scalar(depth.min(1)), ", ", vector, ")"],
            3 => {
                let label = self.pick(&["\"quantile\"", "\"job\"", "\"a b\"", "\"\""]);
                let rest = self.pick(&["0.5", "0.1, 0.9", "0.5, 0.5", "NaN, 2, -1", "0.123456789, 1"]);
                parts!["histogram_quantiles(", vector, format!(", {label}, {rest})")]
            }
            4 => parts!["histogram_fraction(", self.scalar(0), ", ", self.scalar(0), ", ", vector, ")"],
            _ => {
                let function = self.pick(HISTOGRAM);
                parts![format!("{function}("), vector, ")"]
            }
        }
    }

    fn other_function(&mut self, depth: u64) -> Vec<Part> {
        let small = depth.min(1);
        match self.below(18) {
            0..2 => parts!["-", self.vector(depth)],
            2 => parts!["(", self.vector(depth), ")"],
            3 => parts!["vector(", self.scalar(depth), ")"],
            4 => parts!["absent(", self.vector(depth), ")"],
            5..7 => parts!["timestamp(", self.vector(depth), ")"],
            7 => {
                parts!["clamp(", self.vector(depth), ", ", self.scalar(small), ", ", self.scalar(small), ")"]
            }
            8 => {
                let function = self.pick(&["clamp_min", "clamp_max"]);
                parts![format!("{function}("), self.vector(depth), ", ", self.scalar(small), ")"]
            }
            9 => {
                let mut parts = parts!["round(", self.vector(depth)];
                parts.push(self.maybe(2, |g| parts![", ", g.scalar(small)]));
                parts.push(")".into());
                parts
            }
            10 => {
                let function = self.pick(DATE);
                if self.one_in(4) {
                    parts![format!("{function}()")]
                } else {
                    parts![format!("{function}("), self.vector(depth), ")"]
                }
            }
            11..13 => {
                let function = self.pick(&["sort", "sort_desc"]);
                parts![format!("{function}("), self.vector(depth), ")"]
            }
            13 => {
                let function = self.pick(&["sort_by_label", "sort_by_label_desc"]);
                let labels =
                    self.pick(&[", \"job\"", ", \"instance\", \"job\"", "", ", \"nothing\"", ", \"a b\""]);
                parts![format!("{function}("), self.vector(depth), format!("{labels})")]
            }
            14 => parts!["start_timestamp(", self.vector(depth), ")"],
            15 => {
                let function = self.pick(HISTOGRAM);
                parts![format!("{function}("), self.vector(depth), ")"]
            }
            _ => {
                let matchers = self.pick(&[
                    "",
                    ", {version=~\".+\"}",
                    ", {version=\"1.0\"}",
                    ", {nothing=\"\"}",
                    ", {__name__=\"target_info\", env!=\"\"}",
                    ", {__name__=~\".*_info\"}",
                    ", {__name__=\"up\"}",
                    ", {zone=~\".*\"}",
                ]);
                parts!["info(", self.vector(depth), format!("{matchers})")]
            }
        }
    }

    fn number(&mut self) -> &'static str {
        self.pick(&[
            "0", "1", "2", "0.5", "-1", "10", "0.9", "1.5", "NaN", "Inf", "-Inf", "1e3", "0x1f", "3.14",
            "100", "-0.5", "1e300", "0.25", "0.99", "5m", "1_000", ".5", "-0",
        ])
    }

    fn scalar(&mut self, depth: u64) -> Node {
        let parts = if depth == 0 {
            parts![self.number()]
        } else {
            let depth = depth - 1;
            match self.below(16) {
                0..5 => parts![self.number()],
                5 => parts![self.pick(&["time()", "pi()", "start()", "end()", "range()", "step()"])],
                6 => parts!["time()"],
                7..9 => parts!["scalar(", self.vector(depth), ")"],
                9 => {
                    let function = self.pick(&["min_of", "max_of"]);
                    parts![format!("{function}("), self.scalar(depth), ", ", self.scalar(depth), ")"]
                }
                10 => parts!["-", self.scalar(depth)],
                11 => parts!["(", self.scalar(depth), ")"],
                12 => {
                    let operator = self.pick(COMPARISON);
                    parts![self.scalar(depth), format!(" {operator} bool "), self.scalar(depth)]
                }
                _ => {
                    let operator = self.pick(ARITHMETIC);
                    parts![self.scalar(depth), format!(" {operator} "), self.scalar(depth)]
                }
            }
        };
        Node::new(Type::Scalar, parts)
    }

    fn text(&mut self) -> Node {
        Node::new(
            Type::Text,
            parts![self.pick(&["\"text\"", "'it''s'", "`raw\\n`", "\"a\\tb\\u00e9\"", "\"\\xff\""])],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_a_seed_are_the_same_and_use_every_function() {
        let scope = Scope { histograms: true };
        let mut all = String::new();
        for seed in 0..20_000 {
            let text = query(&mut Random::new(seed), scope).to_string();
            if seed % 100 == 0 {
                assert_eq!(text, query(&mut Random::new(seed), scope).to_string());
            }
            all.push('\n');
            all.push_str(&text);
        }
        for function in vedette_promql::FUNCTIONS {
            assert!(all.contains(&format!("{}(", function.name)), "{}", function.name);
        }
        for word in [
            "fill_left",
            "group_right",
            "limit_ratio",
            "count_values",
            " smoothed",
            " anchored",
            "@ end()",
            "[step()",
        ] {
            assert!(all.contains(word), "{word}");
        }
    }
}
