//! The shell's disk: the executor of `millstream_storage::io` on the ring of this shard.
//!
//! Lives on one shard's core; its view is the shard.

use super::shell::Disk;
use io_uring::squeue;
use millstream_storage::disk::{DiskDone, DiskOp, OpId};
use millstream_storage::io::DiskExecutor;

impl Disk for DiskExecutor {
    fn submit(&mut self, op: OpId, disk: DiskOp, push: &mut dyn FnMut(&squeue::Entry)) {
        DiskExecutor::submit(self, op, disk, push);
    }

    fn complete(
        &mut self,
        user_data: u64,
        result: i32,
        push: &mut dyn FnMut(&squeue::Entry),
    ) -> Option<DiskDone> {
        DiskExecutor::complete(self, user_data, result, push)
    }

    fn is_quiet(&self) -> bool {
        DiskExecutor::is_quiet(self)
    }
}
