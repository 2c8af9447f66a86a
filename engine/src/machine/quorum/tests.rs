//! The quorum of one over a simulated disk: crashes at any point, full disks, damage.

use super::*;
use crate::machine::image::Snapshot;
use crate::machine::image::{ConfigResource, Member};
use millstream_storage::disk::DiskOp;
use millstream_storage::ids::WallMs;
use millstream_storage::sim::{SimDisk, SimRng};
use std::path::Path;

const DIRECTORY: &str = "quorum";
const ME: Member = Member {
    id: 77,
    node: NodeId(1),
    voter: true,
};

const LIMITS: Limits = Limits {
    room_bytes: 32 << 10,
    snapshot_after_bytes: 64 << 10,
};

/// A node's quorum on a disk, with what it has told.
struct Bench {
    disk: SimDisk,
    quorum: SingleNode,
    recovery: Recovery,
    image: Image,
    proposed: MetadataIndex,
    now: Now,
    fatal: Option<String>,
    snapshots: u32,
    /// A snapshot that is being encoded.
    encoding: Option<EncodedSnapshot>,
}

impl Bench {
    fn start(disk: SimDisk) -> Result<Self, RecoverError> {
        let (quorum, recovery) = recover(&disk, Path::new(DIRECTORY), ME, LIMITS)?;
        let image = quorum.image().clone();
        Ok(Self {
            disk,
            recovery,
            proposed: image.index(),
            image,
            quorum,
            now: Now {
                tick: millstream_storage::ids::Tick(1),
                wall: WallMs(0),
            },
            fatal: None,
            snapshots: 0,
            encoding: None,
        })
    }

    fn propose(&mut self, key: u64, bytes: usize) {
        self.proposed = MetadataIndex(self.proposed.0 + 1);
        let record = Record::Config {
            resource: ConfigResource::Brokers,
            key: format!("key-{}", key % 7),
            value: Some("v".repeat(bytes) + &key.to_string()),
        };
        let ids = Record::ProducerIds {
            next: self.proposed.0 as i64,
        };
        self.quorum.propose(self.proposed, vec![record, ids]);
    }

    fn drain(&mut self) {
        let mut effects = Vec::new();
        self.quorum.drain(&mut effects);
        for effect in effects {
            match effect {
                QuorumEffect::Op(op, what) => self.disk.submit(op, what),
                QuorumEffect::Applied(entry) => {
                    self.image.apply(&entry).expect("it is the next entry");
                }
                QuorumEffect::SnapshotDue => {
                    self.snapshots += 1;
                    assert!(self.encoding.is_none(), "one is asked for at a time");
                    let snapshot = EncodedSnapshot::of(&self.image);
                    self.encoding = Some(snapshot);
                }
                QuorumEffect::Lost => panic!("a quorum of one has no other leader"),
                QuorumEffect::Fatal { reason } => self.fatal = Some(reason),
            }
        }
    }

    /// One completion and one turn.
    fn step(&mut self, rng: &mut SimRng) -> bool {
        self.now.tick = self.now.tick.after_ms(rng.below(200));
        // Somebody else encodes it, while entries go on to be applied.
        if let Some(snapshot) = self.encoding.take_if(|_| rng.below(3) == 0) {
            self.quorum.snapshot(snapshot);
        }
        self.quorum.turn(self.now);
        self.drain();
        let done = self.disk.complete_any(rng);
        let went_on = done.is_some();
        if let Some(done) = done {
            self.quorum.done(self.now, done);
        }
        self.drain();
        went_on
    }

    fn settle(&mut self, rng: &mut SimRng) {
        for _ in 0..10_000 {
            if !self.step(rng) && self.quorum.is_idle() && self.encoding.is_none() {
                return;
            }
        }
        panic!("it does not come to rest");
    }
}

/// The entries of an image, as text: what must be equal.
fn content(image: &Image) -> String {
    format!("{:?}", image.snapshot().records)
}

#[test]
fn the_first_start_begins_and_later_ones_go_on() {
    let mut rng = SimRng::new(1);
    let mut bench = Bench::start(SimDisk::new()).expect("it begins");
    assert!(bench.recovery.begun);
    assert_eq!(bench.image.members(), [ME]);
    bench.propose(1, 10);
    bench.propose(2, 10);
    bench.settle(&mut rng);
    assert_eq!(bench.image.index(), MetadataIndex(3));
    let before = content(&bench.image);
    let again = Bench::start(bench.disk).expect("it goes on");
    assert!(!again.recovery.begun);
    assert_eq!(content(&again.image), before);
    assert_eq!(again.quorum.term(), 2);
    assert_eq!(again.recovery.torn_bytes, 0);
}

#[test]
fn nothing_is_applied_before_it_is_synced() {
    let mut bench = Bench::start(SimDisk::new()).expect("it begins");
    bench.propose(1, 10);
    bench.quorum.turn(bench.now);
    let mut ops = Vec::new();
    loop {
        let mut effects = Vec::new();
        bench.quorum.drain(&mut effects);
        let mut applied = false;
        for effect in effects {
            match effect {
                QuorumEffect::Op(op, what) => {
                    ops.push(what.clone());
                    bench.disk.submit(op, what);
                }
                QuorumEffect::Applied(_) => applied = true,
                other => panic!("{other:?}"),
            }
        }
        if applied {
            break;
        }
        let done = bench.disk.complete(0);
        bench.quorum.done(bench.now, done);
    }
    assert!(matches!(
        ops[ops.len() - 2..],
        [DiskOp::Write { .. }, DiskOp::SyncData { .. }] | [DiskOp::SyncData { .. }, _]
    ));
}

#[test]
fn snapshots_replace_the_log_before_them() {
    let mut rng = SimRng::new(2);
    let mut bench = Bench::start(SimDisk::new()).expect("it begins");
    for key in 0..200 {
        bench.propose(key, 1000);
        bench.settle(&mut rng);
    }
    assert!(bench.snapshots > 3);
    let files = bench.disk.paths();
    assert!(files.len() <= 4, "{files:?}");
    let before = content(&bench.image);
    let again = Bench::start(bench.disk).expect("it goes on");
    assert!(again.recovery.snapshot.is_some());
    assert_eq!(content(&again.image), before);
}

/// Runs a random history, cut at random points, and checks after each that what was applied is there, that nothing else is but
/// what was proposed, and that recovery of a recovered disk finds the same.
fn crash_run(seed: u64) {
    let mut rng = SimRng::new(seed);
    let mut disk = SimDisk::new();
    let mut key = 0;
    for _ in 0..6 {
        if rng.percent(40) {
            disk.limit_blocking_calls(Some(rng.below(60)));
            let interrupted = recover(&disk, Path::new(DIRECTORY), ME, LIMITS).is_err();
            disk.limit_blocking_calls(None);
            if interrupted || rng.percent(50) {
                disk.power_cut(&mut rng);
            }
        }
        let mut bench = Bench::start(disk).expect("it goes on after any crash");
        let steps = rng.below(120);
        for _ in 0..steps {
            if rng.percent(50) {
                key += 1;
                let bytes = [10, 300, 5000][rng.index(3)];
                bench.propose(key, bytes);
            }
            bench.step(&mut rng);
        }
        assert_eq!(bench.fatal, None);
        let (acknowledged, proposed) = (bench.image.clone(), bench.proposed);
        let mut crashed = bench.disk;
        if rng.percent(30) {
            crashed.kill(&mut rng);
        } else {
            crashed.power_cut(&mut rng);
        }
        let found = Bench::start(crashed.clone()).expect("it goes on after any crash");
        let index = found.image.index();
        assert!(
            index.0 > acknowledged.index().0,
            "acknowledged entries are lost"
        );
        assert!(index.0 <= proposed.0 + 1, "entries nobody proposed");
        if index.0 == acknowledged.index().0 + 1 {
            assert_eq!(content(&found.image), content(&acknowledged));
        }
        let again = Bench::start(found.disk.clone()).expect("it goes on");
        assert_eq!(content(&again.image), content(&found.image));
        disk = if rng.percent(50) { crashed } else { again.disk };
    }
}

#[test]
fn what_was_applied_survives_any_crash() {
    // The second: a frame must not vouch for what a killed process left unsynced.
    for seed in (0..200).chain([10040]) {
        if let Err(panic) = std::panic::catch_unwind(|| crash_run(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_full_disk_makes_proposals_wait_and_heals() {
    let mut rng = SimRng::new(3);
    let mut bench = Bench::start(SimDisk::new()).expect("it begins");
    bench.settle(&mut rng);
    bench.disk.limit_capacity(Some(1 << 20));
    let mut refused = false;
    for key in 0..100 {
        refused |= bench.quorum.admit(100_000) == Room::Full;
        bench.propose(key, 100_000);
        for _ in 0..20 {
            bench.step(&mut rng);
        }
    }
    assert!(refused);
    assert_eq!(bench.fatal, None);
    assert!(bench.image.index() < bench.proposed);
    bench.disk.limit_capacity(None);
    for _ in 0..200 {
        bench.now.tick = bench.now.tick.after_ms(1000);
        bench.step(&mut rng);
    }
    assert_eq!(bench.image.index(), bench.proposed);
}

#[test]
fn a_full_disk_refuses_what_needs_room_and_takes_what_fits() {
    let mut rng = SimRng::new(5);
    let mut bench = Bench::start(SimDisk::new()).expect("it begins");
    bench.settle(&mut rng);
    bench.disk.limit_capacity(Some(1));
    assert_eq!(bench.quorum.admit(1 << 20), Room::Coming);
    for _ in 0..5 {
        bench.step(&mut rng);
    }
    assert_eq!(bench.quorum.admit(1 << 20), Room::Full);
    bench.propose(1, 100);
    bench.settle(&mut rng);
    assert_eq!(
        bench.image.index(),
        bench.proposed,
        "a small entry has room"
    );
    bench.disk.limit_capacity(None);
    bench.now.tick = bench.now.tick.after_ms(2000);
    bench.settle(&mut rng);
    assert_eq!(bench.quorum.admit(1 << 20), Room::Coming);
    bench.settle(&mut rng);
    assert_eq!(bench.quorum.admit(1 << 20), Room::Ready);
}

#[test]
fn a_failed_sync_is_the_end() {
    let mut rng = SimRng::new(4);
    let mut bench = Bench::start(SimDisk::new()).expect("it begins");
    bench.settle(&mut rng);
    bench.disk.inject(millstream_storage::sim::Fault {
        kind: millstream_storage::sim::OpKind::SyncData,
        after: 0,
        errno: 5,
    });
    let before = bench.image.index();
    bench.propose(1, 10);
    for _ in 0..20 {
        bench.step(&mut rng);
    }
    assert!(bench.fatal.is_some());
    assert_eq!(bench.image.index(), before);
}

/// Damage is reported, or was not damage: what was acknowledged is never lost in silence, and nothing panics.
#[test]
fn damaged_files_are_refused_or_do_not_matter() {
    let mut rng = SimRng::new(5);
    let mut bench = Bench::start(SimDisk::new()).expect("it begins");
    for key in 0..90 {
        bench.propose(key, 900);
        bench.settle(&mut rng);
    }
    bench.now.tick = bench.now.tick.after_ms(1000);
    bench.settle(&mut rng);
    let acknowledged = bench.image.clone();
    let mut refused = 0;
    for round in 0..900 {
        let mut disk = bench.disk.clone();
        let paths = disk.paths();
        let path = &paths[rng.index(paths.len())];
        let mut bytes = disk.contents(path).expect("it is readable").to_vec();
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        match round % 3 {
            0 => bytes[rng.index(used)] ^= 1 << rng.below(8),
            1 => bytes.truncate(rng.index(used)),
            _ => bytes.iter_mut().for_each(|byte| *byte = 0),
        }
        disk.overwrite(path, &bytes);
        match Bench::start(disk) {
            Err(RecoverError::Damaged { .. } | RecoverError::Newer { .. }) => {
                assert!(!path.ends_with("vote.tmp"), "nothing is read from there");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
            Ok(found) => {
                let lost = found.image.index().0 <= acknowledged.index().0;
                let cut = round % 3 == 1;
                assert!(!lost || cut, "round {round}: {path:?}");
            }
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn a_snapshot_and_an_entry_survive_their_encoding() {
    let mut rng = SimRng::new(6);
    let mut bench = Bench::start(SimDisk::new()).expect("it begins");
    for key in 0..20 {
        bench.propose(key, 30);
    }
    bench.settle(&mut rng);
    let snapshot = bench.image.snapshot();
    let bytes = snapshot.encode();
    assert_eq!(Snapshot::decode(&bytes).expect("it was encoded"), snapshot);
    for _ in 0..2000 {
        let mut hostile = bytes.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.index(hostile.len());
            hostile[at] = rng.bits() as u8;
        }
        hostile.truncate(rng.index(hostile.len() + 1));
        // Whatever it says, it is not a panic.
        let _ = Snapshot::decode(&hostile);
        let _ = Entry::decode(&hostile);
    }
}
