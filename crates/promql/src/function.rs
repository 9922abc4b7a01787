//! The functions of the language, as data: one list for the parser, the evaluator and editors.

use crate::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function and how it is called.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Types of the arguments that have a place of their own.
    pub args: &'static [ValueType],
    /// How many of `args`, from the end, may be left out.
    pub optional: usize,
    /// How many more arguments, of the type of the last, may follow; `usize::MAX` for any number.
    pub repeats: usize,
    /// Type of the answer.
    pub returns: ValueType,
    /// Not yet stable in Prometheus.
    pub experimental: bool,
    /// What the evaluator does; private to this crate.
    pub(crate) id: FunctionId,
    /// One line for people.
    pub help: &'static str,
}

impl Function {
    /// The function of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
    }

    /// The smallest number of arguments.
    pub fn args_min(&self) -> usize {
        self.args.len() - self.optional
    }

    /// The largest number of arguments, if there is one.
    pub fn args_max(&self) -> Option<usize> {
        self.args.len().checked_add(self.repeats)
    }

    /// Prometheus' number for how many arguments there may be beyond those that must be: 0 where
    /// all have their place, -1 for any number.
    pub fn variadic(&self) -> i64 {
        match self.args_max() {
            None => -1,
            Some(max) => i64::try_from(max - self.args_min()).unwrap_or(i64::MAX),
        }
    }

    /// The call as shown to people, for example `rate(range vector) instant vector`.
    pub fn signature(&self) -> std::string::String {
        let mut text = format!("{}(", self.name);
        for (i, arg) in self.args.iter().enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            let (open, close) = if i >= self.args_min() { ("[", "]") } else { ("", "") };
            text += &format!("{open}{separator}{}{close}", arg.documented());
        }
        if self.repeats > 0 {
            text += "…";
        }
        text += &format!(") {}", self.returns.documented());
        text
    }
}

/// There is no bound to how many arguments may follow.
const ANY: usize = usize::MAX;

macro_rules! functions {
    ($($id:ident $name:literal ($($arg:ident),*) $(optional $optional:literal)? $(repeats $repeats:tt)? -> $returns:ident $(experimental $experimental:literal)? : $help:literal;)*) => {
        /// Names a function inside this crate.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum FunctionId { $($id,)* }

        /// All functions, by name.
        pub static FUNCTIONS: &[Function] = &[$(Function {
            name: $name,
            args: &[$($arg),*],
            optional: 0 $(+ $optional)?,
            repeats: 0 $(+ $repeats)?,
            returns: $returns,
            experimental: false $(|| $experimental)?,
            id: FunctionId::$id,
            help: $help,
        },)*];
    };
}

functions! {
    Abs "abs" (Vector) -> Vector: "Absolute value.";
    Absent "absent" (Vector) -> Vector: "1 if the vector is empty, else nothing.";
    AbsentOverTime "absent_over_time" (Matrix) -> Vector: "1 if no series has a sample in the range, else nothing.";
    Acos "acos" (Vector) -> Vector: "Arc cosine.";
    Acosh "acosh" (Vector) -> Vector: "Inverse hyperbolic cosine.";
    Asin "asin" (Vector) -> Vector: "Arc sine.";
    Asinh "asinh" (Vector) -> Vector: "Inverse hyperbolic sine.";
    Atan "atan" (Vector) -> Vector: "Arc tangent.";
    Atanh "atanh" (Vector) -> Vector: "Inverse hyperbolic tangent.";
    AvgOverTime "avg_over_time" (Matrix) -> Vector: "Mean of the samples in the range.";
    Ceil "ceil" (Vector) -> Vector: "Rounded up to an integer.";
    Changes "changes" (Matrix) -> Vector: "How often the value changed in the range.";
    Clamp "clamp" (Vector, Scalar, Scalar) -> Vector: "Limited to the given smallest and largest value.";
    ClampMax "clamp_max" (Vector, Scalar) -> Vector: "Limited to a largest value.";
    ClampMin "clamp_min" (Vector, Scalar) -> Vector: "Limited to a smallest value.";
    Cos "cos" (Vector) -> Vector: "Cosine.";
    Cosh "cosh" (Vector) -> Vector: "Hyperbolic cosine.";
    CountOverTime "count_over_time" (Matrix) -> Vector: "Number of samples in the range.";
    DayOfMonth "day_of_month" (Vector) optional 1 -> Vector: "Day of the month, 1 to 31, of a Unix time in UTC.";
    DayOfWeek "day_of_week" (Vector) optional 1 -> Vector: "Day of the week, 0 (Sunday) to 6, of a Unix time in UTC.";
    DayOfYear "day_of_year" (Vector) optional 1 -> Vector: "Day of the year, 1 to 366, of a Unix time in UTC.";
    DaysInMonth "days_in_month" (Vector) optional 1 -> Vector: "Number of days in the month of a Unix time in UTC.";
    Deg "deg" (Vector) -> Vector: "Radians as degrees.";
    Delta "delta" (Matrix) -> Vector: "Difference between the ends of the range, for gauges.";
    Deriv "deriv" (Matrix) -> Vector: "Slope per second by linear regression, for gauges.";
    DoubleExponentialSmoothing "double_exponential_smoothing" (Matrix, Scalar, Scalar) -> Vector experimental true: "Smoothed by level and trend, for gauges.";
    End "end" () -> Scalar experimental true: "Unix time of the query's end.";
    Exp "exp" (Vector) -> Vector: "e to the power of the value.";
    FirstOverTime "first_over_time" (Matrix) -> Vector: "Oldest sample in the range.";
    Floor "floor" (Vector) -> Vector: "Rounded down to an integer.";
    HistogramAvg "histogram_avg" (Vector) -> Vector: "Mean of the observations of native histograms.";
    HistogramCount "histogram_count" (Vector) -> Vector: "Number of observations of native histograms.";
    HistogramFraction "histogram_fraction" (Scalar, Scalar, Vector) -> Vector: "Share of the observations between two values.";
    HistogramQuantile "histogram_quantile" (Scalar, Vector) -> Vector: "Quantile of a histogram's observations.";
    HistogramQuantiles "histogram_quantiles" (Vector, String, Scalar, Scalar) optional 1 repeats 8 -> Vector experimental true: "Several quantiles of a histogram's observations.";
    HistogramStddev "histogram_stddev" (Vector) -> Vector: "Standard deviation of the observations of native histograms.";
    HistogramStdvar "histogram_stdvar" (Vector) -> Vector: "Variance of the observations of native histograms.";
    HistogramSum "histogram_sum" (Vector) -> Vector: "Sum of the observations of native histograms.";
    Hour "hour" (Vector) optional 1 -> Vector: "Hour of the day, 0 to 23, of a Unix time in UTC.";
    Idelta "idelta" (Matrix) -> Vector: "Difference between the last two samples, for gauges.";
    Increase "increase" (Matrix) -> Vector: "How much a counter grew in the range.";
    Info "info" (Vector, Vector) optional 1 -> Vector experimental true: "Adds the labels of the info series of the same source.";
    Irate "irate" (Matrix) -> Vector: "Growth per second between the last two samples, for counters.";
    LabelJoin "label_join" (Vector, String, String, String) optional 1 repeats ANY -> Vector: "Sets a label to others joined.";
    LabelReplace "label_replace" (Vector, String, String, String, String) -> Vector: "Sets a label from what a regular expression finds in another.";
    LastOverTime "last_over_time" (Matrix) -> Vector: "Newest sample in the range.";
    Ln "ln" (Vector) -> Vector: "Natural logarithm.";
    Log10 "log10" (Vector) -> Vector: "Logarithm to base 10.";
    Log2 "log2" (Vector) -> Vector: "Logarithm to base 2.";
    MadOverTime "mad_over_time" (Matrix) -> Vector experimental true: "Median absolute deviation of the samples in the range.";
    MaxOf "max_of" (Scalar, Scalar) -> Scalar experimental true: "The larger of two numbers.";
    MaxOverTime "max_over_time" (Matrix) -> Vector: "Largest sample in the range.";
    MinOf "min_of" (Scalar, Scalar) -> Scalar experimental true: "The smaller of two numbers.";
    MinOverTime "min_over_time" (Matrix) -> Vector: "Smallest sample in the range.";
    Minute "minute" (Vector) optional 1 -> Vector: "Minute of the hour, 0 to 59, of a Unix time in UTC.";
    Month "month" (Vector) optional 1 -> Vector: "Month, 1 to 12, of a Unix time in UTC.";
    Pi "pi" () -> Scalar: "The number pi.";
    PredictLinear "predict_linear" (Matrix, Scalar) -> Vector: "Value in so many seconds by linear regression, for gauges.";
    PresentOverTime "present_over_time" (Matrix) -> Vector: "1 for each series with a sample in the range.";
    QuantileOverTime "quantile_over_time" (Scalar, Matrix) -> Vector: "Quantile of the samples in the range.";
    Rad "rad" (Vector) -> Vector: "Degrees as radians.";
    Range "range" () -> Scalar experimental true: "Seconds from the query's start to its end.";
    Rate "rate" (Matrix) -> Vector: "Growth per second in the range, for counters.";
    Resets "resets" (Matrix) -> Vector: "How often a counter started anew in the range.";
    Round "round" (Vector, Scalar) optional 1 -> Vector: "Rounded to the nearest integer or multiple.";
    Scalar "scalar" (Vector) -> Scalar: "Value of the only series, else NaN.";
    Sgn "sgn" (Vector) -> Vector: "Sign: 1, 0 or -1.";
    Sin "sin" (Vector) -> Vector: "Sine.";
    Sinh "sinh" (Vector) -> Vector: "Hyperbolic sine.";
    Sort "sort" (Vector) -> Vector: "Sorted by value, smallest first.";
    SortByLabel "sort_by_label" (Vector, String) optional 1 repeats ANY -> Vector experimental true: "Sorted by labels.";
    SortByLabelDesc "sort_by_label_desc" (Vector, String) optional 1 repeats ANY -> Vector experimental true: "Sorted by labels, last first.";
    SortDesc "sort_desc" (Vector) -> Vector: "Sorted by value, largest first.";
    Sqrt "sqrt" (Vector) -> Vector: "Square root.";
    Start "start" () -> Scalar experimental true: "Unix time of the query's start.";
    StartTimestamp "start_timestamp" (Vector) -> Vector experimental true: "Unix time at which the sample's counting began.";
    StddevOverTime "stddev_over_time" (Matrix) -> Vector: "Standard deviation of the samples in the range.";
    StdvarOverTime "stdvar_over_time" (Matrix) -> Vector: "Variance of the samples in the range.";
    Step "step" () -> Scalar experimental true: "Seconds between the query's evaluations.";
    SumOverTime "sum_over_time" (Matrix) -> Vector: "Sum of the samples in the range.";
    Tan "tan" (Vector) -> Vector: "Tangent.";
    Tanh "tanh" (Vector) -> Vector: "Hyperbolic tangent.";
    Time "time" () -> Scalar: "Unix time of the evaluation.";
    Timestamp "timestamp" (Vector) -> Vector: "Unix time of each sample.";
    TsOfFirstOverTime "ts_of_first_over_time" (Matrix) -> Vector experimental true: "Unix time of the oldest sample in the range.";
    TsOfLastOverTime "ts_of_last_over_time" (Matrix) -> Vector experimental true: "Unix time of the newest sample in the range.";
    TsOfMaxOverTime "ts_of_max_over_time" (Matrix) -> Vector experimental true: "Unix time of the largest sample in the range.";
    TsOfMinOverTime "ts_of_min_over_time" (Matrix) -> Vector experimental true: "Unix time of the smallest sample in the range.";
    Vector "vector" (Scalar) -> Vector: "A number as a vector of one series without labels.";
    Year "year" (Vector) optional 1 -> Vector: "Year of a Unix time in UTC.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_lookup_finds_everything() {
        for f in FUNCTIONS {
            assert_eq!(Function::find(f.name), Some(f), "{}", f.name);
        }
        assert_eq!(Function::find("no_such"), None);
    }

    #[test]
    fn signatures_name_types_and_what_may_be_left_out() {
        let signature = |name| Function::find(name).expect(name).signature();
        assert_eq!(signature("rate"), "rate(range vector) instant vector");
        assert_eq!(signature("round"), "round(instant vector[, scalar]) instant vector");
        assert_eq!(signature("pi"), "pi() scalar");
    }
}
