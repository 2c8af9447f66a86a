//! `millstream consume`: prints records as they come, alone or as a member of a group.
//!
//! Always: a member commits only what was written out, and leaves its group when it ends, at a signal too.

use super::args::{AssignorArg, ConsumeArgs, ProtocolArg};
use super::format::{Format, write_json};
use super::outcome::{Failure, Outcome};
use super::timestamp;
use crate::client::{
    ClassicAssignor, Consumer, ConsumerConfig, GroupProtocol, MembershipConfig, StartAt,
    parse_addresses,
};
use crate::node::{Signals, random_id};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long one look for records may take.
const WAIT: Duration = Duration::from_millis(500);
/// The same for a member of a group, which ends in order at a signal.
const WAIT_IN_GROUP: Duration = Duration::from_millis(50);
/// How long something stands in the way until it is told.
const SILENCE: Duration = Duration::from_secs(2);

pub fn run(args: &ConsumeArgs) -> Outcome {
    let start = start(&args.from)?;
    let format = Format::parse(&args.format).map_err(|problem| {
        Failure::new(format!("--format: {problem}"))
            .next("`millstream consume --help` lists the parts")
            .code(2)
    })?;
    let config = ConsumerConfig {
        // Without a reason to end, a topic may come into being later.
        missing_topic_ms_max: (args.count.is_some() || args.until_end).then_some(10_000),
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(&parse_addresses(&args.client.broker)?, config);
    let stop = Arc::new(AtomicBool::new(false));
    match &args.group {
        Some(group) => {
            stop_at_a_signal(&stop)?;
            consumer.join(membership(args, group, start)?);
        }
        None => {
            let partitions = (!args.partition.is_empty()).then_some(&args.partition[..]);
            consumer.assign(&args.topic, partitions, start);
        }
    }
    let printed = print(args, &mut consumer, &format, &stop);
    let left = match printed {
        Err(Stopped::Failed(_)) => Ok(()),
        _ => consumer.leave(),
    };
    match printed {
        // Whoever reads our output has seen enough.
        Err(Stopped::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stopped::Output(error)) => {
            Err(Failure::new(format!("cannot write the records: {error}")))
        }
        Err(Stopped::Failed(failure)) => Err(failure),
        Ok(()) => left.map_err(Failure::from),
    }
}

/// The first signal has the member leave its group, the second ends the process.
fn stop_at_a_signal(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let stop = stop.clone();
    let waiting = Signals::block()
        .and_then(|signals| signals.on_first(move || stop.store(true, Ordering::Relaxed)));
    waiting.map_err(|error| Failure::new(format!("cannot wait for signals: {error}")))
}

fn membership(
    args: &ConsumeArgs,
    group: &str,
    start: StartAt,
) -> Result<MembershipConfig, Failure> {
    let protocol = match (args.protocol, args.assignor) {
        (ProtocolArg::Consumer, _) => GroupProtocol::Consumer,
        (ProtocolArg::Classic, AssignorArg::Range) => {
            GroupProtocol::Classic(ClassicAssignor::Range)
        }
        (ProtocolArg::Classic, AssignorArg::CooperativeSticky) => {
            GroupProtocol::Classic(ClassicAssignor::CooperativeSticky)
        }
    };
    let member_id = random_id();
    let member_id = member_id
        .map_err(|error| Failure::new(format!("the kernel gives no random bits: {error}")))?;
    Ok(MembershipConfig {
        instance: args.instance.clone(),
        member_id,
        start,
        ..MembershipConfig::new(group, &args.topic, protocol)
    })
}

/// Why printing ended early.
enum Stopped {
    Output(io::Error),
    Failed(Failure),
}

fn print(
    args: &ConsumeArgs,
    consumer: &mut Consumer,
    format: &Format,
    stop: &AtomicBool,
) -> Result<(), Stopped> {
    let wait = match args.group {
        Some(_) => WAIT_IN_GROUP,
        None => WAIT,
    };
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut moved = Instant::now();
    let mut told = None;
    while left > 0 && !stop.load(Ordering::Relaxed) {
        let records = consumer
            .poll(wait)
            .map_err(|error| Stopped::Failed(error.into()))?;
        let count = usize::try_from(left).unwrap_or(usize::MAX);
        let shown = &records[..records.len().min(count)];
        for record in shown {
            let written = if args.client.json {
                write_json(record, &mut output)
            } else {
                format.write(record, &mut output)
            };
            written.map_err(Stopped::Output)?;
            left -= 1;
        }
        output.flush().map_err(Stopped::Output)?;
        consumer.done(shown);
        if records.is_empty() {
            if args.until_end && consumer.is_at_end() {
                return Ok(());
            }
            match consumer.trouble() {
                Some(trouble) if moved.elapsed() >= SILENCE && told.as_ref() != Some(&trouble) => {
                    eprintln!("waiting: {trouble}");
                    told = Some(trouble);
                }
                Some(_) => {}
                None => (moved, told) = (Instant::now(), None),
            }
        } else {
            (moved, told) = (Instant::now(), None);
        }
    }
    Ok(())
}

/// Where `--from` begins.
fn start(from: &str) -> Result<StartAt, Failure> {
    match from {
        "beginning" => Ok(StartAt::Beginning),
        "end" => Ok(StartAt::End),
        number if number.parse::<i64>().is_ok_and(|number| number >= 0) => {
            Ok(StartAt::Offset(number.parse().unwrap_or_default()))
        }
        time => timestamp::parse(time).map(StartAt::Timestamp).ok_or_else(|| {
            Failure::new(format!("`--from {from}` is no place in a topic"))
                .next("use beginning, end, an OFFSET such as 42, or a TIMESTAMP such as 2026-01-31T12:00:00Z")
                .code(2)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_an_offset_or_a_time() {
        let cases = [
            ("beginning", Some(StartAt::Beginning)),
            ("end", Some(StartAt::End)),
            ("42", Some(StartAt::Offset(42))),
            ("1970-01-02", Some(StartAt::Timestamp(86_400_000))),
            ("-1", None),
            ("soon", None),
        ];
        for (text, expected) in cases {
            assert_eq!(start(text).ok(), expected, "{text}");
        }
    }
}
