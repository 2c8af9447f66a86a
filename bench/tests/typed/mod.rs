//! The program as it is typed: exit codes, sentences, and what is saved.

use crate::simulated::{Behaviour, Fate, start};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The program with the flags of a small run at a broker.
fn typed(command: &str, behaviour: Behaviour, more: &[&str]) -> Command {
    let address = start(behaviour).to_string();
    let mut program = Command::new(env!("CARGO_BIN_EXE_millstream-bench"));
    program.arg(command);
    match command {
        "compare" => program.args(["--a", &address, "--b", &address]),
        _ => program.args(["--brokers", &address]),
    };
    program
        .args(["--partitions=1", "--connections=1", "--batch-bytes=300"])
        .args(["--record-bytes=100", "--warmup=0", "--ceiling=false"])
        .args(["--report=none", "--quiet"])
        .args(more);
    program
}

fn refusing(fate: impl Fn(u64) -> Fate + Send + Sync + 'static) -> Behaviour {
    Behaviour {
        fate: Box::new(fate),
        ..Behaviour::default()
    }
}

fn texts(done: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        done.status.code().unwrap_or(-1),
        text(&done.stdout),
        text(&done.stderr),
    )
}

#[test]
fn a_run_in_which_nothing_succeeded_fails_and_says_so() {
    let behaviour = refusing(|_| Fate::Refuse(29));
    let mut program = typed("run", behaviour, &["--rate=100", "--duration=1"]);
    let (code, out, err) = texts(&program.output().unwrap());
    assert_eq!(code, 1, "{out}{err}");
    assert!(
        err.contains("not one request succeeded (100 failed)"),
        "{err}"
    );
    assert!(out.contains("INVALID: not one request succeeded"), "{out}");
    let row = out.lines().find(|line| line.contains("without latency"));
    assert!(row.is_some_and(|row| row.ends_with("100")), "{out}");
}

#[test]
fn what_is_acknowledged_and_cannot_be_read_back_fails_the_run() {
    for fetch in [Fate::Refuse(56), Fate::Close] {
        let behaviour = Behaviour {
            fetch,
            ..Behaviour::default()
        };
        let words = ["--rate=100", "--duration=1", "--verify-seconds=2"];
        let (code, out, err) = texts(&typed("run", behaviour, &words).output().unwrap());
        assert_eq!(code, 1, "{fetch:?}: {out}{err}");
        assert!(
            err.contains("acknowledged records could not be read back"),
            "{err}"
        );
        assert!(out.contains(" 0 lost"), "not seen is not lost: {out}");
        // A busy machine marks the run as late too.
        let mut marked = out.lines().filter(|line| line.contains("INVALID: "));
        assert!(
            marked.any(|line| line.contains("could not be read back: ")),
            "{out}"
        );
    }
}

#[test]
fn what_a_fault_did_is_told() {
    let faults = [
        "--rate=100",
        "--duration=2",
        "--fault=0.2:test \"$BENCH_TOPIC\" = bench && exit 7",
        "--fault=0.3:sleep 9 2>/dev/null",
        "--fault=0.4:true",
        "--json=-",
    ];
    let mut program = typed("run", Behaviour::default(), &faults);
    let (code, out, err) = texts(&program.output().unwrap());
    assert!(matches!(code, 0 | 3), "{code}: {err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let run = &report["runs"][0];
    let outcomes: Vec<String> = run["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["outcome"].to_string())
        .collect();
    assert_eq!(
        outcomes,
        [r#"{"exit-code":7}"#, "\"running\"", r#"{"exit-code":0}"#]
    );
    let started = run["faults"][0]["started_at"].as_f64().unwrap();
    assert!((0.2..1.5).contains(&started), "{started}");
    let marks = run["marks"].to_string();
    assert!(
        marks.contains("fault-failed") && marks.contains("exit code 7"),
        "{marks}"
    );
}

#[test]
fn without_acknowledgements_nothing_is_called_acknowledged() {
    // Every tenth request is forgotten, which nobody promised not to do.
    let behaviour = refusing(|number| {
        if number % 10 == 0 {
            Fate::Lose
        } else {
            Fate::Append
        }
    });
    let mut program = typed(
        "run",
        behaviour,
        &["--rate=100", "--duration=2", "--acks=0", "--in-flight=64"],
    );
    let (code, out, err) = texts(&program.output().unwrap());
    assert!(matches!(code, 0 | 3), "{code}: {out}{err}");
    assert!(out.contains("none acknowledged (acks 0)"), "{out}");
    assert!(out.contains("due to sent (acks 0)"), "{out}");
    assert!(out.contains("of these were not there to read"), "{out}");
}

#[test]
fn selftest_runs_and_reports_and_fails_below_the_floor() {
    let base = folder("selftest").join("own");
    let json = base.with_extension("json");
    let selftest = |more: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_millstream-bench"));
        program
            .args(["selftest", "--warmup=0", "--duration=1"])
            .args(more);
        texts(&program.output().unwrap())
    };
    let files = [
        format!("--report={}", base.display()),
        format!("--json={}", json.display()),
    ];
    let (code, out, err) = selftest(&["--print-only", &files[0], &files[1]]);
    assert_eq!(code, 0, "{out}{err}");
    for shape in [
        "64 KiB batches: ",
        "1 KiB requests: ",
        "fetches of 64 KiB batches: ",
    ] {
        assert!(out.contains(shape), "{shape}: {out}");
    }
    assert!(out.contains("% of the floor of 300,000/s"), "{out}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let seconds = |run: &serde_json::Value| run["figures"]["summary"]["seconds"].as_f64();
    let runs = report["runs"].as_array().unwrap();
    assert!(runs.len() == 3 && runs.iter().all(|run| seconds(run) > Some(0.5)));
    for index in 1..=3 {
        let log = base.with_file_name(format!("own-{index}.hlog"));
        assert!(
            std::fs::read_to_string(&log).unwrap().contains("Tag="),
            "{log:?}"
        );
    }
    // Requests of a record, one at a time, carry no 3 GB/s anywhere. The report is written all the same, also without JSON.
    let page = folder("below").join("page");
    let slow = [
        "--connections=1",
        "--in-flight=1",
        "--batch-bytes=1200",
        "--report",
    ];
    let (code, out, err) = selftest(&[&slow[..], &[page.to_str().unwrap()]].concat());
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("the floor is not reached"), "{err}");
    let page = std::fs::read_to_string(page.with_extension("html")).unwrap();
    assert!(page.contains("fetches of 64 KiB batches"));
    let (code, _, err) = selftest(&["--report=/nowhere/at/all"]);
    assert!(code == 1 && err.contains("cannot be written"), "{err}");
}

#[test]
fn rounds_in_which_requests_failed_do_not_count_and_are_named() {
    // Both sides are one broker; the sixth run is the second one of round 3.
    for (failing, code_wanted) in [(510..520, 0), (0..520, 1)] {
        let behaviour = refusing(move |number| {
            if failing.contains(&number) && number % 5 == 0 {
                Fate::Refuse(7)
            } else {
                Fate::Append
            }
        });
        let rounds = [
            "--rate=100",
            "--duration=1",
            "--rounds=4",
            "--verify=false",
            "--json=-",
        ];
        let mut program = typed("compare", behaviour, &rounds);
        let (code, out, err) = texts(&program.output().unwrap());
        // A busy machine makes rounds late.
        if code == 3 {
            continue;
        }
        assert_eq!(code, code_wanted, "{err}");
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        let comparison = &report["comparison"];
        let excluded = comparison["excluded"].to_string();
        assert!(excluded.contains("round 3: 127.0.0.1:"), "{excluded}");
        assert!(excluded.contains("requests failed"), "{excluded}");
        let counted = comparison["counted"].as_array().unwrap();
        assert!(!counted.contains(&2.into()), "{counted:?}");
        assert_eq!(
            code == 1,
            err.contains("requests failed in 3 of 4 rounds"),
            "{err}"
        );
    }
}

#[test]
fn two_rounds_of_a_comparison_claim_nothing() {
    let rounds = ["--closed", "--duration=1", "--rounds=2", "--verify=false"];
    let marker = folder("between").join("marks");
    let between = format!("--between=echo $BENCH_BROKER >>{}", marker.display());
    let mut program = typed("compare", Behaviour::default(), &rounds);
    let (code, out, err) = texts(&program.arg(between).output().unwrap());
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("2 of at least 3 rounds that count: no difference is claimed"),
        "{out}"
    );
    assert!(out.contains("too few rounds to say") && !out.contains(" to 1."));
    let marks = std::fs::read_to_string(&marker).unwrap();
    assert_eq!(marks.matches("127.0.0.1:").count(), 4, "{marks}");
    let failing = [&rounds[..], &["--between=exit 5"]].concat();
    let mut program = typed("compare", Behaviour::default(), &failing);
    let (code, _, err) = texts(&program.output().unwrap());
    assert!(
        code == 1 && err.contains("`exit 5` before a run"),
        "{code}: {err}"
    );
}

#[test]
fn a_run_that_is_asked_to_terminate_saves_what_it_measured() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let json = folder("signals").join(format!("{signal}.json"));
        let words = format!("--json={}", json.display());
        let mut program = typed("run", Behaviour::default(), &["--rate=100", &words]);
        program.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = program.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(2_500));
        let (code, out, err) = texts(&signalled(child, signal));
        assert_eq!(code, 1, "{out}{err}");
        assert!(out.contains("INVALID: ended early: interrupted"), "{out}");
        let report: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        let sent = report["runs"][0]["integrity"]["acknowledged"].as_u64();
        assert!(sent.is_some_and(|sent| sent > 100), "{sent:?}");
    }
}

#[test]
fn the_logs_intervals_are_the_tables_histogram() {
    let base = folder("log").join("report");
    let words = [
        "--rate=200".to_owned(),
        "--duration=2".into(),
        "--warmup=2".into(),
        format!("--report={}", base.display()),
        format!("--json={}", base.with_extension("json").display()),
    ];
    let address = start(Behaviour::default()).to_string();
    let mut program = Command::new(env!("CARGO_BIN_EXE_millstream-bench"));
    program
        .args(["run", "--brokers", &address, "--partitions=1", "--quiet"])
        .args(["--connections=1", "--ceiling=false", "--batch-bytes=300"])
        .arg("--record-bytes=100")
        .args(words);
    let (code, out, err) = texts(&program.output().unwrap());
    assert!(matches!(code, 0 | 3), "{out}{err}");
    let log = std::fs::read_to_string(base.with_extension("hlog")).unwrap();
    let intervals = log.lines().filter(|line| line.starts_with("Tag=produce,"));
    let begins: Vec<f64> = intervals
        .map(|line| line.split(',').nth(1).unwrap().parse().unwrap())
        .collect();
    assert!(begins.len() >= 2 && begins[0] == 2.0, "{begins:?}");
}

fn signalled(child: Child, signal: i32) -> Output {
    // SAFETY: the process is ours and not yet waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
    child.wait_with_output().unwrap()
}

/// A new folder for a test.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("bench-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}
