//! What coordinators are asked before a run: producer ids, who coordinates, where a group begins.

use super::routes::{self, Keyed};
use super::{Cluster, READY};
use millstream_net::wire::api::{
    InitProducerIdRequest, OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic,
};
use millstream_net::wire::{ApiKey, ErrorCode, Str};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

impl Cluster {
    /// A new producer id and its epoch; of a transactional id from its coordinator.
    pub fn producer_id(
        &mut self,
        transactional: Option<(&str, SocketAddr)>,
    ) -> Result<(i64, i16), String> {
        let purpose = "an idempotent producer";
        let version = self.version(ApiKey::InitProducerId, 1, purpose)?;
        let request = InitProducerIdRequest {
            transactional_id: transactional.map(|(id, _)| Str::from(id)),
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let mut coordinator = match transactional {
            Some((_, address)) => Some(self.connect_to(address)?),
            None => None,
        };
        let asker = coordinator.as_mut().unwrap_or(&mut self.asker);
        let began = Instant::now();
        loop {
            let response = asker.ask(version, request.clone())?;
            match response.error_code {
                ErrorCode::None => return Ok((response.producer_id, response.producer_epoch)),
                code if code.is_retriable() && began.elapsed() < READY => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                code => return Err(format!("the broker gives no producer id: {}", code.name())),
            }
        }
    }

    /// Who coordinates a group or a transactional id, as soon as there is somebody.
    pub fn coordinator(&mut self, keyed: &Keyed) -> Result<SocketAddr, String> {
        let began = Instant::now();
        loop {
            match routes::coordinator(&mut self.asker, keyed)? {
                Ok(address) => return Ok(address),
                Err(code) if code.is_retriable() && began.elapsed() < READY => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(code) => {
                    return Err(format!(
                        "the broker at {} names no coordinator of {}: {}",
                        self.asker.address,
                        keyed.key,
                        code.name()
                    ));
                }
            }
        }
    }

    /// Commits offsets of a group from outside, which only one without members allows.
    pub fn place_group(
        &mut self,
        group: &str,
        coordinator: SocketAddr,
        topics: &[String],
        offsets: &[Vec<i64>],
    ) -> Result<(), String> {
        let version = self.version(ApiKey::OffsetCommit, 7, "a workload with a consumer group")?;
        let placed = topics.iter().zip(offsets).map(|(topic, offsets)| {
            let partitions =
                (0..)
                    .zip(offsets)
                    .map(|(partition_index, offset)| OffsetCommitPartition {
                        partition_index,
                        committed_offset: *offset,
                        ..OffsetCommitPartition::default()
                    });
            OffsetCommitTopic {
                name: Str::from(topic.as_str()),
                partitions: partitions.collect(),
                ..OffsetCommitTopic::default()
            }
        });
        let request = OffsetCommitRequest {
            group_id: Str::from(group),
            topics: placed.collect(),
            ..OffsetCommitRequest::default()
        };
        let mut asker = self.connect_to(coordinator)?;
        let began = Instant::now();
        loop {
            let response = asker.ask(version, request.clone())?;
            let codes = response.topics.iter().flat_map(|topic| &topic.partitions);
            let code = codes
                .map(|partition| partition.error_code)
                .find(|code| *code != ErrorCode::None);
            match code {
                None => return Ok(()),
                Some(ErrorCode::UnknownMemberId | ErrorCode::RebalanceInProgress) => {
                    return Err(format!(
                        "the group {group} has members already: name another one (`group`), or wait until they are gone"
                    ));
                }
                Some(code) if code.is_retriable() && began.elapsed() < READY => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Some(code) => {
                    return Err(format!(
                        "the coordinator at {coordinator} takes no offsets of the group {group}: {}",
                        code.name()
                    ));
                }
            }
        }
    }
}
