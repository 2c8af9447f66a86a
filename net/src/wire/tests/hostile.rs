//! Foreign bytes: whatever comes, decoding ends with a message or a complaint, and its memory stays within `Limits`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ::bytes::Bytes;

use super::bytes::{hex, joined};
use super::sample::{Random, Sample};
use crate::wire::table::with_apis;
use crate::wire::{
    ApiKey, Call, Field, Limits, Malformed, Reader, Refused, api as ours, decode_request,
    encode_request,
};

/// Counts what each thread has allocated, for the bound below.
struct Counting;

thread_local! {
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system allocator as it came; the counter is a plain cell that never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED_BYTES.try_with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn allocated_bytes_by(work: impl FnOnce()) -> usize {
    let before = ALLOCATED_BYTES.with(Cell::get);
    work();
    ALLOCATED_BYTES.with(Cell::get) - before
}

/// What decoding may allocate beside arrays: the count of references that a frame gets with its first slice, and the
/// replacement of a client id.
const BESIDE_ARRAYS_BYTES: usize = 256;

/// Breaks a few bytes of a frame.
fn mutate(frame: &Bytes, random: &mut Random) -> Bytes {
    let mut bytes = frame.to_vec();
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len().max(1) as u64) as usize;
        match random.below(7) {
            0 => bytes.truncate(place),
            1 => bytes.insert(place.min(bytes.len()), random.next() as u8),
            2 if !bytes.is_empty() => drop(bytes.remove(place)),
            3 => bytes[place..]
                .iter_mut()
                .take(4)
                .for_each(|byte| *byte = 0xff),
            4 => bytes[place..]
                .iter_mut()
                .take(1)
                .for_each(|byte| *byte = 0x7f),
            5 => bytes.extend_from_within(place..),
            _ => bytes[place..]
                .iter_mut()
                .take(1)
                .for_each(|byte| *byte ^= 1 << random.below(8)),
        }
    }
    Bytes::from(bytes)
}

fn decode_mutated_requests<C: Call + Sample>() {
    let api = C::KEY.api();
    for version in api.schema.min..=api.schema.max {
        let dialect = api.dialect(version);
        for seed in 0..300 {
            let random = &mut Random(seed);
            let request = C::sample(random, dialect);
            let frame = joined(&encode_request(version, 1, None, &request.into()));
            let frame = mutate(&frame, random);
            let limits = Limits::for_request(frame.len());
            let allocated = allocated_bytes_by(|| {
                let _ = decode_request(&frame);
                let mut reader = Reader::new(&frame, limits);
                let _ = C::read(&mut reader, dialect);
                let _ = C::Response::read(&mut Reader::new(&frame, limits), dialect);
            });
            let allowed = 3 * (limits.array_bytes_max + BESIDE_ARRAYS_BYTES + frame.len());
            assert!(
                allocated <= allowed,
                "{} version {version} seed {seed}",
                api.name
            );
        }
    }
}

macro_rules! test_apis {
    ($(
        $key:literal $name:ident: $request:ident, $response:ident, $min:literal to $max:literal, flexible $flexible:expr
            $(, served $served_min:literal to $served_max:literal
                $(, advertised $advertised_min:literal to $advertised_max:literal)?)?;
    )+) => {
        #[test]
        fn broken_frames_never_panic_nor_allocate_beyond_their_bound() {
            $(decode_mutated_requests::<ours::$request>();)+
        }
    };
}

with_apis!(test_apis);

#[test]
fn random_bytes_never_panic() {
    let random = &mut Random(1);
    for _ in 0..20_000 {
        let mut frame: Vec<u8> = (0..random.below(200))
            .map(|_| random.next() as u8)
            .collect();
        if frame.len() > 4 {
            frame[0] = 0;
            frame[1] = random.below(24) as u8;
            frame[2] = 0;
            frame[3] = random.below(14) as u8;
        }
        let _ = decode_request(&Bytes::from(frame));
    }
}

fn malformed(frame: &Bytes) -> Malformed {
    match decode_request(frame) {
        Err(Refused::Malformed(malformed)) => malformed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_count_beyond_the_frame_allocates_nothing() {
    for frame in [
        "0003 0001 00000000 ffff 7fffffff 0001 61",
        "0003 0009 00000000 ffff 00 ffffffff0f 02 61 00 01 00 00 00",
        "0000 0003 00000000 ffff ffff 0001 00000000 00000001 0001 61 40000000 00000000 00000000",
    ] {
        let frame = hex(frame);
        let allocated = allocated_bytes_by(|| {
            assert_eq!(
                malformed(&frame).reason,
                "an array counts more elements than the frame holds"
            );
        });
        assert!(allocated < 512, "{allocated}");
    }
}

#[test]
fn a_negative_length_is_malformed() {
    for frame in [
        "0003 0001 00000000 fffe",
        "0003 0001 00000000 ffff fffffffe",
        "0003 0001 00000000 ffff 00000001 8000",
        "0000 0003 00000000 ffff ffff 0001 00000000 00000001 0001 61 00000001 00000000 80000000",
    ] {
        assert_eq!(
            malformed(&hex(frame)).reason,
            "a length is negative",
            "{frame}"
        );
    }
}

#[test]
fn a_frame_of_nothing_but_the_smallest_elements_costs_a_bounded_multiple_of_itself() {
    let count = 40 << 20;
    let mut bytes = hex("0003 0001 00000000 ffff").to_vec();
    bytes.extend_from_slice(&(count as u32).to_be_bytes());
    bytes.resize(bytes.len() + 2 * count, 0);
    let frame = Bytes::from(bytes);
    let allocated = allocated_bytes_by(|| {
        assert_eq!(
            malformed(&frame).reason,
            "the arrays of the frame exceed their budget"
        );
    });
    assert!(allocated <= Limits::for_request(frame.len()).array_bytes_max);
}

#[test]
fn tagged_fields_out_of_order_too_many_or_too_long_are_malformed() {
    for (tags, reason) in [
        ("02 05 00 05 00", "tagged fields are out of order"),
        ("02 05 00 04 00", "tagged fields are out of order"),
        ("8102", "too many tagged fields"),
        ("01 05 7f", "the frame ends inside a tagged field"),
        ("01 05 ffffffff7f", "a varint is too long"),
    ] {
        let frame = hex(&format!("0012 0003 00000001 ffff {tags} 01 01 00"));
        assert_eq!(malformed(&frame).reason, reason, "{tags}");
    }
}

#[test]
fn a_known_tagged_field_of_another_length_than_it_says_is_malformed() {
    let response = "0000 01 00000000 01 01 09 0000000000000002 00 00";
    let body = hex(response);
    let dialect = ApiKey::ApiVersions.api().dialect(3);
    let read =
        ours::ApiVersionsResponse::read(&mut Reader::new(&body, Limits::for_request(64)), dialect);
    assert_eq!(
        read.unwrap_err().reason,
        "a tagged field has another length than it says"
    );
}
