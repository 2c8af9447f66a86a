//! How a coordinator begins: its log is replayed, part by part.

use super::super::Core;
use super::{Coordinator, Phase};
use crate::shard::event::ShardEffect;
use bytes::Bytes;
use millstream_net::wire::offsets_topic::GroupRecord;
use millstream_storage::batch::OpenBatch;
use millstream_storage::ids::{LogNumber, Now, Offset};
use millstream_storage::store::{Read, ReadTicket};

/// Bytes that one turn replays of a log.
const REPLAY_BYTES: usize = 1 << 20;
/// BOUND: a batch of records decompresses to this at most. Batches of our own are not compressed.
const BATCH_DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

impl Core {
    /// Replays the next part of a log.
    pub(super) fn load_coordinator(&mut self, now: Now, log: LogNumber) {
        let (Some(host), Some(coordinating)) =
            (self.hosts.find(log), self.coordinators.by_log.get_mut(&log))
        else {
            return;
        };
        let Phase::Loading(next) = coordinating.phase else {
            return;
        };
        let (start, high_watermark) = (host.machine.log_start(), host.machine.high_watermark());
        let next = next.max(start);
        if next >= high_watermark {
            // What is above is not committed yet; `coordinator_committed` comes back here.
            if high_watermark >= host.machine.log_end() {
                self.coordinator_loaded(now, log);
            }
            return;
        }
        match self
            .store
            .read(now, log, next, REPLAY_BYTES, high_watermark, true)
        {
            Read::Wait(ticket) => coordinating.phase = Phase::Reading(next, ticket),
            read => self.replay_read(log, next, read),
        }
    }

    /// The store has read what was not in memory. Whether it was for a coordinator.
    pub(in super::super) fn coordinator_read(&mut self, ticket: ReadTicket, read: &Read) -> bool {
        let reading = self
            .coordinators
            .by_log
            .iter()
            .find_map(|(log, one)| match one.phase {
                Phase::Reading(next, waits) if waits == ticket => Some((*log, next)),
                _ => None,
            });
        let Some((log, next)) = reading else {
            return false;
        };
        self.replay_read(log, next, read.clone());
        true
    }

    fn replay_read(&mut self, log: LogNumber, next: Offset, read: Read) {
        let Some(coordinating) = self.coordinators.by_log.get_mut(&log) else {
            return;
        };
        let Read::Ready { data, end } = read else {
            let reason = "its log cannot be read";
            return self.coordinator_is_damaged(log, next, reason);
        };
        let mut bytes = Vec::with_capacity(data.iter().map(Bytes::len).sum());
        data.iter().for_each(|slice| bytes.extend_from_slice(slice));
        if let Err(reason) = replay(&mut coordinating.machine, &bytes, next) {
            return self.coordinator_is_damaged(log, next, &reason);
        }
        // A read that gave nothing would be asked for again and again.
        if end <= next {
            return self.coordinator_is_damaged(log, next, "its log ends too early");
        }
        coordinating.phase = Phase::Loading(end);
        coordinating.written_bytes += bytes.len() as u64;
        self.coordinators.loading.insert(log);
    }

    fn coordinator_is_damaged(&mut self, log: LogNumber, at: Offset, reason: &str) {
        let text = format!(
            "the consumer groups of log {log} cannot be loaded, at offset {at}: {reason}; stop the node and run `millstream log verify`"
        );
        self.out.push(ShardEffect::Note(text));
        if let Some(coordinating) = self.coordinators.by_log.get_mut(&log) {
            coordinating.phase = Phase::Damaged;
        }
    }

    fn coordinator_loaded(&mut self, now: Now, log: LogNumber) {
        if let Some(coordinating) = self.coordinators.by_log.get_mut(&log) {
            coordinating.phase = Phase::Active;
        }
        let image = self.meta.image.clone();
        self.with_coordinator(now, log, |machine| machine.loaded(now, &image));
    }
}

/// Replays the records of whole batches from an offset on.
fn replay(machine: &mut Coordinator, mut bytes: &[u8], from: Offset) -> Result<(), String> {
    while !bytes.is_empty() {
        let batch = OpenBatch::new(bytes, BATCH_DECOMPRESSED_BYTES_MAX)
            .map_err(|error| error.to_string())?;
        let size = batch.head.bytes;
        if !batch.head.attributes.is_control() {
            for record in batch.records() {
                let record = record.map_err(|error| error.to_string())?;
                if record.offset < from {
                    continue;
                }
                let key = record.key.map(Bytes::copy_from_slice).unwrap_or_default();
                let value = record.value.map(Bytes::copy_from_slice);
                let decoded = GroupRecord::decode(&key, value.as_ref());
                let decoded = decoded.map_err(|error| format!("{}: {error}", record.offset))?;
                if let Some(decoded) = decoded {
                    machine.replay(decoded);
                }
            }
        }
        bytes = &bytes[size..];
    }
    Ok(())
}
