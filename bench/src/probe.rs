//! What processes and the machine tell about themselves: /proc and control groups.

use crate::result::{Environment, ProcessSums};
use std::path::{Path, PathBuf};

/// Whose costs are read.
#[derive(Clone, Debug)]
pub enum Subject {
    Process(u32),
    /// A control group's folder.
    Group(PathBuf),
}

impl Subject {
    /// The subject of a workload, if it names one that is there.
    pub fn of(pid: u32, cgroup: &str) -> Result<Option<Subject>, String> {
        let subject = match (pid, cgroup) {
            (0, "") => return Ok(None),
            (0, group) => {
                Subject::Group(Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/')))
            }
            (pid, _) => Subject::Process(pid),
        };
        match subject.sums() {
            Some(_) => Ok(Some(subject)),
            None => Err(match &subject {
                Subject::Process(pid) => format!("`pid`: there is no process {pid}"),
                Subject::Group(folder) => {
                    format!(
                        "`cgroup`: {} has no cpu.stat with usage_usec, as groups of version 2 have; name the broker's process \
                         instead (`pid`)",
                        folder.display()
                    )
                }
            }),
        }
    }

    /// What reports call it.
    pub fn name(&self) -> String {
        match self {
            Subject::Process(pid) => {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
                format!("{} {pid}", name.unwrap_or_default().trim())
            }
            Subject::Group(folder) => folder.display().to_string(),
        }
    }

    /// Its sums; nothing if it is gone.
    pub fn sums(&self) -> Option<ProcessSums> {
        match self {
            Subject::Process(pid) => process(&format!("/proc/{pid}")),
            Subject::Group(folder) => group(folder),
        }
    }
}

/// The sums of this process.
pub fn own() -> ProcessSums {
    process("/proc/self").unwrap_or_default()
}

fn process(folder: &str) -> Option<ProcessSums> {
    let stat = std::fs::read_to_string(format!("{folder}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // SAFETY: a plain question.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let status = std::fs::read_to_string(format!("{folder}/status")).ok()?;
    let io = std::fs::read_to_string(format!("{folder}/io")).ok();
    Some(ProcessSums {
        cpu_seconds: ticks as f64 / per_second,
        rss_bytes: number_behind(&status, "VmRSS:").unwrap_or(0) << 10,
        disk_written_bytes: io.and_then(|io| number_behind(&io, "write_bytes:")),
        syncs: disk_flushes(),
    })
}

fn group(folder: &Path) -> Option<ProcessSums> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let micros = number_behind(&read("cpu.stat")?, "usage_usec")?;
    let memory = read("memory.current").and_then(|text| text.trim().parse().ok());
    let written = read("io.stat").map(|io| {
        let words = io.split_whitespace();
        words
            .filter_map(|word| word.strip_prefix("wbytes=")?.parse::<u64>().ok())
            .sum()
    });
    Some(ProcessSums {
        cpu_seconds: micros as f64 / 1e6,
        rss_bytes: memory.unwrap_or(0),
        disk_written_bytes: written,
        syncs: disk_flushes(),
    })
}

/// Flushes that all disks of the machine have done: a process's own syncs are told nowhere.
fn disk_flushes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/diskstats").ok()?;
    // Number, number, name, and the 16th counter behind them. Partitions have none.
    let flushes = text.lines().filter_map(|line| {
        let field = line.split_whitespace().nth(18)?;
        field.parse::<u64>().ok()
    });
    Some(flushes.sum())
}

fn number_behind(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(label))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The machine.
pub fn environment() -> Environment {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .ok()
    };
    let cpu_info = read("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo").unwrap_or_default();
    let load = read("/proc/loadavg").unwrap_or_default();
    Environment {
        host: read("/proc/sys/kernel/hostname").unwrap_or_default(),
        kernel: format!(
            "Linux {}",
            read("/proc/sys/kernel/osrelease").unwrap_or_default()
        ),
        cpu_model: model.map_or(String::new(), |(_, model)| model.to_owned()),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: number_behind(&memory, "MemTotal:").unwrap_or(0) << 10,
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        load_before: load
            .split_whitespace()
            .next()
            .and_then(|first| first.parse().ok())
            .unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{group, process};

    #[test]
    fn a_control_group_is_read_as_the_kernel_writes_it() {
        let folder = std::env::temp_dir().join(format!("bench-cgroup-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(group(&folder).is_none());
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write(
            "cpu.stat",
            "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n",
        );
        write("memory.current", "73728\n");
        write(
            "io.stat",
            "254:0 rbytes=1 wbytes=4096 rios=1 wios=1 dbytes=0 dios=0\n253:0 rbytes=0 wbytes=8192 rios=0 wios=2 dbytes=0 dios=0\n",
        );
        let sums = group(&folder).unwrap();
        std::fs::remove_file(folder.join("io.stat")).unwrap();
        let untold = group(&folder).unwrap();
        assert_eq!(untold.disk_written_bytes, None);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(sums.cpu_seconds, 2.5);
        assert_eq!(
            (sums.rss_bytes, sums.disk_written_bytes),
            (73_728, Some(12_288))
        );
    }

    #[test]
    fn what_a_process_wrote_is_unknown_where_its_file_cannot_be_read() {
        let folder = std::env::temp_dir().join(format!("bench-proc-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["stat", "status", "io"] {
            std::fs::copy(format!("/proc/self/{name}"), folder.join(name)).unwrap();
        }
        let sums = |folder: &std::path::Path| process(folder.to_str().unwrap()).unwrap();
        assert!(sums(&folder).disk_written_bytes.is_some());
        std::fs::remove_file(folder.join("io")).unwrap();
        let untold = sums(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(untold.disk_written_bytes, None);
        assert!(untold.rss_bytes > 0);
    }
}
