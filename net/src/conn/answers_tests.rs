use super::answers::{ConnEffect, ConnLimits, Connections, RequestSlot};
use super::ids::ConnId;
use bytes::Bytes;

const CONN: ConnId = ConnId {
    slot: 3,
    generation: 7,
};

fn limits() -> ConnLimits {
    ConnLimits {
        requests_max: 4,
        request_bytes_max: 1000,
        outgoing_bytes_max: 100,
        shard_outgoing_bytes_max: 1000,
        idle_ms: 10_000,
    }
}

fn opened() -> Connections {
    let mut connections = Connections::new(limits());
    connections.opened(0, CONN);
    connections
}

/// What was done, in a short notation: the bytes sent, C(lose), P(ause), R(esume).
fn told(effects: &mut Vec<ConnEffect>) -> String {
    effects
        .drain(..)
        .map(|effect| match effect {
            ConnEffect::Send { conn, parts } => {
                assert_eq!(conn, CONN);
                String::from_utf8(parts.concat()).expect("ascii")
            }
            ConnEffect::Close { .. } => "C".to_string(),
            ConnEffect::Pause { .. } => "P".to_string(),
            ConnEffect::Resume { .. } => "R".to_string(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn part(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

fn request(connections: &mut Connections, bytes: usize) -> RequestSlot {
    connections
        .request(1, CONN, bytes, &mut Vec::new())
        .expect("open")
}

#[test]
fn answers_leave_in_request_order() {
    // (order in which four requests are answered, what leaves after each answer)
    let cases: [([usize; 4], [&str; 4]); 4] = [
        ([0, 1, 2, 3], ["a", "b", "c", "d"]),
        ([3, 2, 1, 0], ["", "", "", "abcd"]),
        ([1, 0, 3, 2], ["", "ab", "", "cd"]),
        ([2, 0, 1, 3], ["", "a", "bc", "d"]),
    ];
    for (order, expected) in cases {
        let mut connections = Connections::new(ConnLimits::default());
        connections.opened(0, CONN);
        let slots: Vec<_> = (0..4).map(|_| request(&mut connections, 1)).collect();
        for (which, leaves) in order.into_iter().zip(expected) {
            let mut effects = Vec::new();
            connections.answer(
                slots[which],
                part(["a", "b", "c", "d"][which]),
                &mut effects,
            );
            assert_eq!(told(&mut effects), leaves, "{order:?}");
        }
        assert_eq!(connections.requests_in_flight(), 0);
    }
}

#[test]
fn a_request_without_answer_lets_the_next_leave() {
    let mut connections = opened();
    let first = request(&mut connections, 1);
    let second = request(&mut connections, 1);
    let mut effects = Vec::new();
    connections.answer(second, part("b"), &mut effects);
    assert_eq!(told(&mut effects), "");
    connections.no_answer(first, &mut effects);
    assert_eq!(told(&mut effects), "b");
}

#[test]
fn a_connection_closes_in_the_order_of_its_answers_and_takes_nothing_behind() {
    let mut connections = opened();
    let slots: Vec<_> = (0..3).map(|_| request(&mut connections, 1)).collect();
    let mut effects = Vec::new();
    connections.close_at(slots[1], &mut effects);
    assert_eq!(told(&mut effects), "");
    connections.answer(slots[0], part("a"), &mut effects);
    assert_eq!(told(&mut effects), "a C");
    connections.answer(slots[2], part("c"), &mut effects);
    assert_eq!(told(&mut effects), "");
    assert_eq!(connections.request(1, CONN, 1, &mut effects), None);
    assert!(!connections.is_open(CONN));
}

#[test]
fn reading_stops_at_each_bound_and_resumes_well_below() {
    let mut connections = opened();
    let mut effects = Vec::new();
    let slots: Vec<_> = (0..4)
        .map(|_| connections.request(1, CONN, 1, &mut effects).expect("open"))
        .collect();
    assert_eq!(told(&mut effects), "P", "by the count of requests");
    connections.answer(slots[0], part("a"), &mut effects);
    assert_eq!(told(&mut effects), "a", "three are not well below four");
    connections.answer(slots[1], part("b"), &mut effects);
    assert_eq!(told(&mut effects), "b R");

    let mut connections = opened();
    let slot = connections
        .request(1, CONN, 5000, &mut effects)
        .expect("open");
    assert_eq!(told(&mut effects), "P", "by bytes of requests");
    connections.no_answer(slot, &mut effects);
    assert_eq!(told(&mut effects), "R");

    let mut connections = opened();
    let slot = request(&mut connections, 1);
    connections.charge(slot, 5000, &mut effects);
    assert_eq!(
        told(&mut effects),
        "P",
        "by bytes that a request takes later"
    );
    connections.answer(slot, part("a"), &mut effects);
    assert_eq!(told(&mut effects), "a R");

    let mut connections = opened();
    let slot = request(&mut connections, 1);
    connections.answer(slot, vec![Bytes::from(vec![b'x'; 100])], &mut effects);
    assert!(told(&mut effects).ends_with(" P"), "by bytes of answers");
    connections.sent(2, CONN, 20, &mut effects);
    assert_eq!(told(&mut effects), "");
    connections.sent(2, CONN, 10, &mut effects);
    assert_eq!(told(&mut effects), "R");
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    // (a request is open, its answer was given but not taken, time of the sweep, closed)
    let cases = [
        (false, false, 9_999, false),
        (false, false, 10_000, true),
        (true, false, 60_000, false),
        (true, true, 60_000, true),
    ];
    for (asked, answered, at_ms, closed) in cases {
        let mut connections = opened();
        let mut effects = Vec::new();
        if asked {
            let slot = connections.request(0, CONN, 1, &mut effects).expect("open");
            if answered {
                connections.answer(slot, part("a"), &mut effects);
            }
        }
        effects.clear();
        connections.sweep(at_ms, &mut effects);
        let expected = if closed { "C" } else { "" };
        assert_eq!(told(&mut effects), expected, "{asked} {answered} {at_ms}");
    }
}

#[test]
fn no_connection_means_no_deadline() {
    let mut connections = opened();
    assert_eq!(connections.deadline_ms(), Some(10_000));
    connections.closed(CONN);
    assert_eq!(connections.deadline_ms(), None);
}

#[test]
fn answers_for_a_connection_that_is_gone_are_swallowed() {
    let mut connections = opened();
    let slot = request(&mut connections, 1);
    connections.closed(CONN);
    let mut effects = Vec::new();
    connections.answer(slot, part("a"), &mut effects);
    let next = ConnId {
        slot: 3,
        generation: 8,
    };
    connections.opened(1, next);
    connections.sent(1, CONN, 5, &mut effects);
    assert_eq!(told(&mut effects), "");
}

#[test]
fn a_stop_answers_what_is_under_way_and_closes() {
    let mut connections = opened();
    let slot = request(&mut connections, 1);
    let mut effects = Vec::new();
    connections.close_all(&mut effects);
    assert_eq!(told(&mut effects), "");
    assert_eq!(connections.request(1, CONN, 1, &mut effects), None);
    connections.answer(slot, part("a"), &mut effects);
    assert_eq!(told(&mut effects), "a C");
}

#[test]
fn while_answers_pile_up_readers_that_take_nothing_are_closed() {
    // (bytes of its answer, what it takes every second, closed after 8 s)
    let cases = [(1200, 0, true), (1200, 10, false), (900, 0, false)];
    for (bytes, taken, closed) in cases {
        let mut connections = opened();
        let mut effects = Vec::new();
        let slot = request(&mut connections, 1);
        connections.answer(slot, vec![Bytes::from(vec![b'x'; bytes])], &mut effects);
        effects.clear();
        assert_eq!(connections.is_crowded(), bytes >= 1000);
        for second in 1..=8 {
            connections.sweep(second * 1000, &mut effects);
            if taken > 0 {
                connections.sent(second * 1000, CONN, taken, &mut effects);
            }
        }
        let told = told(&mut effects);
        assert_eq!(told.contains('C'), closed, "{bytes} {taken}: {told}");
        connections.closed(CONN);
        assert!(!connections.is_crowded(), "nothing is left behind");
    }
}
