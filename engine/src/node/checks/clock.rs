//! The clocks: the one that stamps records and the one that times.

use super::Finding;
use std::time::{SystemTime, UNIX_EPOCH};

/// A wall clock before this second (2025-01-01) was never set.
const PLAUSIBLE_SECONDS: u64 = 1_735_689_600;

pub(super) fn examine() -> Vec<Finding> {
    vec![wall(), source()]
}

fn wall() -> Finding {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let remedy = "run a time daemon (chrony, systemd-timesyncd): retention and LogAppendTime take this clock";
    if seconds < PLAUSIBLE_SECONDS {
        return Finding::warning(
            "clock",
            format!("{seconds} s after 1970: the clock was never set"),
            remedy,
        );
    }
    // SAFETY: all-zero bytes are a valid timex, and modes 0 only asks.
    let mut found: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours and lives through the call.
    let state = unsafe { libc::adjtimex(&mut found) };
    if state < 0 {
        return Finding::warning(
            "clock",
            "the kernel does not say whether it is synchronised",
            remedy,
        );
    }
    if found.status & libc::STA_UNSYNC != 0 {
        return Finding::warning("clock", "not synchronised", remedy);
    }
    Finding::good(
        "clock",
        format!("synchronised, estimated error {} ms", found.esterror / 1000),
    )
}

fn source() -> Finding {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let name = std::fs::read_to_string(path).unwrap_or_default();
    match name.trim() {
        "" => Finding::good("clock source", "the kernel does not tell"),
        name @ ("tsc" | "arch_sys_counter" | "kvm-clock" | "hyperv_clocksource_tsc_page") => {
            Finding::good("clock source", name)
        }
        name => Finding::warning(
            "clock source",
            format!("{name}, which needs a system call for every reading"),
            "use tsc where the machine has an invariant one (kernel parameter clocksource=tsc)",
        ),
    }
}
