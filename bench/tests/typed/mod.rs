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
