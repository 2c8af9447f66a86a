//! What the broker's process costs: processor time, memory, bytes written. From /proc.

use crate::args::WatchArgs;
use std::time::{Duration, Instant};

/// The sums of a process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// User and system time of all its threads.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Bytes it sent to the disk.
    pub written_bytes: u64,
}

/// Reads the sums of a process; `None` where there is no such process.
pub fn cost(pid: u32) -> Option<Cost> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // SAFETY: a plain question.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss_kib = number_behind(&status, "VmRSS:").unwrap_or(0);
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    Some(Cost {
        cpu_seconds: ticks as f64 / per_second,
        rss_bytes: rss_kib << 10,
        written_bytes: number_behind(&io, "write_bytes:").unwrap_or(0),
    })
}

fn number_behind(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(label))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Tells what a process costs over some seconds.
pub fn watch(args: &WatchArgs) -> Result<(), String> {
    let gone = || format!("there is no process {}", args.pid);
    let before = cost(args.pid).ok_or_else(gone)?;
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs_f64(args.duration));
    let after = cost(args.pid).ok_or_else(gone)?;
    let share = (after.cpu_seconds - before.cpu_seconds) / began.elapsed().as_secs_f64();
    let rss_mib = after.rss_bytes as f64 / (1 << 20) as f64;
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "cpu_percent": share * 100.0, "rss_mib": rss_mib })
        );
    } else {
        println!(
            "{:.2} % of a core, {rss_mib:.0} MiB resident",
            share * 100.0
        );
    }
    Ok(())
}
