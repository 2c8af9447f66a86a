//! The line that a run shows every second, on standard error: in place on a terminal, one below the other elsewhere.

use crate::load::Watch;
use crate::result::{Phase, Second, Stage};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Shows a run as it goes.
pub struct Live {
    label: String,
    quiet: bool,
    terminal: bool,
    /// Something stands on the terminal's line.
    open: bool,
}

impl Live {
    /// Under a label; an interrupt (Ctrl-C) or a request to terminate ends the run and keeps what was measured.
    pub fn new(label: &str, quiet: bool) -> Live {
        let handler = interrupt as extern "C" fn(libc::c_int);
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: the handler only sets a flag.
            unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        }
        Live {
            label: label.to_owned(),
            quiet,
            terminal: std::io::stderr().is_terminal(),
            open: false,
        }
    }

    fn show(&mut self, text: &str, stays: bool) {
        if self.quiet {
            return;
        }
        let begin = if self.open { "\r\x1b[K" } else { "" };
        let end = if self.terminal && !stays { "" } else { "\n" };
        self.open = self.terminal && !stays;
        // A terminal that is gone needs no line.
        let _ = write!(std::io::stderr(), "{begin}{text}{end}");
    }
}

extern "C" fn interrupt(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

impl Watch for Live {
    fn second(&mut self, second: &Second) {
        let phase = match second.phase {
            Phase::Warmup => " warm-up",
            Phase::Measured => "",
            Phase::Drain => " drain",
        };
        let mut line = format!("{:>5.0} s{phase}", second.begins_at + second.seconds);
        let rate = |bytes: u64| bytes as f64 / second.seconds / (1 << 20) as f64;
        if second.produced.requests > 0 || second.in_flight > 0 {
            line += &format!(
                "  out {:>7.1} MiB/s {:>8.0} req/s  {} in flight",
                rate(second.produced.bytes),
                second.produced.requests as f64 / second.seconds,
                second.in_flight
            );
        }
        if second.consumed.records > 0 {
            line += &format!("  in {:>7.1} MiB/s", rate(second.consumed.bytes));
        }
        for stage in [Stage::Produce, Stage::EndToEnd] {
            if let Some(packed) = second.stages.get(&stage) {
                let latency = packed.latency();
                let (p50, p99) = (latency.at(0.5), latency.at(0.99));
                line += &format!(
                    "  {} p50 {p50} p99 {p99} max {} us",
                    stage.name(),
                    latency.max_us()
                );
            }
        }
        for (count, name) in [
            (second.backlog, "waiting"),
            (second.errors, "errors"),
            (second.reconnects, "reconnects"),
        ] {
            if count > 0 {
                line += &format!("  {count} {name}");
            }
        }
        self.show(&line, false);
    }

    fn stage(&mut self, text: &str) {
        let text = format!("{}: {text}", self.label);
        self.show(&text, true);
    }

    fn is_interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.open {
            // A terminal that is gone needs no line.
            let _ = writeln!(std::io::stderr());
        }
    }
}
