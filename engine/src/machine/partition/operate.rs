//! What operators ask of a leader: a later start of its log (rule O5), and which producers it knows.

use super::producers::KnownProducer;
use super::types::Effect;
use super::{Partition, ReadRefusal};
use millstream_storage::ids::{LeaderEpoch, Offset};

impl Partition {
    /// Wants everything below an offset gone; -1 is everything that is committed. Gives the log start to wait for: it is
    /// reached at once where the log starts there already, else with `start_moved`.
    pub fn delete_before(
        &mut self,
        offset: Offset,
        effects: &mut Vec<Effect>,
    ) -> Result<Offset, ReadRefusal> {
        self.judge_reader(LeaderEpoch(-1))?;
        let to = match offset {
            Offset(-1) => self.high_watermark,
            offset => offset,
        };
        if to < Offset(0) || to > self.high_watermark {
            return Err(ReadRefusal::OffsetOutOfRange);
        }
        self.move_start(to, effects);
        Ok(to)
    }

    /// The producers it knows, appends above the high watermark included.
    pub fn known_producers(&self) -> Result<Vec<KnownProducer>, ReadRefusal> {
        self.judge_reader(LeaderEpoch(-1))?;
        Ok(self.producers.known().collect())
    }
}
