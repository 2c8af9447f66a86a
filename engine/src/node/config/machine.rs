//! What the machine has, as far as defaults depend on it.

use super::Machine;

/// Taken where the kernel does not tell.
const MEMORY_BYTES: u64 = 4 << 30;

impl Machine {
    /// The machine this process runs on, within the limits of its control group.
    pub fn this() -> Machine {
        let cpus = core_affinity::get_core_ids()
            .map_or_else(Vec::new, |ids| ids.iter().map(|id| id.id).collect());
        Machine {
            cpus: if cpus.is_empty() { vec![0] } else { cpus },
            memory_bytes: memory_bytes(),
            host_name: host_name(),
        }
    }
}

fn memory_bytes() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
    let total = total.map_or(MEMORY_BYTES, |kib| kib << 10);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<u64>().ok());
    group.map_or(total, |limit| limit.min(total))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        String::from("localhost")
    } else {
        name.to_owned()
    }
}
