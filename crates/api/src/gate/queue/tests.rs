use futures_util::FutureExt;
use vedette_sys::Random;

use super::*;

fn queue(slots: usize, of_client: usize, waiting: usize, waiting_of_client: usize) -> Arc<Queue> {
    Queue::new(&Config {
        queries_max: slots,
        queries_of_client_max: of_client,
        queries_waiting_max: waiting,
        queries_waiting_of_client_max: waiting_of_client,
        ..Config::default()
    })
}

fn client(name: &str) -> Client {
    Client(name.into())
}

fn place(queue: &Arc<Queue>, name: &str) -> Place {
    match queue.slot(&client(name)) {
        Ok(Err(place)) => place,
        other => panic!("no place for {name}, but {:?}", other.map(|slot| slot.is_ok())),
    }
}

fn slot(queue: &Arc<Queue>, name: &str) -> Slot {
    match queue.slot(&client(name)) {
        Ok(Ok(slot)) => slot,
        other => panic!("no slot for {name}, but {:?}", other.map(|slot| slot.is_ok())),
    }
}

#[test]
fn clients_take_turns() {
    let queue = queue(1, 1, 100, 100);
    let running = slot(&queue, "heavy");
    let mut places: Vec<(&str, Place)> =
        ["heavy", "heavy", "heavy", "light", "heavy", "other"].map(|n| (n, place(&queue, n))).into();
    let mut order = Vec::new();
    let mut current = Some(running);
    while !places.is_empty() {
        drop(current.take());
        let at = places.iter_mut().position(|(_, p)| {
            current = p.now_or_never();
            current.is_some()
        });
        order.push(places.remove(at.expect("one of them has the slot")).0);
    }
    assert_eq!(order, ["heavy", "light", "other", "heavy", "heavy", "heavy"]);
}

#[test]
fn nobody_has_all_slots() {
    let queue = queue(4, 3, 100, 100);
    let heavy: Vec<Slot> = (0..3).map(|_| slot(&queue, "heavy")).collect();
    let mut waits = place(&queue, "heavy");
    let light = slot(&queue, "light");
    let mut second = place(&queue, "light");
    drop(light);
    assert!((&mut waits).now_or_never().is_none(), "a fourth slot for one client");
    assert!((&mut second).now_or_never().is_some());
    drop(heavy);
    assert!((&mut waits).now_or_never().is_some());
}

#[test]
fn waiting_is_bounded_and_may_be_given_up() {
    let queue = queue(1, 1, 3, 2);
    let running = slot(&queue, "a");
    let (first, second) = (place(&queue, "a"), place(&queue, "a"));
    assert_eq!(queue.slot(&client("a")).err(), Some(Refusal::ClientFull));
    let third = place(&queue, "b");
    assert_eq!(queue.slot(&client("c")).err(), Some(Refusal::Full));
    drop((first, third));
    let mut again = place(&queue, "b");
    drop(second);
    drop(running);
    assert!((&mut again).now_or_never().is_some());
    let state = queue.lock();
    assert!(state.waiting.is_empty() && state.turns.is_empty() && state.waiting_count == 0);
}

#[test]
fn whatever_comes_and_goes_no_slot_is_lost() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut below = |n: usize| usize::try_from(random.below(n as u64)).unwrap();
        let queue = queue(1 + below(4), 1 + below(3), below(8), 1 + below(4));
        let (mut slots, mut places) = (Vec::new(), Vec::new());
        for _ in 0..300 {
            match below(4) {
                0 if !slots.is_empty() => drop(slots.swap_remove(below(slots.len()))),
                1 if !places.is_empty() => drop(places.swap_remove(below(places.len()))),
                _ => match queue.slot(&client(["a", "b", "c", "d"][below(4)])) {
                    Ok(Ok(slot)) => slots.push(slot),
                    Ok(Err(place)) => places.push(place),
                    Err(_) => {}
                },
            }
            // Some slots come to places that have not looked yet.
            if below(2) == 0 {
                let (ready, waiting): (Vec<_>, Vec<_>) = places
                    .drain(..)
                    .map(|mut p: Place| ((&mut p).now_or_never(), p))
                    .partition(|p| p.0.is_some());
                slots.extend(ready.into_iter().filter_map(|(slot, _)| slot));
                places.extend(waiting.into_iter().map(|(_, place)| place));
            }
            let state = queue.lock();
            assert_eq!(state.taken, state.taken_by.values().sum::<usize>());
            assert!(state.taken <= queue.slots_max);
            assert!(state.taken_by.values().all(|taken| (1..=queue.slots_of_client_max).contains(taken)));
            assert_eq!(state.waiting_count, state.waiting.values().map(VecDeque::len).sum::<usize>());
            assert_eq!(state.turns.len(), state.waiting.len());
            let may = |c: &Client| state.taken_by.get(c).copied().unwrap_or(0) < queue.slots_of_client_max;
            let idle = state.taken < queue.slots_max && state.turns.iter().any(may);
            assert!(!idle, "seed {seed}: a free slot and one who waits for it");
        }
        drop((slots, places));
        assert_eq!(queue.lock().taken, 0, "seed {seed}");
    }
}

#[test]
fn a_client_is_known_by_address_and_user() {
    let address = IpAddr::from([127, 0, 0, 1]);
    let mut headers = HeaderMap::new();
    assert_eq!(Client::new(address, &headers).to_string(), "127.0.0.1");
    headers.insert("user-agent", "Grafana/12".parse().unwrap());
    headers.insert("x-grafana-user", "ada".parse().unwrap());
    assert_eq!(Client::new(address, &headers).to_string(), "127.0.0.1 ada Grafana/12");
    headers.insert("user-agent", "x".repeat(5000).parse().unwrap());
    assert!(Client::new(address, &headers).to_string().len() <= NAME_BYTES_MAX);
}
