//! The outbox over crashes, full disks and damaged records.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use vedette_sys::{Random, SimFs};

use super::intent;
use crate::outbox::{Outbox, decodes};

fn open(fs: &SimFs) -> Outbox {
    let names = ["a".to_owned(), "b".to_owned()];
    Outbox::open(Arc::new(fs.clone()), Path::new("/outbox"), &names, 1000, 1 << 20).expect("opens").0
}

/// Accepts, delivers and restarts at random, ends the machine at a random operation, and compares
/// with what was acknowledged.
#[test]
fn what_was_acknowledged_is_there_after_any_crash() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let fs = SimFs::new(seed);
        let mut pending = BTreeSet::new();
        // Acted on without an answer: there or not there, both are right.
        let mut unsure = BTreeSet::new();
        let mut next = 0;
        fs.crash_at(1 + random.below(60));
        while !fs.crashed() {
            let names = ["a".to_owned(), "b".to_owned()];
            let opened = Outbox::open(Arc::new(fs.clone()), Path::new("/outbox"), &names, 1000, 1 << 20);
            let Ok((mut outbox, _)) = opened else { break };
            for _ in 0..random.below(20) {
                let receiver = if random.one_in(2) { "a" } else { "b" };
                if random.one_in(3)
                    && let Some((seq, found)) = outbox.first_pending(receiver, |_| true)
                {
                    pending.remove(&found.id);
                    if outbox.done(receiver, seq).is_err() {
                        unsure.insert(found.id);
                    }
                } else {
                    let id = next.to_string();
                    next += 1;
                    match outbox.accept(&[intent(&id, receiver)]) {
                        Ok(_) => pending.insert(id),
                        Err(_) => unsure.insert(id),
                    };
                }
            }
        }
        if random.one_in(2) {
            fs.restart();
        } else {
            fs.power_loss();
        }
        let mut outbox = open(&fs);
        let mut found = BTreeSet::new();
        for receiver in ["a", "b"] {
            let mut last = 0;
            while let Some((seq, intent)) = outbox.first_pending(receiver, |seq| seq > last) {
                last = seq;
                found.insert(intent.id.clone());
            }
        }
        assert!(pending.is_subset(&found), "seed {seed}: lost {:?}", pending.difference(&found));
        let extra: BTreeSet<_> = found.difference(&pending).cloned().collect();
        assert!(extra.is_subset(&unsure), "seed {seed}: came back {extra:?}");
        outbox.accept(&[intent("new", "a")]).expect("works again");
    }
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    let fs = SimFs::new(1);
    let mut outbox = open(&fs);
    outbox.accept(&[intent("1", "a")]).expect("taken");
    fs.set_capacity(Some(0));
    outbox.accept(&[intent("2", "a")]).expect_err("the disk is full");
    assert_eq!(outbox.pending_len("a"), 1);
    fs.set_capacity(None);
    outbox.accept(&[intent("2", "a")]).expect("there is space again");
    drop(outbox);
    assert_eq!(open(&fs).pending_len("a"), 2);
}

/// A receiver that is away for long must not make the log of the others grow without end.
#[test]
fn the_log_stays_small_although_one_waits_for_ever() {
    let fs = SimFs::new(1);
    let mut outbox = open(&fs);
    let waiting: Vec<_> = (0..150).map(|n| intent(&format!("waits-{n}"), "b")).collect();
    outbox.accept(&waiting).expect("taken");
    let body: Arc<[u8]> = format!("{{\"a\":\"{}\"}}", "x".repeat(200_000)).into_bytes().into();
    for i in 0..300 {
        let big = crate::Intent { body: body.clone(), ..intent(&i.to_string(), "a") };
        outbox.accept(&[big]).expect("taken");
        let (seq, _) = outbox.first_pending("a", |_| true).expect("it waits");
        outbox.done("a", seq).expect("written");
        assert!(outbox.bytes() < 20 << 20, "{} bytes after {i}", outbox.bytes());
    }
    drop(outbox);
    let outbox = open(&fs);
    assert_eq!((outbox.pending_len("a"), outbox.pending_len("b")), (0, 150));
    let mut last = 0;
    for wanted in &waiting {
        let (seq, found) = outbox.first_pending("b", |seq| seq > last).expect("it waits");
        assert_eq!(found, *wanted);
        last = seq;
    }
}

#[test]
fn damaged_records_are_no_records() {
    let mut random = Random::new(3);
    for length in 0..200 {
        let mut record: Vec<u8> =
            (0..length).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect();
        decodes(&record);
        // Of a known kind, but with nonsense after it.
        for kind in [1, 2] {
            if let Some(first) = record.first_mut() {
                *first = kind;
            }
            decodes(&record);
        }
    }
    assert!(!decodes(&[]));
    assert!(!decodes(&[1; 9]));
    assert!(decodes(&[2; 9]));
    assert!(!decodes(&[3; 9]));
}
