//! Pages that are compared as a whole against pages that are read line by line: the same comes of them.

use proptest::prelude::*;

use super::*;

/// Zero samples at starts are made of OpenMetrics only; where they are wanted, pages are read by lines.
fn by_lines() -> Features {
    Features { start_times: StartTimes::ZeroSamples, ..Features::default() }
}

const DROPS_B: &str = "metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]";

fn is_known(rig: &Rig) -> bool {
    rig.lane.knows_page(rig.live.id)
}

#[test]
fn a_page_is_known_when_only_its_values_change() {
    let mut rig = Rig::new(DROPS_B);
    let page = |value: u32| format!("# HELP a A.\na {value}\nb {value}\nc{{x=\"y\"}} {value}.5\n");
    for (i, known) in [(0, false), (1, true), (2, true)] {
        assert_eq!(rig.text(1000 + i64::from(i), &page(i)), OK);
        assert_eq!(is_known(&rig), known, "{i}");
    }
    assert_eq!(rig.store.at(1002), ["a{_} 2", "c{_, x=\"y\"} 2.5"]);
    assert_eq!(rig.report("scrape_samples_scraped"), ["3", "3", "3"]);
    assert_eq!(rig.report("scrape_samples_post_metric_relabeling"), ["2", "2", "2"]);
    assert_eq!(rig.report("scrape_series_added"), ["2", "0", "0"]);
    // What is there no more ends as ever, and so does everything after a failure.
    assert_eq!(rig.text(2000, "# HELP a A.\na 3\nb 3\n"), OK);
    assert_eq!(rig.store.at(2000), ["a{_} 3", "c{_, x=\"y\"} stale"]);
    for i in 0..2 {
        rig.text(3000 + i, "a 1\n");
    }
    assert!(is_known(&rig));
    rig.give(4000, Err(Failure::Http("refused".into())));
    assert_eq!((rig.store.at(4000), is_known(&rig)), (vec!["a{_} stale".to_owned()], false));
    // Other descriptions are told on although the series are the same.
    for (i, help) in ["one", "one", "one", "two"].into_iter().enumerate() {
        rig.text(5000 + i as i64, &format!("# HELP a {help}\na 1\n"));
    }
    assert_eq!(rig.store.state.lock().metadata.last().map(String::as_str), Some("a unknown two"));
    // Times make a page that is read by lines.
    for i in 0..3 {
        rig.text(6000 + i, "a 1 5999\n");
    }
    assert!(!is_known(&rig));
}

#[test]
fn a_sink_that_forgot_the_series_of_a_known_page_gets_them_again() {
    let mut rig = Rig::new("scrape_interval: 15s");
    for i in 0..3 {
        rig.text(1000 + i, "a 1\nb 2\n");
    }
    assert!(is_known(&rig));
    rig.store.refuse(vec![Rejected::UnknownSeries(0)]);
    assert_eq!(rig.text(2000, "a 2\nb 3\n"), OK);
    assert_eq!(rig.store.at(2000), ["a{_} 2", "b{_} 3"]);
}

proptest! {
    #[test]
    fn known_pages_are_read_as_by_lines(
        pages in prop::collection::vec(
            (prop::collection::vec((0..5usize, 0..3u8), 0..4), 0..12u8, 1..4usize), 1..12,
        ),
        drops in any::<bool>(),
    ) {
        const LINES: [&str; 5] = ["a V\n", "# TYPE b gauge\nb V\n", "c{x=\"V\"} V\n", "d{y=\"1\"} V 1\n", "# HELP a V\n"];
        let keys = if drops { DROPS_B } else { "scrape_interval: 15s" };
        let (mut whole, mut lines) = (Rig::new(keys), Rig::with(keys, by_lines()));
        let mut time_ms = 1_700_000_000_000;
        for (page, special, times) in pages {
            for time in 0..times {
                time_ms += 1000;
                let mut text = String::new();
                for (line, value) in &page {
                    // Values change, and labels with them do only where the page says so.
                    let (head, tail) = LINES[*line].rsplit_once('V').unwrap();
                    text.push_str(&head.replace('V', &value.to_string()));
                    text.push_str(&format!("{}{tail}", usize::from(*value) + time));
                }
                if special == 0 {
                    text.push_str("wrong");
                }
                let told: Vec<_> = [&mut whole, &mut lines]
                    .map(|rig| match special {
                        1 => rig.give(time_ms, Err(Failure::Http("x".into()))),
                        _ => rig.text(time_ms, &text),
                    })
                    .into();
                prop_assert_eq!(&told[0], &told[1]);
            }
        }
        let (whole, lines) = (whole.store.state.lock(), lines.store.state.lock());
        let plain = |floats: &BTreeMap<(String, i64), f64>| {
            floats.iter().map(|(key, value)| (key.clone(), value.to_bits())).collect::<Vec<_>>()
        };
        prop_assert_eq!(plain(&whole.floats), plain(&lines.floats));
        prop_assert_eq!(&whole.metadata, &lines.metadata);
    }
}
