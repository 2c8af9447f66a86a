//! The files of a report: JSON, and HdrHistogram's own `.hlog` (interval log) and `.hgrm` (percentiles).
//!
//! Always: a file that cannot be written is an error that names it; the others are written all the same.

use super::html::page;
use crate::result::{Latency, Phase, Report, Run};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::ffi::CString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Where a report goes.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    pub json: Option<PathBuf>,
    /// The beginning of the names of `.hlog`, `.hgrm` and `.html`.
    pub base: Option<PathBuf>,
}

/// Refuses paths at which nothing could be written, without writing.
pub fn writable(paths: &Paths) -> Result<(), String> {
    let html = paths.base.as_ref().map(|base| named(base, None, "html"));
    for path in paths.json.iter().chain(&html) {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let touched = if path.exists() { path } else { folder };
        if path.is_dir() || !folder.is_dir() {
            let wrong = if path.is_dir() {
                "a folder"
            } else {
                "in no folder"
            };
            return Err(format!(
                "{} cannot be written: it is {wrong}",
                path.display()
            ));
        }
        let name = CString::new(touched.as_os_str().as_bytes())
            .map_err(|_| format!("{} is no name of a file", path.display()))?;
        // SAFETY: a string that ends with a zero.
        if unsafe { libc::access(name.as_ptr(), libc::W_OK) } != 0 {
            let error = std::io::Error::last_os_error();
            return Err(format!("{} cannot be written: {error}", path.display()));
        }
    }
    Ok(())
}

/// Writes the files; their names.
pub fn write(report: &Report, paths: &Paths) -> Result<Vec<PathBuf>, String> {
    let mut written = Vec::new();
    let mut problems = Vec::new();
    let mut put = |path: PathBuf, content: Result<Vec<u8>, String>| {
        let done = content
            .and_then(|content| std::fs::write(&path, content).map_err(|error| error.to_string()));
        match done {
            Ok(()) => written.push(path),
            Err(problem) => {
                problems.push(format!("{} cannot be written: {problem}", path.display()))
            }
        }
    };
    if let Some(path) = &paths.json {
        let text = serde_json::to_vec_pretty(report).map_err(|error| error.to_string());
        put(path.clone(), text);
    }
    if let Some(base) = &paths.base {
        put(named(base, None, "html"), Ok(page(report).into_bytes()));
        let many = report.runs.len() > 1;
        for (index, run) in report.runs.iter().enumerate() {
            let of = |rest: &str| named(base, many.then_some(index + 1), rest);
            put(of("hlog"), interval_log(run));
            for (stage, latency) in &run.stages {
                put(
                    of(&format!("{}.hgrm", stage.name())),
                    Ok(percentiles(latency).into_bytes()),
                );
            }
        }
    }
    match problems.is_empty() {
        true => Ok(written),
        false => Err(problems.join("; ")),
    }
}

/// `base.rest`, or `base-2.rest` of the second of several runs.
fn named(base: &Path, number: Option<usize>, rest: &str) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    if let Some(number) = number {
        name.push(format!("-{number}"));
    }
    name.push(format!(".{rest}"));
    name.into()
}

/// One interval per second (or some seconds, in a run of hours) and stage, tagged with the stage. The warm-up is left out, as in the table, so that the sum of a
/// stage's intervals is its histogram; answers after the end to what was due before it are in both.
fn interval_log(run: &Run) -> Result<Vec<u8>, String> {
    let began = UNIX_EPOCH + Duration::from_millis(run.started_unix_ms);
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment(&format!(
            "millstream-bench, {} on {}; microseconds; without warm-up",
            run.workload, run.label
        ))
        .with_base_time(began)
        .with_start_time(began)
        .with_max_value_divisor(1.0);
    let mut log = builder
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|error| error.to_string())?;
    for second in run
        .seconds
        .iter()
        .filter(|each| each.phase != Phase::Warmup)
    {
        for (stage, packed) in &second.stages {
            let latency = packed.latency();
            let begins = Duration::from_secs_f64(second.begins_at);
            let lasts = Duration::from_secs_f64(second.seconds);
            let tag = Tag::new(stage.name());
            log.write_histogram(latency.histogram(), begins, lasts, tag)
                .map_err(|error| format!("{error:?}"))?;
        }
    }
    Ok(bytes)
}

/// The percentile distribution in the form of HdrHistogram's `outputPercentileDistribution`, five steps per halving, in
/// milliseconds.
pub fn percentiles(latency: &Latency) -> String {
    const US_PER_MS: f64 = 1000.0;
    let histogram = latency.histogram();
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for step in histogram.iter_quantiles(5) {
        let value = step.value_iterated_to() as f64 / US_PER_MS;
        let quantile = step.quantile_iterated_to();
        let count = histogram.count_between(0, step.value_iterated_to());
        let inverse = 1.0 / (1.0 - quantile);
        let line = if inverse.is_finite() {
            writeln!(
                text,
                "{value:12.3} {quantile:2.12} {count:10} {inverse:14.2}"
            )
        } else {
            writeln!(text, "{value:12.3} {quantile:2.12} {count:10}")
        };
        line.expect("strings take every write");
    }
    let mean = histogram.mean() / US_PER_MS;
    let deviation = histogram.stdev() / US_PER_MS;
    let max = histogram.max() as f64 / US_PER_MS;
    let buckets = (histogram.high() as f64 / 2048.0).log2().ceil() as u32 + 1;
    writeln!(
        text,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]"
    )
    .and_then(|()| {
        writeln!(
            text,
            "#[Max     = {max:12.3}, Total count    = {:12}]",
            histogram.len()
        )
    })
    .and_then(|()| {
        writeln!(
            text,
            "#[Buckets = {buckets:12}, SubBuckets     = {:12}]",
            2048
        )
    })
    .expect("strings take every write");
    text
}
