//! `millstream log dump|verify DIR`: a data directory, read while no broker runs on it.
//!
//! Always: nothing in the directory is changed.

use super::args::{LogArgs, LogCommand};
use super::outcome::{Failure, Outcome};
use crate::machine::image::Member;
use crate::machine::quorum::{self, RecoverError};
use millstream_storage::format::{LOCK, NODE_META, QUORUM};
use millstream_storage::ids::NodeId;
use millstream_storage::io::{DataLock, LockRefused, SystemDisk};
use millstream_storage::recovery::{self, Item, RecoveryError, Severity, Verification};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

pub fn run(args: &LogArgs) -> Outcome {
    match &args.command {
        LogCommand::Dump(at) => {
            let _lock = hold(&at.directory)?;
            dump(&at.directory)
        }
        LogCommand::Verify(at) => {
            let _lock = hold(&at.directory)?;
            let disk = SystemDisk::new(&at.directory);
            let mut found = recovery::verify(&disk).map_err(failed)?;
            verify_quorum(&disk, &mut found)?;
            match at.json {
                true => println!("{}", as_json(&found)),
                false => tell(&found),
            }
            judged(&found)
        }
    }
}

/// The kernel keeps the lock of a process that has ended until the last request of its ring has.
const PATIENCE: Duration = Duration::from_secs(3);

/// A copy without a lock file belongs to nobody.
fn hold(directory: &Path) -> Result<Option<DataLock>, Failure> {
    if !directory.join(NODE_META).exists() && !directory.join("shard-0").exists() {
        return Err(
            Failure::new(format!("{} is no data directory", directory.display()))
                .next("give the directory that `millstream serve --data` was given"),
        );
    }
    if !directory.join(LOCK).exists() {
        return Ok(None);
    }
    match DataLock::hold_still(directory, PATIENCE) {
        Ok(lock) => Ok(Some(lock)),
        Err(refused @ LockRefused::Held { .. }) => Err(Failure::new(refused.to_string())
            .next("stop the broker first, or look at a copy without its `lock` file")),
        Err(LockRefused::Failed { path, error }) => {
            Err(Failure::new(format!("{}: {error}", path.display()))
                .next("look at a copy without its `lock` file"))
        }
    }
}

/// The metadata log, as a start would find it.
fn verify_quorum(disk: &SystemDisk, found: &mut Verification) -> Result<(), Failure> {
    let directory = Path::new(QUORUM);
    let mut tell = |severity, path: &Path, position, message: String| {
        found.findings.push(recovery::Finding {
            severity,
            path: path.to_path_buf(),
            position,
            log: None,
            message,
        });
    };
    let unread = |path: &Path, error: io::Error| {
        failed(RecoveryError::Io {
            path: path.to_path_buf(),
            error,
        })
    };
    let blank = quorum::is_blank(disk, directory).map_err(|error| unread(directory, error))?;
    if blank {
        if found.logs > 0 {
            let message = "the metadata log is missing, and there are logs".to_owned();
            tell(Severity::Damage, directory, 0, message);
        }
        return Ok(());
    }
    // Whose vote it would be does not matter: none is written.
    let me = Member {
        id: 0,
        node: NodeId(0),
        voter: true,
    };
    match quorum::verify(disk, directory, me) {
        Ok(told) if told.torn_bytes > 0 => {
            let message = format!(
                "{} bytes behind the end of the metadata log, never acknowledged",
                told.torn_bytes
            );
            tell(Severity::Torn, directory, 0, message);
        }
        Ok(_) => {}
        Err(RecoverError::Io(path, error)) => return Err(unread(&path, error)),
        Err(RecoverError::Damaged {
            file,
            position,
            reason,
        }) => tell(Severity::Damage, &file, position, reason),
        Err(error @ RecoverError::Newer { .. }) => {
            tell(Severity::Foreign, directory, 0, error.to_string());
        }
    }
    Ok(())
}

fn failed(error: RecoveryError) -> Failure {
    Failure::new(error.to_string()).next("look at the disk (`dmesg`) and at the permissions")
}

/// Prints until the reader goes away (`| head`).
fn dump(directory: &Path) -> Outcome {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut written: io::Result<()> = Ok(());
    let mut print = |item: Item| {
        if written.is_ok() {
            written = writeln!(out, "{item}");
        }
    };
    recovery::dump(&SystemDisk::new(directory), &mut print).map_err(failed)?;
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn tell(found: &Verification) {
    for finding in &found.findings {
        println!("{finding}");
    }
    println!(
        "{} logs, {} batches of {} bytes in segments and {} bytes in {} windows of the journal check",
        found.logs, found.batches, found.bytes, found.journaled_bytes, found.windows
    );
}

fn as_json(found: &Verification) -> serde_json::Value {
    let finding = |finding: &recovery::Finding| {
        serde_json::json!({
            "severity": format!("{:?}", finding.severity).to_lowercase(),
            "path": finding.path,
            "position": finding.position,
            "log": finding.log.map(|log| log.0),
            "message": finding.message,
        })
    };
    serde_json::json!({
        "sound": found.is_sound(),
        "findings": found.findings.iter().map(finding).collect::<Vec<_>>(),
        "logs": found.logs,
        "windows": found.windows,
        "journaled_bytes": found.journaled_bytes,
        "batches": found.batches,
        "bytes": found.bytes,
    })
}

fn judged(found: &Verification) -> Outcome {
    match found.worst() {
        None | Some(Severity::Torn | Severity::Repaired) => Ok(()),
        Some(Severity::Foreign) => Err(Failure::new(
            "another version of the program wrote this: whether it is sound cannot be told",
        )
        .next("run `log verify` of the version that wrote it")),
        Some(Severity::Damage) => Err(Failure::new("something that was durable is damaged")
            .next("each DAMAGE above names file and byte; bring the files back from a copy or another replica")),
    }
}
