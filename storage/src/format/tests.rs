//! What is encoded decodes to itself, and bytes that nobody encoded give an error.

use super::*;
use crate::ids::{
    DirectoryId, LeaderEpoch, LogNumber, MetadataIndex, NodeId, Offset, PartitionIndex, ShardIndex,
    TopicId,
};
use bytes::Bytes;
use proptest::prelude::*;
use std::path::Path;

fn offset() -> impl Strategy<Value = Offset> {
    prop_oneof![0..1000i64, 0..=i64::MAX].prop_map(Offset)
}

fn place() -> impl Strategy<Value = Place> {
    (offset(), offset(), 0..=i64::MAX as u64, any::<i32>()).prop_map(|(a, b, position, epoch)| {
        Place {
            segment: a.min(b),
            position,
            offset: a.max(b),
            epoch: LeaderEpoch(epoch),
        }
    })
}

fn epoch_start() -> impl Strategy<Value = EpochStart> {
    (any::<i32>(), offset()).prop_map(|(epoch, start)| EpochStart {
        epoch: LeaderEpoch(epoch),
        start,
    })
}

fn epochs() -> impl Strategy<Value = Vec<EpochStart>> {
    prop::collection::vec((0..1000i32, 0..1000i64), 0..5).prop_map(|steps| {
        let mut last = EpochStart {
            epoch: LeaderEpoch(-1),
            start: Offset(0),
        };
        let next = |(epoch, start): (i32, i64)| {
            last = EpochStart {
                epoch: LeaderEpoch(last.epoch.0 + 1 + epoch),
                start: Offset(last.start.0 + start),
            };
            last
        };
        steps.into_iter().map(next).collect()
    })
}

fn log() -> impl Strategy<Value = LogNumber> {
    any::<u32>().prop_map(|log| LogNumber(u64::from(log)))
}

fn open() -> impl Strategy<Value = Open> {
    let ids = (log(), any::<u128>(), any::<i32>(), any::<u64>());
    (ids, place(), offset(), epochs(), prop::option::of(log())).prop_map(
        |((log, topic, partition, index), start, log_start, epochs, replaces)| Open {
            log,
            topic: TopicId(topic),
            partition: PartitionIndex(partition),
            metadata_index: MetadataIndex(index),
            start,
            log_start,
            epochs,
            replaces,
        },
    )
}

fn append() -> impl Strategy<Value = Append> {
    let offsets = prop::collection::vec(0..i64::MAX / 2, 4);
    (log(), offsets, 0..1u64 << 40, any::<[i32; 2]>(), 0..3000u32).prop_map(
        |(log, mut offsets, position, epochs, bytes)| {
            offsets.sort_unstable();
            Append {
                log,
                segment: Offset(offsets[0]),
                position,
                previous_end: Offset(offsets[1]),
                previous_epoch: LeaderEpoch(epochs[0]),
                base: Offset(offsets[2]),
                end: Offset(offsets[3] + 1),
                epoch: LeaderEpoch(epochs[1]),
                bytes,
            }
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let image = (log(), offset(), 0..1u64 << 40, 0..=IMAGE_BYTES_MAX as u32);
    prop_oneof![
        open().prop_map(Entry::Open),
        append().prop_map(Entry::Append),
        (log(), place()).prop_map(|(log, place)| Entry::Truncate { log, place }),
        (log(), epoch_start()).prop_map(|(log, epoch)| Entry::Epoch { log, epoch }),
        (log(), offset()).prop_map(|(log, log_start)| Entry::Start { log, log_start }),
        (log(), place()).prop_map(|(log, place)| Entry::Mark { log, place }),
        image.prop_map(|(log, segment, position, bytes)| Entry::Image(Image {
            log,
            segment,
            position,
            bytes,
        })),
        log().prop_map(|log| Entry::Drop { log }),
    ]
}

fn header() -> impl Strategy<Value = WindowHeader> {
    let numbers = (any::<i32>(), any::<u16>(), any::<[u64; 2]>(), any::<u32>());
    (numbers, 0..u64::MAX, any::<u64>()).prop_map(
        |((node, shard, [run, checkpoint], previous_crc), known, above)| WindowHeader {
            node: NodeId(node),
            shard: ShardIndex(shard),
            run,
            sequence: known.saturating_add(1).saturating_add(above % 7),
            known_synced: known,
            checkpoint,
            previous_crc,
        },
    )
}

/// The payload of an entry: bytes that follow from its length.
fn payload(entry: &Entry) -> Vec<u8> {
    (0..entry.payload_bytes())
        .map(|index| (index * 7) as u8)
        .collect()
}

fn window(header: &WindowHeader, entries: &[Entry]) -> Vec<u8> {
    let bytes = entries.iter().map(Entry::encoded_bytes).sum::<usize>() + WINDOW_HEADER_BYTES;
    let mut buffer = vec![0xee; padded(bytes as u64) as usize];
    let mut builder = WindowBuilder::new(&mut buffer);
    for entry in entries {
        let payload = payload(entry);
        let middle = payload.len() / 2;
        builder.push_with(entry, [&payload[..middle], &payload[middle..]]);
    }
    assert_eq!(builder.bytes(), bytes, "planned sizes are exact");
    let sealed = builder.finish(header);
    assert_eq!(sealed.bytes, buffer.len());
    buffer
}

type Pushed = Vec<(Entry, Vec<u8>)>;

fn read(bytes: &[u8]) -> Result<(WindowHeader, Pushed), Malformed> {
    let front = WindowFront::decode(bytes)?;
    let entries = front.verify(bytes)?;
    let entries: Result<Vec<_>, _> = entries
        .map(|at| at.map(|at| (at.entry, at.payload.to_vec())))
        .collect();
    Ok((front.header, entries?))
}

fn producers() -> impl Strategy<Value = Producers> {
    let state = prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![
        Just(Producers::Unknown),
        (offset(), place(), state).prop_map(|(offset, from, state)| Producers::Inline {
            offset,
            from,
            state: Bytes::from(state),
        }),
        (offset(), place()).prop_map(|(offset, from)| Producers::File { offset, from }),
    ]
}

fn segments() -> impl Strategy<Value = Vec<SegmentState>> {
    let segment = (0..1000i64, any::<u64>(), any::<[i64; 2]>());
    prop::collection::vec(segment, 0..4).prop_map(|steps| {
        let mut base = -1;
        let next = |(step, bytes, [first_timestamp, max_timestamp]): (i64, u64, [i64; 2])| {
            base += 1 + step;
            SegmentState {
                base: Offset(base),
                bytes,
                first_timestamp,
                max_timestamp,
            }
        };
        steps.into_iter().map(next).collect()
    })
}

fn log_state() -> impl Strategy<Value = LogState> {
    let damage = (place(), place()).prop_map(|(from, to)| DamagedRange { from, to });
    let lists = (
        epochs(),
        segments(),
        prop::collection::vec(damage, 0..3),
        producers(),
    );
    let ends = (place(), place(), [offset(), offset(), offset()]);
    (open(), any::<[bool; 3]>(), any::<u16>(), ends, lists).prop_map(
        |(open, [dropped, suspect, barred], home, (synced_end, durable_end, offsets), lists)| {
            LogState {
                log: open.log,
                topic: open.topic,
                partition: open.partition,
                home: ShardIndex(home),
                life: if dropped { Life::Dropped } else { Life::Live },
                suspect,
                barred,
                metadata_index: open.metadata_index,
                log_start: offsets[0],
                high_watermark: offsets[1],
                purged: offsets[2],
                synced_end,
                durable_end,
                epochs: lists.0,
                segments: lists.1,
                damage: lists.2,
                producers: lists.3,
            }
        },
    )
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let journal = (any::<u32>(), any::<u64>());
    let numbers = (
        any::<i32>(),
        any::<u16>(),
        any::<[u32; 2]>(),
        any::<[u64; 5]>(),
    );
    let lists = (
        prop::collection::vec(journal, 0..4),
        prop::collection::vec(log_state(), 0..5),
    );
    (numbers, lists).prop_map(|((node, shard, [layout, at_crc], n), (journal, logs))| {
        let at = WindowAt {
            file: 3,
            position: n[2],
            sequence: n[3],
        };
        Checkpoint {
            node: NodeId(node),
            shard: ShardIndex(shard),
            layout,
            run: n[0],
            sequence: n[1],
            from: WindowAt {
                file: 2,
                position: n[4],
                sequence: n[3] / 2,
            },
            at,
            at_crc,
            next_log: LogNumber(u64::MAX),
            journal: journal
                .into_iter()
                .map(|(file, bytes)| JournalFileState { file, bytes })
                .collect(),
            logs,
        }
    })
}

proptest! {
    #[test]
    fn windows_decode_to_what_was_pushed(
        header in header(),
        entries in prop::collection::vec(entry(), 0..12),
    ) {
        let bytes = window(&header, &entries);
        let (found, read) = read(&bytes).expect("a window");
        prop_assert_eq!(found, header);
        let expected: Vec<_> = entries.iter().map(|entry| (entry.clone(), payload(entry))).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_changed_byte_of_a_window_is_noticed(
        header in header(),
        entries in prop::collection::vec(entry(), 0..6),
        at in any::<prop::sample::Index>(),
        change in 1..=255u8,
    ) {
        let mut bytes = window(&header, &entries);
        let used = WindowFront::decode(&bytes).expect("a window").bytes;
        bytes[at.index(used)] ^= change;
        prop_assert!(read(&bytes).is_err());
    }

    /// Past the CRC: the entries themselves are bounded.
    #[test]
    fn entries_of_any_bytes_give_an_error_or_entries(
        entries in prop::collection::vec(entry(), 1..5),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        count in any::<u32>(),
    ) {
        let header = WindowHeader {
            node: NodeId(1),
            shard: ShardIndex(0),
            run: 1,
            sequence: 1,
            known_synced: 0,
            checkpoint: 0,
            previous_crc: 0,
        };
        let mut bytes = window(&header, &entries);
        let used = WindowFront::decode(&bytes).expect("a window").bytes;
        for (at, byte) in changes {
            let body = used - WINDOW_HEADER_BYTES;
            bytes[WINDOW_HEADER_BYTES + at.index(body)] = byte;
        }
        let entries = super::entry::Entries::new(&bytes[..used], WINDOW_HEADER_BYTES, count);
        for at in entries.flatten() {
            prop_assert!(at.payload.len() <= used);
        }
    }

    #[test]
    fn checkpoints_decode_to_themselves(checkpoint in checkpoint()) {
        let mut bytes = checkpoint.encode();
        prop_assert!(Checkpoint::decode(&bytes).is_ok_and(|found| found == checkpoint));
        bytes.extend_from_slice(b"the rest of an older one");
        prop_assert!(Checkpoint::decode(&bytes).is_ok_and(|found| found == checkpoint));
    }

    #[test]
    fn a_changed_byte_of_a_checkpoint_is_noticed(
        checkpoint in checkpoint(),
        at in any::<prop::sample::Index>(),
        change in 1..=255u8,
    ) {
        let mut bytes = checkpoint.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(Checkpoint::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Checkpoint::decode(&bytes);
        let _ = read(&bytes);
        let _ = NodeMeta::decode(&bytes);
        let _ = DirMeta::decode(&bytes);
        let _ = ProducersFile::decode(&bytes);
    }

    #[test]
    fn meta_files_decode_to_themselves_and_notice_changes(
        numbers in any::<(i32, u32, u128, u64)>(),
        shards in 1..=u16::MAX,
        at in any::<prop::sample::Index>(),
        change in 1..=255u8,
    ) {
        let (node, layout, directory, start_number) = numbers;
        let meta = NodeMeta {
            cluster_id: "Zm9v-bar_1".into(),
            node: NodeId(node),
            layout,
            shards,
            directories: vec![DirectoryId(directory), DirectoryId(1)],
        };
        let mut bytes = meta.encode();
        prop_assert_eq!(NodeMeta::decode(&bytes), Ok(meta));
        let place = at.index(bytes.len());
        bytes[place] ^= change;
        prop_assert!(NodeMeta::decode(&bytes).is_err());
        let meta = DirMeta { directory: DirectoryId(directory), start_number };
        let mut bytes = meta.encode();
        prop_assert_eq!(DirMeta::decode(&bytes), Ok(meta));
        let place = at.index(bytes.len());
        bytes[place] ^= change;
        prop_assert!(DirMeta::decode(&bytes).is_err());
    }

    #[test]
    fn producers_files_decode_to_themselves_and_notice_changes(
        log in log(),
        offset in offset(),
        state in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        change in 1..=255u8,
    ) {
        let file = ProducersFile { log, offset, state: &state };
        let mut bytes = file.encode();
        prop_assert_eq!(ProducersFile::decode(&bytes), Ok(file));
        let place = at.index(bytes.len());
        bytes[place] ^= change;
        prop_assert!(ProducersFile::decode(&bytes).is_err());
    }
}

#[test]
fn a_count_beyond_the_bytes_allocates_nothing() {
    let checkpoint = Checkpoint {
        node: NodeId(1),
        shard: ShardIndex(0),
        layout: 1,
        run: 1,
        sequence: 1,
        from: WindowAt::default(),
        at: WindowAt::default(),
        at_crc: 0,
        next_log: LogNumber(1),
        journal: Vec::new(),
        logs: Vec::new(),
    };
    let whole = checkpoint.encode();
    // The two counts are the last fields.
    for at in [whole.len() - 8, whole.len() - 4] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].fill(0xff);
        let crc = crc32c::crc32c(&bytes[..12]);
        let crc = crc32c::crc32c_append(crc, &bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let refused = Checkpoint::decode(&bytes).expect_err("a count too large");
        assert_eq!(
            refused.reason,
            "a count is larger than the bytes that are left"
        );
    }
}

#[test]
fn names_parse_back_and_other_spellings_do_not() {
    let path = LogPath {
        home: ShardIndex(3),
        topic: TopicId(0x1f),
        partition: PartitionIndex(12),
        log: LogNumber(345),
    };
    let dir = log_dir(&path);
    let text = "shard-3/0000000000000000000000000000001f/12-345";
    assert_eq!(dir, Path::new(text));
    assert_eq!(parse_shard_dir(Path::new("shard-3")), Some(ShardIndex(3)));
    assert_eq!(
        parse_log_dir(Path::new("12-345")),
        Some((path.partition, path.log))
    );
    let name = segment_file(Offset(42), SegmentFile::Log);
    assert_eq!(name, "00000000000000000042.log");
    assert_eq!(
        parse_segment(Path::new(&name)),
        Some((Offset(42), SegmentFile::Log))
    );
    for other in ["shard-03", "shard-", "shard-+1", "shard-70000"] {
        assert_eq!(parse_shard_dir(Path::new(other)), None, "{other}");
    }
    for other in [
        "42.log",
        "0000000000000000004x.log",
        "00000000000000000042.tmp",
        "00000000000000000042",
    ] {
        assert_eq!(parse_segment(Path::new(other)), None, "{other}");
    }
    for other in ["12", "012-1", "1-2-3", "-1", "a-1"] {
        assert_eq!(parse_log_dir(Path::new(other)), None, "{other}");
    }
    assert_eq!(parse_journal(Path::new("journal-7")), Some(7));
    assert_eq!(parse_journal(Path::new("journal-07")), None);
    assert_eq!(parse_topic_dir(Path::new("1F")), None);
}
