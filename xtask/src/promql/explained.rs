//! Differences that are meant, each with its reason. What is not listed here is a bug.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    answer::{Aspect, Difference},
    pair::NO_JSON,
};

/// A question and what was answered.
pub struct Case<'a> {
    pub query: &'a str,
    pub theirs: &'a Value,
    pub ours: &'a Value,
    pub difference: &'a Difference,
}

struct Explanation {
    reason: &'static str,
    applies: fn(&Case<'_>) -> bool,
}

/// How errors about modifiers of ranges begin that stand at the wrong function.
const MISUSED: [&str; 2] = ["anchored modifier can only be used", "smoothed modifier can only be used"];

/// What is said where names are gone and nothing else tells series apart.
const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        reason: "a budget is used up, and the programs count what a query holds differently",
        applies: |case| {
            [case.theirs, case.ours]
                .iter()
                .any(|answer| error(answer).contains("too many samples") || answer["errorType"] == "timeout")
        },
    },
    Explanation {
        reason: "Prometheus panics",
        applies: |case| error(case.theirs).starts_with("unexpected error: runtime error"),
    },
    Explanation {
        reason: "Prometheus loses track of what it counts",
        applies: |case| error(case.theirs) == "unexpected number of samples",
    },
    Explanation {
        reason: "Prometheus cannot write the tree of an expression with NaN or Inf",
        applies: |case| {
            case.theirs["errorType"] == NO_JSON && error(case.theirs).contains("unsupported value")
        },
    },
    Explanation {
        reason: "a subquery with @ beside an argument that changes with time has no answer in Prometheus",
        applies: |case| {
            let functions = ["predict_linear((", "quantile_over_time(", "double_exponential_smoothing(("];
            case.difference.aspect == Aspect::Labels
                && case.query.contains(" @ ")
                && case.query.contains(':')
                && functions.iter().any(|function| case.query.contains(function))
        },
    },
    Explanation {
        reason: "of what is equal topk and limitk take what comes first, and Prometheus evaluates in any order",
        applies: |case| {
            ["topk", "bottomk", "limitk"]
                .iter()
                .any(|name| arguments(case.query, name).any(|argument| !comes_in_order(argument)))
                && is_about_values(case.difference.aspect)
        },
    },
    Explanation {
        reason: "info() of 3.14.0 brings names back that were to be dropped; the suite that came after it does not",
        applies: |case| {
            case.query.contains("info(")
                && match case.difference.aspect {
                    Aspect::Labels => {
                        let theirs = nameless(case.theirs);
                        let joined = [" or ", " and ", " unless "].iter().any(|op| case.query.contains(op));
                        let ours = nameless(case.ours);
                        theirs == ours || joined && ours.iter().all(|labels| theirs.contains(labels))
                    }
                    // What only differs by name is the same without.
                    Aspect::Outcome => error(case.ours) == SAME_LABELS,
                    _ => false,
                }
        },
    },
    Explanation {
        reason: "Prometheus sorts matchers while it selects, so that absent() sees them in one or another order",
        applies: |case| {
            case.difference.aspect == Aspect::Labels
                && case.query.contains("absent")
                && ["!=\"", "=~\"", "!~\""].iter().any(|op| case.query.contains(op))
                && [case.theirs, case.ours]
                    .iter()
                    .all(|a| a["data"]["result"].as_array().map_or(0, Vec::len) == 1)
        },
    },
    Explanation {
        reason: "Prometheus takes an aggregation over what is fixed in time for fixed, whatever its parameter",
        applies: |case| {
            let changing = ["quantile(", "topk(", "bottomk(", "limitk(", "limit_ratio("]
                .iter()
                .flat_map(|name| arguments(case.query, name.trim_end_matches('(')))
                .any(|argument| argument.contains(" @ ") && argument.contains("time()"));
            changing
                && (is_about_values(case.difference.aspect) || case.difference.aspect == Aspect::Annotations)
        },
    },
    Explanation {
        reason: "info series are read at the times of the first argument's selector in Prometheus, but looked at without its offset or @",
        applies: |case| {
            case.query.contains("info(")
                && [" offset ", " @ "].iter().any(|word| case.query.contains(word))
                && (is_about_values(case.difference.aspect) || case.difference.aspect == Aspect::ErrorText)
        },
    },
    Explanation {
        reason: "where a label is missing, the natural order of Go's package contradicts itself",
        applies: |case| {
            let mut words = case.query.rsplit(['(', ')']).nth(1).unwrap_or_default().split('"');
            words.next();
            let named: Vec<&str> = words.step_by(2).collect();
            let elements = case.theirs["data"]["result"].as_array().into_iter().flatten();
            case.difference.aspect == Aspect::Order
                && case.query.starts_with("sort_by_label")
                && elements.into_iter().any(|e| named.iter().any(|name| e["metric"].get(name).is_none()))
        },
    },
    Explanation {
        reason: "Prometheus keeps empty buckets of its chunks, which a factor of Inf makes NaN",
        applies: |case| {
            case.difference.theirs.contains(",\"NaN\"]") && case.difference.theirs.contains("buckets")
        },
    },
    Explanation {
        reason: "Prometheus takes the empty buckets of its chunks for observations on that side of zero",
        applies: |case| {
            case.difference.aspect == Aspect::Values
                && case.query.contains("histogram_quantile")
                && (case.query.contains("hist") || case.query.contains("latency"))
                && last_number(&case.difference.theirs) * last_number(&case.difference.ours) <= 0.0
        },
    },
    Explanation {
        reason: "of two mistakes in a query another one is found first",
        applies: |case| {
            case.difference.aspect == Aspect::ErrorText
                && [case.theirs, case.ours].iter().any(|answer| {
                    let text = error(answer);
                    MISUSED.iter().any(|start| text.starts_with(start))
                        || text.starts_with("multiple matches for labels")
                })
        },
    },
    Explanation {
        reason: "Prometheus refuses a modifier at a function only when it gets there, which it may never",
        applies: |case| {
            case.difference.aspect == Aspect::Outcome
                && MISUSED.iter().any(|start| error(case.ours).starts_with(start))
        },
    },
    Explanation {
        reason: "Prometheus' timestamp() forgets an offset beside @",
        applies: |case| {
            ["timestamp(", " @ ", " offset "].iter().all(|word| case.query.contains(word))
                && is_about_values(case.difference.aspect)
        },
    },
    Explanation {
        reason: "Prometheus does not look for equal label sets inside the expression of an instant query",
        applies: |case| {
            error(case.ours) == SAME_LABELS
                && ["histogram_quantiles", "label_"].iter().any(|word| case.query.contains(word))
        },
    },
    Explanation {
        reason: "the last digit of a power, logarithm or angle is made visible",
        applies: |case| {
            let blurs = [
                "^",
                "atan2",
                "exp(",
                "sin",
                "cos",
                "tan",
                "ln(",
                "log",
                "deg(",
                "rad(",
                "histogram_quantile",
            ];
            let visible = case.query.contains("count_values")
                || case.query.contains(" % ")
                // The angle of what is huge is its last digits.
                || ["sin(", "cos(", "tan("].iter().any(|word| case.query.contains(word))
                    && ["sinh(", "cosh(", "exp(", " ^ "].iter().any(|word| case.query.contains(word))
                || error(case.theirs).starts_with("Scalar value ")
                || case.difference.theirs.contains("between 0 and 1, got ");
            (is_about_values(case.difference.aspect)
                || matches!(case.difference.aspect, Aspect::ErrorText | Aspect::Annotations))
                && visible
                && blurs.iter().any(|word| case.query.contains(word))
        },
    },
    Explanation {
        reason: "Prometheus does not check the label that histogram_quantiles sets",
        applies: |case| error(case.ours).starts_with("invalid label name in histogram_quantiles"),
    },
];

fn is_about_values(aspect: Aspect) -> bool {
    matches!(aspect, Aspect::Labels | Aspect::Times | Aspect::Values | Aspect::Outcome)
}

/// The number of the point at which a difference was seen.
fn last_number(text: &str) -> f64 {
    text.trim_end_matches(['"', ']']).rsplit('"').next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}

/// The label sets of an answer without names.
fn nameless(answer: &Value) -> Vec<String> {
    let elements = answer["data"]["result"].as_array().into_iter().flatten();
    let mut sets: Vec<String> = elements
        .map(|element| {
            let labels = element["metric"].as_object().into_iter().flatten();
            let labels: BTreeMap<_, _> = labels.filter(|(name, _)| *name != "__name__").collect();
            serde_json::to_string(&labels).unwrap_or_default()
        })
        .collect();
    sets.sort();
    sets
}

/// What stands in the parentheses of each call or aggregation of that name.
fn arguments<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.match_indices(name).map(|(at, _)| {
        let mut rest = query[at + name.len()..].trim_start();
        for grouping in ["by (", "without ("] {
            if let Some(labels) = rest.strip_prefix(grouping) {
                rest = labels.split_once(')').map_or("", |(_, rest)| rest.trim_start());
            }
        }
        let mut depth = 0_u32;
        let end = rest.find(|c| {
            depth = match c {
                '(' => depth + 1,
                ')' => depth.saturating_sub(1),
                _ => depth,
            };
            depth == 0
        });
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// Whether this is a selector or a function over one's ranges: these alone give their series in
/// the order in which they are stored.
fn comes_in_order(argument: &str) -> bool {
    let calls = argument.matches('(').count();
    let operators =
        ["or", "and", "unless", "+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=", "atan2"];
    !argument.split(' ').any(|word| operators.contains(&word))
        && (calls <= 1 || calls == 2 && argument.contains("[") && !argument.contains(":"))
}

fn error(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_default()
}

/// Why the answers may differ.
pub fn explain(case: &Case<'_>) -> Option<&'static str> {
    EXPLANATIONS.iter().find(|e| (e.applies)(case)).map(|e| e.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_known_of_selectors_and_ranges_only() {
        let known = |query| arguments(query, "topk").all(comes_in_order);
        for query in ["topk(2, up)", "topk by (a, b) (1, rate(x{a=\"b\"}[5m]))", "topk(1, up) + (a or b)"] {
            assert!(known(query), "{query}");
        }
        for query in [
            "topk(2, a or b)",
            "1 + topk by () (1, abs(abs(x)))",
            "topk(1, rate(x[5m:])) ",
            "topk(1, sum(sum(x)))",
        ] {
            assert!(!known(query), "{query}");
        }
    }
}
