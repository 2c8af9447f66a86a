use super::file::parse;
use super::*;

#[test]
fn a_file_and_the_command_line_give_a_workload() {
    let text = "partitions = 3\nrate = 500\nacks = \"all\"\nbrokers = [\"a:1\", \"b:2\"]\n[[faults]]\nat = 2.0\nrun = \"true\"\n";
    let file = parse("small", text).unwrap();
    let typed = Settings {
        partitions: Some(5),
        ..Settings::default()
    };
    let workload = typed
        .over(file.settings)
        .resolve(&file.name, file.faults)
        .unwrap();
    assert_eq!(workload.partitions, 5);
    assert_eq!(workload.rate, Rate::Constant(500.0));
    assert_eq!(workload.brokers.0, ["a:1", "b:2"]);
    assert_eq!(workload.faults[0].run, "true");
}

#[test]
fn what_cannot_be_is_refused_with_line_and_key() {
    for (text, expected) in [
        (
            "\npartition = 3",
            ":2: there is no key `partition`; the nearest is `partitions`",
        ),
        (
            "bogus = 1",
            ":1: there is no key `bogus`; `millstream-bench run --help` lists them all",
        ),
        ("partitions = \"many\"", ":1: `partitions`: invalid type"),
        ("rate = \"fast\"", ":1: `rate`: `fast` is not a rate"),
        ("rate = -5", ":1: `rate`: `-5` is not a rate"),
        ("a = 1\nb = ", ":2: "),
        (
            "compression = \"brotli\"",
            ":1: `compression`: `brotli` is none of none, gzip",
        ),
        ("[faults]\nat = 1", ":1: `faults` is { at = SECONDS"),
        ("faults = 7", ":1: `faults` is { at = SECONDS"),
    ] {
        let problem = parse("x", text).unwrap_err();
        assert!(problem.starts_with(expected), "{text:?}: {problem}");
    }
}

#[test]
fn one_fault_may_be_a_table_and_several_are_a_list() {
    let one = "[faults]\nat = 2.5\nrun = \"true\"\n";
    let file = parse("x", one).unwrap();
    assert_eq!((file.faults.len(), file.faults[0].at), (1, 2.5));
    let two = "[[faults]]\nat = 1\nrun = \"a\"\n[[faults]]\nat = 2\nrun = \"b\"\n";
    assert_eq!(parse("x", two).unwrap().faults.len(), 2);
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (text, expected) in [
        ("", "an open loop needs a rate"),
        ("closed = true\nrate = 5", "`closed` and `rate` exclude"),
        ("connections = 0", "nothing to do"),
        ("rate = 5\nrecord-bytes = 4", "`record-bytes` is at least 8"),
        (
            "rate = 5\nidempotent = true",
            "an idempotent producer needs",
        ),
        ("rate = 5\npartitions = 0", "`topics`, `partitions`"),
        ("rate = 5\nduration = -1.0", "`warmup`, `duration`"),
        (
            "rate = 5\nduration = 1.5",
            "`warmup` and `duration` are whole",
        ),
        (
            "rate = 5\nwarmup = 0.5",
            "`warmup` and `duration` are whole",
        ),
        ("rate = \"sweep:400..100\"", "a sweep goes up"),
        (
            "rate = \"sweep:1..9\"\nsweep-factor = nan",
            "`sweep-factor`",
        ),
        ("rate = 5\nverify-seconds = -1", "`verify-seconds`"),
        ("rate = 5\nreplication = 0", "`replication` is at least 1"),
        (
            "rate = 5\nconsumers = 4000000000",
            "`fan-out` is at least 1",
        ),
        (
            "rate = 5\nfetch-wait-ms = 20000",
            "`fetch-wait-ms` is below",
        ),
        (
            "rate = 5\nin-flight = 60000\nconnections = 60000",
            "`in-flight` times `connections`",
        ),
        (
            "rate = 5\n[[faults]]\nat = 20\nrun = \"true\"",
            "the fault at 20 s is not within",
        ),
    ] {
        let file = parse("x", text).unwrap();
        let problem = file.settings.resolve("x", file.faults).unwrap_err();
        assert!(problem.starts_with(expected), "{text:?}: {problem}");
    }
}

#[test]
fn the_workloads_that_come_with_the_generator_are_lawful() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = read(&entry.unwrap().path()).unwrap();
        file.settings.resolve(&file.name, file.faults).unwrap();
        count += 1;
    }
    assert!(count >= 12, "{count}");
}
