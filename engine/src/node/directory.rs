//! The identity of a data directory: made at the first start, checked and counted at every other.
//!
//! Always: (1) a directory that holds anything but has no identity is left alone; (2) the start number is raised and durable
//! before anyone is told of this start. ORDER: `dir.meta` -> `node.meta`: the latter says that the directory is complete.
//! Leaves to others: the lock (held before), the log (`storage::recovery`).

use super::random;
use super::refusal::{NEWER_REMEDY, Refusal, code};
use millstream_storage::disk::BlockingDisk;
use millstream_storage::format::{DIR_META, DirMeta, LOCK, Malformed, NODE_META, NodeMeta};
use millstream_storage::ids::{DirectoryId, NodeId};
use std::io;
use std::path::Path;

/// Longest identity file that is read.
const META_BYTES_MAX: u64 = 64 << 10;
/// Behind the name of a file while it is replaced, and of what it was before.
const TEMPORARY: &str = ".tmp";
/// What a fresh file system may hold.
const LOST_AND_FOUND: &str = "lost+found";

/// Who this node is, and this start of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Node and cluster.
    pub node: NodeMeta,
    /// The directory and the number of this start.
    pub directory: DirMeta,
    /// Whether it was made just now.
    pub made: bool,
}

/// Reads the identity of a data directory, or makes one in a blank directory; counts this start.
pub fn open(disk: &dyn BlockingDisk, node: NodeId, shards: u16) -> Result<Identity, Refusal> {
    let known = read(disk, NODE_META)?;
    let directory = match read(disk, DIR_META)? {
        Some(bytes) => Some(DirMeta::decode(&bytes).map_err(|bad| unreadable(DIR_META, &bad))?),
        None => None,
    };
    let mut identity = match known {
        Some(bytes) => {
            let meta = NodeMeta::decode(&bytes).map_err(|bad| unreadable(NODE_META, &bad))?;
            known_identity(meta, directory, node)?
        }
        None => make(disk, directory, node, shards)?,
    };
    identity.directory.start_number += 1;
    write(disk, DIR_META, &identity.directory.encode())?;
    if identity.made {
        write(disk, NODE_META, &identity.node.encode())?;
    }
    Ok(identity)
}

fn known_identity(
    meta: NodeMeta,
    directory: Option<DirMeta>,
    node: NodeId,
) -> Result<Identity, Refusal> {
    if meta.node != node {
        return Err(Refusal::new(format!(
            "this directory belongs to node {}, and this is node {node}",
            meta.node
        ))
        .remedy(format!(
            "start with --set node.id={}, or with a directory of its own",
            meta.node
        )));
    }
    let Some(directory) = directory.filter(|found| meta.directories.contains(&found.directory))
    else {
        return Err(Refusal::new(format!(
            "{NODE_META} knows this directory, but its {DIR_META} is missing or of another one"
        ))
        .remedy("mount the directory that belongs here; nothing was changed")
        .code(code::DATA));
    };
    Ok(Identity {
        node: meta,
        directory,
        made: false,
    })
}

fn make(
    disk: &dyn BlockingDisk,
    directory: Option<DirMeta>,
    node: NodeId,
    shards: u16,
) -> Result<Identity, Refusal> {
    let expected =
        |name: &str| [LOCK, DIR_META, LOST_AND_FOUND].contains(&name) || name.ends_with(TEMPORARY);
    let found = disk
        .list(Path::new(""))
        .map_err(|error| failed("", &error))?;
    if let Some(other) = found
        .iter()
        .find(|entry| !entry.name.to_str().is_some_and(expected))
    {
        return Err(Refusal::new(format!(
            "there is no {NODE_META} here, but there is {}",
            other.name.display()
        ))
        .remedy("choose an empty directory, or bring the missing file back; nothing was changed")
        .code(code::DATA));
    }
    let unavailable =
        |error: io::Error| Refusal::new(format!("no random numbers: {error}")).code(code::SYSTEM);
    let directory = match directory {
        // A first start that was interrupted.
        Some(directory) => directory,
        None => DirMeta {
            directory: DirectoryId(random::bits().map_err(unavailable)?),
            start_number: 0,
        },
    };
    let node = NodeMeta {
        cluster_id: random::text_id().map_err(unavailable)?,
        node,
        // No shard was made yet: recovery does it.
        layout: 0,
        shards,
        directories: vec![directory.directory],
    };
    Ok(Identity {
        node,
        directory,
        made: true,
    })
}

fn read(disk: &dyn BlockingDisk, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let path = Path::new(name);
    let length = disk.length(path).map_err(|error| failed(name, &error))?;
    let Some(length) = length else {
        return Ok(None);
    };
    let mut bytes = vec![0; length.min(META_BYTES_MAX) as usize];
    let read = disk
        .read(path, 0, &mut bytes)
        .map_err(|error| failed(name, &error))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

fn write(disk: &dyn BlockingDisk, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
    disk.replace(Path::new(name), bytes)
        .map_err(|at| failed(&at.path.to_string_lossy(), &at.error))
}

fn failed(name: &str, error: &io::Error) -> Refusal {
    let refusal = Refusal::new(format!("{name}: {error}")).code(code::DISK);
    match error.raw_os_error() {
        Some(libc::ENOSPC) => refusal.disk_full(),
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
            refusal.remedy("let this user write to the data directory")
        }
        Some(libc::EISDIR) => refusal.remedy(format!(
            "remove the directory `{name}` from the data directory: a file of that name belongs there"
        )),
        _ => refusal.remedy("look at the disk (`dmesg`)"),
    }
}

fn unreadable(name: &str, bad: &Malformed) -> Refusal {
    let (problem, remedy) = match bad.versions {
        Some(_) => (format!("{name} has {bad}"), NEWER_REMEDY),
        None => (
            format!("{name} is damaged: {bad}"),
            "bring the file back from a copy; nothing was changed",
        ),
    };
    Refusal::new(problem).remedy(remedy).code(code::DATA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_storage::io::SystemDisk;
    use std::path::PathBuf;

    /// A directory that is gone when the test is over.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path =
                std::env::temp_dir().join(format!("millstream-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        fn disk(&self) -> SystemDisk {
            SystemDisk::new(&self.0)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_blank_directory_gets_an_identity_that_later_starts_keep_and_count() {
        let scratch = Scratch::new("identity");
        let first = open(&scratch.disk(), NodeId(1), 2).unwrap();
        let second = open(&scratch.disk(), NodeId(1), 2).unwrap();
        assert!(first.made && !second.made);
        assert_eq!(first.node, second.node);
        assert_eq!(first.directory.directory, second.directory.directory);
        assert_eq!(
            (first.directory.start_number, second.directory.start_number),
            (1, 2)
        );
        assert_eq!(first.node.cluster_id.len(), 22);
    }

    #[test]
    fn a_directory_of_others_is_left_alone() {
        let scratch = Scratch::new("foreign");
        std::fs::write(scratch.0.join("thesis.txt"), "years of work").unwrap();
        let refusal = open(&scratch.disk(), NodeId(1), 1).unwrap_err();
        assert!(refusal.problem.contains("thesis.txt"), "{refusal:?}");
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 1);
    }

    #[test]
    fn another_node_and_a_missing_or_damaged_identity_are_refused() {
        let scratch = Scratch::new("refused");
        open(&scratch.disk(), NodeId(1), 1).unwrap();
        assert!(
            open(&scratch.disk(), NodeId(2), 1)
                .unwrap_err()
                .problem
                .contains("node 1")
        );
        std::fs::remove_file(scratch.0.join(DIR_META)).unwrap();
        assert_eq!(
            open(&scratch.disk(), NodeId(1), 1).unwrap_err().code,
            code::DATA
        );
        std::fs::write(scratch.0.join(NODE_META), "millstream-node 9\n").unwrap();
        let newer = open(&scratch.disk(), NodeId(1), 1).unwrap_err();
        assert_eq!(
            newer.problem,
            "node.meta has format version 9, and this program knows version 1"
        );
        assert_eq!(newer.remedy.as_deref(), Some(NEWER_REMEDY));
    }
}
