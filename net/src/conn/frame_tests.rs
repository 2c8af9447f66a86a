use super::frame::{DIRECT_BYTES_MIN, FrameRefused, Framer, Traffic};
use super::transport::Transport;
use bytes::Bytes;

const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

fn framer() -> (Framer, Transport) {
    let transport = Transport::new(64 * 1024 * 1024);
    (Framer::new(transport.clone(), FRAME_BYTES_MAX), transport)
}

fn body(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + seed * 7) as u8).collect()
}

fn stream(lengths: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    for (seed, &length) in lengths.iter().enumerate() {
        out.extend((length as i32).to_be_bytes());
        out.extend(body(length, seed));
    }
    out
}

/// Feeds a stream in pieces of `step` bytes, through loans where the framer offers them.
fn feed(framer: &mut Framer, mut data: &[u8], step: usize) -> Result<Vec<Bytes>, FrameRefused> {
    let mut frames = Vec::new();
    while !data.is_empty() {
        if let Some(mut loan) = framer.lend() {
            let (target, room) = loan.target();
            let count = room.min(step).min(data.len());
            assert!(count > 0, "a loan has room");
            // SAFETY: the target has that much room.
            unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), target, count) };
            data = &data[count..];
            // SAFETY: that many bytes were just written.
            unsafe { framer.give_back(0, loan, count, &mut frames) }?;
        } else {
            let (now, rest) = data.split_at(step.min(data.len()));
            framer.take(0, now, &mut frames)?;
            data = rest;
        }
    }
    Ok(frames)
}

#[test]
fn frames_come_out_whole_in_order_however_they_arrive() {
    let mixes: [&[usize]; 5] = [
        &[1, 2, 3, 0, 4],
        &[200; 50],
        &[65536, 65536, 10, 65536, 3, 0, 65536],
        &[DIRECT_BYTES_MIN - 1, DIRECT_BYTES_MIN, DIRECT_BYTES_MIN + 1],
        &[3_000_000, 5, 1_048_576, 1_048_577],
    ];
    for lengths in mixes {
        for step in [1, 3, 7, 1000, 8192, 70_000, usize::MAX] {
            if step < 1000 && lengths.iter().sum::<usize>() > 1_000_000 {
                continue;
            }
            let (mut framer, transport) = framer();
            let frames = feed(&mut framer, &stream(lengths), step).expect("lawful lengths");
            assert_eq!(frames.len(), lengths.len(), "{lengths:?} by {step}");
            for (seed, frame) in frames.iter().enumerate() {
                assert_eq!(
                    &frame[..],
                    body(lengths[seed], seed),
                    "{lengths:?} by {step}"
                );
            }
            assert_eq!(framer.waiting_since_ms(), None);
            drop(frames);
            assert_eq!(transport.used_bytes(), 0, "{lengths:?} by {step}");
        }
    }
}

#[test]
fn a_length_outside_the_limits_ends_the_stream() {
    for length in [-1, i32::MIN, FRAME_BYTES_MAX as i32 + 1, i32::MAX] {
        for lead in [&[][..], &[5], &[20_000]] {
            for step in [1000, usize::MAX] {
                let (mut framer, _) = framer();
                let mut data = stream(lead);
                data.extend(length.to_be_bytes());
                let got = feed(&mut framer, &data, step);
                assert_eq!(got, Err(FrameRefused { length }), "behind {lead:?}");
            }
        }
    }
}

/// How much memory a frame of this length holds when so many bytes of it have come, in pieces of 1000.
fn held_bytes(framer: &mut Framer, transport: &Transport, length: usize, arrived: usize) -> usize {
    let mut data = (length as i32).to_be_bytes().to_vec();
    data.extend(vec![0; arrived]);
    feed(framer, &data, 1000).expect("lawful");
    transport.used_bytes()
}

#[test]
fn memory_follows_what_arrived_not_what_was_announced() {
    for length in [10_000, 100_000, FRAME_BYTES_MAX] {
        for arrived in [0, 1, 1_000, 5_000, 9_000, 50_000, 90_000] {
            if arrived >= length {
                continue;
            }
            let (mut framer, transport) = framer();
            let held = held_bytes(&mut framer, &transport, length, arrived);
            let bound = (4 * arrived).max(4096).min(length) + 64;
            assert!(held <= bound, "{held} bytes for {arrived} of {length}");
            drop(framer);
            assert_eq!(transport.used_bytes(), 0);
        }
    }
}

#[test]
fn a_peer_that_sent_a_large_frame_gets_room_for_one_like_it_and_no_more() {
    for (sent, length, bound) in [
        (60_000, 60_000, 60_000),
        (60_000, FRAME_BYTES_MAX, 60_000),
        (3_000_000, FRAME_BYTES_MAX, 256 * 1024),
    ] {
        let (mut framer, transport) = framer();
        feed(&mut framer, &stream(&[sent]), 8192).expect("lawful");
        let held = held_bytes(&mut framer, &transport, length, 0);
        assert!((bound..=bound + 64).contains(&held), "{held} after {sent}");
    }
    let (mut framer, transport) = framer();
    feed(&mut framer, &stream(&[60_000]), 8192).expect("lawful");
    feed(&mut framer, &stream(&[100; 40]), 8192).expect("lawful");
    let held = held_bytes(&mut framer, &transport, FRAME_BYTES_MAX, 0);
    assert!(
        held <= 4096 + 64,
        "{held} bytes: what was sent is forgotten"
    );
}

#[test]
fn a_frame_below_64_kib_per_second_is_slow_after_two_seconds() {
    // (ms between pieces, bytes of a piece, slow after 4 s)
    for (pause_ms, piece, slow) in [(100, 1, true), (100, 6_000, true), (100, 7_000, false)] {
        let (mut framer, _) = framer();
        let mut frames = Vec::new();
        let length = FRAME_BYTES_MAX as i32;
        framer
            .take(1000, &length.to_be_bytes(), &mut frames)
            .expect("lawful");
        for round in 1..=40 {
            let now_ms = 1000 + round * pause_ms;
            framer
                .take(now_ms, &vec![0; piece], &mut frames)
                .expect("lawful");
            assert!(now_ms >= 3000 || !framer.is_slow(now_ms), "too early");
        }
        assert_eq!(framer.is_slow(5000), slow, "{piece} bytes");
        framer.resumed(5000);
        assert!(!framer.is_slow(5000), "the time before is forgiven");
    }
}

#[test]
fn large_frames_are_expected_after_a_large_one_and_forgotten_after_small_ones() {
    let (mut framer, _) = framer();
    assert_eq!(framer.traffic(), Traffic::Small);
    feed(&mut framer, &stream(&[65536]), 1000).expect("lawful");
    assert_eq!(framer.traffic(), Traffic::Bulk);
    feed(&mut framer, &stream(&[100; 32]), usize::MAX).expect("lawful");
    assert_eq!(framer.traffic(), Traffic::Small);
}

#[test]
fn a_frame_that_stops_midway_is_noticed() {
    let (mut framer, _) = framer();
    let mut frames = Vec::new();
    framer.take(5, &[0, 0], &mut frames).expect("lawful");
    assert_eq!(framer.waiting_since_ms(), Some(5));
    framer
        .take(9, &[0, 3, 1, 2, 3], &mut frames)
        .expect("lawful");
    assert_eq!(framer.waiting_since_ms(), None);
    assert_eq!(frames.len(), 1);
}
