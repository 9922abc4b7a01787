//! Minutes are made of the samples of that minute, and of no others.

use vedette_model::{Row, Samples, SeriesDefinition};

use super::*;

/// Counter and gauge of a container: definitions of series `2 * number` and the one behind it.
fn define(number: u32, id: &str) -> [SeriesDefinition; 2] {
    let labels = |name: &str| Labels::from_pairs([("__name__", name), ("id", id), ("cpu", "total")]);
    let series = |at: u32, name: &str| SeriesDefinition { series: 2 * number + at, labels: labels(name) };
    [series(0, CPU), series(1, MEMORY)]
}

/// End of a minute, in minutes, and the rounded figures of processor and memory.
type Told = (i64, Option<[i64; 3]>, Option<[i64; 3]>);

struct Collected {
    dictionary: Dictionary,
    usage: UsageHistory,
}

impl Collected {
    fn new() -> Self {
        Self { dictionary: Dictionary::with_history(&[]), usage: UsageHistory::default() }
    }

    /// One pass: containers by their numbers, with seconds of processor and bytes.
    fn pass(
        &mut self,
        time_ms: i64,
        defined: &[SeriesDefinition],
        retired: &[u32],
        told: &[(u32, f64, f64)],
    ) {
        let row = Row {
            time_ms,
            series: told.iter().flat_map(|(number, ..)| [2 * number, 2 * number + 1]).collect(),
            values: told.iter().flat_map(|(_, cpu, memory)| [*cpu, *memory]).collect(),
            ..Row::default()
        };
        let (defined, retired) = (defined.to_vec(), retired.to_vec());
        self.dictionary.note(&mut Samples { defined, retired, rows: vec![row], ..Samples::default() });
        self.usage.note(time_ms, &self.dictionary);
    }

    /// What is known of a container.
    fn told(&self, id: &str) -> Vec<Told> {
        let whole = |spread: Spread| [spread.mean, spread.max, spread.ninety].map(|v| v.round() as i64);
        let minutes = self.usage.minutes(id).into_iter();
        minutes.map(|m| (m.end_ms / MINUTE_MS, m.cpu.map(whole), m.memory.map(whole))).collect()
    }
}

#[test]
fn a_minute_is_made_of_its_own_samples_when_it_is_over() {
    let mut collected = Collected::new();
    // From second 31 on: 100 thousandths, and 900 in the last second of each minute; bytes are twice the
    // seconds behind the beginning of the minute.
    let mut cpu = 7.0;
    for second in 31..=241_i64 {
        cpu += if second % 60 == 59 { 0.9 } else { 0.1 };
        let defined = if second == 31 { define(0, "/a").to_vec() } else { Vec::new() };
        collected.pass(second * 1000, &defined, &[], &[(0, cpu, (second % 60 * 2) as f64)]);
        assert_eq!(collected.told("/a").len() as i64, second / 60, "{second}");
    }
    let whole = |end: i64| (end, Some([113, 900, 100]), Some([59, 118, 106]));
    // There is no rate of the very first sample.
    let first = (1, Some([129, 900, 100]), Some([90, 118, 114]));
    let expected = [first, whole(2), whole(3), whole(4)];
    assert_eq!(collected.told("/a"), expected);
    assert_eq!(collected.told("/b"), []);
}

#[test]
fn what_is_not_told_is_no_minute_and_what_is_gone_is_forgotten() {
    let mut collected = Collected::new();
    let both: Vec<_> = [define(0, "/a"), define(1, "/b")].concat();
    collected.pass(60_000, &both, &[], &[(0, 0.0, 5.0), (1, 0.0, 6.0)]);
    collected.pass(90_000, &[], &[], &[(0, 3.0, 5.0), (1, 3.0, 6.0)]);
    // Nothing is told of one for a minute, and then only its memory makes sense.
    collected.pass(120_000, &[], &[], &[(1, 6.0, 6.0)]);
    collected.pass(180_000, &[], &[], &[(0, f64::NAN, 8.0), (1, 12.0, 6.0)]);
    collected.pass(240_000, &[], &[], &[(0, 9.0, 8.0), (1, 12.0, 6.0)]);
    let used = |value| Some([value; 3]);
    assert_eq!(collected.told("/a"), [(2, used(100), used(5)), (4, None, used(8))]);
    assert_eq!(collected.told("/b").len(), 3);
    collected.pass(250_000, &[], &[2, 3], &[(0, 9.0, 8.0)]);
    collected.pass(300_000, &[], &[], &[(0, 9.0, 8.0)]);
    assert_eq!(collected.told("/b"), []);
    assert_eq!(collected.usage.containers.len(), 1);
    // The machine slept for a while: the minutes between are none.
    collected.pass(3_600_000, &[], &[], &[(0, 9.0, 8.0)]);
    collected.pass(3_660_000, &[], &[], &[(0, 9.0, 8.0)]);
    let ends: Vec<i64> = collected.told("/a").iter().map(|(end, ..)| *end).collect();
    assert_eq!(ends, [2, 4, 5, 61]);
    // Its clock is set back: nothing is told of times that have not come.
    collected.pass(600_000, &[], &[], &[(0, 9.0, 8.0)]);
    collected.pass(660_000, &[], &[], &[(0, 9.0, 8.0)]);
    let ends: Vec<i64> = collected.told("/a").iter().map(|(end, ..)| *end).collect();
    assert_eq!(ends, [11]);
}

#[test]
fn a_day_is_kept_and_less_of_very_many_containers() {
    let mut known = Minutes::default();
    let minute = |value: f64| {
        let spread = Some(Spread { mean: value, max: value, ninety: value });
        Minute { cpu: Packed::of(spread), memory: Packed::NONE }
    };
    (0..3000).for_each(|number| known.add(number, minute(number as f64), MINUTES_OF_ONE_MAX));
    assert_eq!((known.first, known.all.len()), (3000 - 1440, 1440));
    assert_eq!(known.all.back(), Some(&minute(2999.0)));
    assert!(known.all.capacity() <= 1500, "{}", known.all.capacity());
    // Twice as many containers have come as there is room for.
    known.add(3000, minute(0.0), 720);
    assert_eq!((known.first, known.all.len()), (3001 - 720, 720));
    assert!(known.all.capacity() <= 780, "{}", known.all.capacity());
    assert_eq!(size_of::<Minute>(), 12);

    for (containers, minutes) in [(0, 1440), (1, 1440), (486, 1440), (487, 1437), (7_000, 100), (50_000, 14)]
    {
        assert_eq!(minutes_of_each(containers), minutes, "{containers}");
    }
}

#[test]
fn figures_are_kept_to_a_few_parts_of_ten_thousand() {
    for value in [0.0, 1.0, 2.0, 17.0, 999.0, 1e6, 67_108_864.0, 3e12, 1e16] {
        let kept = Packed::of(Some(Spread { mean: value, max: value, ninety: value })).unpack().unwrap();
        assert!((kept.mean - value).abs() <= value * 3e-4, "{value}: {kept:?}");
        assert_eq!((kept.mean, kept.mean), (kept.max, kept.ninety));
    }
    let odd = Packed::of(Some(Spread { mean: -5.0, max: f64::MAX, ninety: f64::INFINITY })).unpack().unwrap();
    assert_eq!(odd.mean, 0.0);
    assert!(odd.max > 1e16 && odd.ninety > 1e16, "{odd:?}");
    assert_eq!(Packed::of(None).unpack(), None);
}
