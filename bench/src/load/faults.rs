//! Commands that run beside a load: started when they are due, never waited for, told with what became of them.
//!
//! Always: (1) a command gets the broker in its environment (`BENCH_BROKER`, `BENCH_PID`, `BENCH_TOPIC`), so that one command
//! serves both sides of a comparison; (2) its standard output is not the report's; (3) one that goes on after the run is its
//! owner's.

use super::clock::ns;
use super::crew::Watch;
use crate::result::{FaultOutcome, FaultRun};
use crate::workload::{Fault, Workload};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The faults of a load.
pub struct Faults {
    /// When the measured time begins.
    begins_s: f64,
    all: Vec<FaultRun>,
    /// Those that run, as indices into all.
    running: Vec<(usize, Child)>,
}

impl Faults {
    pub fn new(faults: Vec<Fault>, begins_s: f64) -> Faults {
        let all = faults.into_iter().map(|fault| FaultRun {
            at: fault.at,
            command: fault.run,
            ..FaultRun::default()
        });
        Faults {
            begins_s,
            all: all.collect(),
            running: Vec::new(),
        }
    }

    /// Starts what is due and looks what has ended.
    pub fn turn(&mut self, now_ns: u64, workload: &Workload, watch: &mut dyn Watch) {
        let now_s = now_ns as f64 / 1e9;
        for (index, fault) in self.all.iter_mut().enumerate() {
            if fault.started_at.is_some() || now_ns < ns(self.begins_s + fault.at) {
                continue;
            }
            watch.stage(&format!("fault at {} s: {}", fault.at, fault.command));
            fault.started_at = Some(now_s);
            match shell(&fault.command, workload).spawn() {
                Ok(child) => {
                    fault.outcome = FaultOutcome::Running;
                    self.running.push((index, child));
                }
                Err(error) => {
                    fault.outcome = FaultOutcome::Unknown(format!("it cannot be run: {error}"));
                }
            }
        }
        self.look(now_ns, watch);
    }

    /// Looks what has ended.
    pub fn look(&mut self, now_ns: u64, watch: &mut dyn Watch) {
        let now_s = now_ns as f64 / 1e9;
        let all = &mut self.all;
        self.running.retain_mut(|(index, child)| {
            let fault = &mut all[*index];
            fault.outcome = match child.try_wait() {
                Ok(None) => return true,
                Ok(Some(status)) => outcome(status),
                Err(error) => FaultOutcome::Unknown(error.to_string()),
            };
            fault.ended_at = Some(now_s);
            if let Some(problem) = fault.outcome.problem() {
                watch.stage(&format!("the fault `{}` failed: {problem}", fault.command));
            }
            false
        });
    }

    /// What became of them.
    pub fn told(self) -> Vec<FaultRun> {
        self.all
    }
}

/// A command for the shell, with the broker of a workload in its environment.
pub fn shell(command: &str, workload: &Workload) -> Command {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(command)
        .env("BENCH_BROKER", workload.brokers.to_string())
        .env("BENCH_PID", workload.pid.to_string())
        .env("BENCH_TOPIC", &workload.topic)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    shell
}

fn outcome(status: ExitStatus) -> FaultOutcome {
    match (status.code(), status.signal()) {
        (Some(code), _) => FaultOutcome::ExitCode(code),
        (None, Some(signal)) => FaultOutcome::Signal(signal),
        (None, None) => FaultOutcome::Unknown(status.to_string()),
    }
}
