//! One HTML file with everything: charts as SVG, tables, marks, environment, command line. It loads nothing.

use super::charts::figures;
use super::compared::{rows as compared_rows, sentences as compared_sentences};
use super::svg::escape;
use super::table::{ceiling, integrity, number, rows, sentences, time};
use crate::result::{Report, Run, Severity, Stage};

const STYLE: &str = "
:root{color-scheme:light dark;--back:#fbfbfa;--card:#fff;--text:#1b1f24;--soft:#5b6470;--rule:#e3e5e8;--heat:#c2410c;
--c0:#2563eb;--c1:#d9480f;--c2:#0f8a5f;--c3:#9333ea;--c4:#b58900;--c5:#d6336c;--c6:#0e7490;--c7:#6b7280}
@media(prefers-color-scheme:dark){:root{--back:#14171a;--card:#1c2024;--text:#e6e8ea;--soft:#9aa3ad;--rule:#32383f;--heat:#fb923c;
--c0:#6ea8fe;--c1:#ff9f6b;--c2:#4fd1a1;--c3:#c79bff;--c4:#f0c94a;--c5:#ff8ab4;--c6:#4cc9e0;--c7:#aab2bd}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:16px;margin:0}
p{margin:4px 0}.soft{color:var(--soft)}
figure,section{background:var(--card);border:1px solid var(--rule);border-radius:8px;margin:16px 0;padding:14px 16px}
figcaption{display:flex;flex-wrap:wrap;gap:4px 18px;align-items:baseline;margin-bottom:6px}
figcaption p{flex-basis:100%;font-size:13px;color:var(--soft);margin:0}figcaption p:empty{display:none}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:5px;vertical-align:middle}
svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font-size:12px}svg .title{font-size:12px}
.grid{stroke:var(--rule);stroke-width:1}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.heat{fill:var(--heat)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:3px 14px 3px 0;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}
th:first-child,td:first-child{text-align:left}td:first-child{color:var(--soft);white-space:pre}
.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}.facts td:first-child{white-space:nowrap;vertical-align:top}
.mark{margin:4px 0;padding:4px 10px;border-left:4px solid var(--rule)}
.warning{border-color:var(--c4)}.invalid{border-color:var(--c5)}
code{font:13px/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
";

/// The page of a report.
pub fn page(report: &Report) -> String {
    let names: Vec<&str> = report
        .runs
        .iter()
        .map(|run| run.workload.as_str())
        .collect();
    let title = format!("{} - millstream-bench", names.first().unwrap_or(&"nothing"));
    let mut body = format!(
        "<h1>{}</h1><p class=\"soft\">{} of {} on {}</p>\n",
        escape(names.first().unwrap_or(&"nothing")),
        if report.runs.len() == 1 {
            "one run"
        } else {
            "runs"
        },
        escape(&labels(&report.runs).join(", ")),
        escape(&report.environment.host),
    );
    if report.sweep.is_empty() && report.comparison.is_none() {
        for run in &report.runs {
            body += &format!("<p>{}</p>\n", escape(&headline(run)));
        }
    }
    if let Some(comparison) = &report.comparison {
        let heading = format!("{} against {}", comparison.a, comparison.b);
        let said = compared_sentences(comparison).into_iter();
        let said: String = said
            .map(|sentence| format!("<p>{}</p>", escape(&sentence)))
            .collect();
        body += &section(&heading, &(cells(&compared_rows(comparison), "") + &said));
    }
    for label in labels(&report.runs) {
        let mine = report.runs.iter().filter(|run| run.label == label);
        body += &verdict(label, &mine.collect::<Vec<_>>());
    }
    if !report.sweep.is_empty() {
        let answer = report.sweep_answer.as_ref();
        let answer = answer.map_or(String::new(), |answer| {
            format!("<p><b>{}</b></p>", escape(&answer.text))
        });
        body += &section("Rates", &(answer + &cells(&sweep_rows(report), "")));
    }
    for figure in figures(report) {
        body += &figure.html();
    }
    if report.sweep.is_empty() && report.runs.len() <= 6 {
        body += &section("Figures", &cells(&rows(&report.runs), ""));
    }
    body += &section("How it was made", &cells(&facts(report), "facts"));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{}</title><style>{STYLE}</style></head><body><main>\n{body}</main>\
         </body></html>\n",
        escape(&title)
    )
}

/// The labels of runs, each once.
pub fn labels(runs: &[Run]) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for run in runs {
        if !labels.contains(&run.label.as_str()) {
            labels.push(&run.label);
        }
    }
    labels
}

/// What most want to know of a run, in a line.
fn headline(run: &Run) -> String {
    let summary = run.summary();
    let mut said = vec![format!(
        "{:?} loop, {:.0} s measured",
        run.loop_kind, summary.seconds
    )];
    if summary.requests_per_second > 0.0 {
        said.push(format!(
            "produced {} requests/s, {} MiB/s",
            number(summary.requests_per_second, 0),
            number(summary.mib_per_second, 1)
        ));
    }
    if summary.consumed_mib_per_second > 0.0 {
        let rate = number(summary.consumed_mib_per_second, 1);
        said.push(format!("consumed {rate} MiB/s"));
    }
    for stage in [Stage::Produce, Stage::EndToEnd] {
        if let Some(found) = run.percentiles(stage) {
            said.push(format!(
                "{} p50 {}, p99 {}, p99.9 {}, max {}",
                stage.name(),
                time(found.p50),
                time(found.p99),
                time(found.p999),
                time(found.max)
            ));
        }
    }
    said.join("; ")
}

/// What is said of the runs of a label: of each what its records say, of all together everything else, the worst first.
fn verdict(label: &str, runs: &[&Run]) -> String {
    let mut text = String::new();
    let mut said: Vec<String> = Vec::new();
    for run in runs {
        text += &format!(
            "<div class=\"mark\"><b>{}</b>: {}</div>\n",
            escape(label),
            escape(&integrity(&run.integrity))
        );
        for sentence in sentences(run) {
            if !said.contains(&sentence) {
                said.push(sentence);
            }
        }
    }
    let class = |sentence: &str| match sentence.split(':').next() {
        Some("INVALID") => "mark invalid",
        Some("note") => "mark",
        // One that failed has a warning of its own.
        Some(fault) if fault.starts_with("fault at ") => "mark",
        _ => "mark warning",
    };
    said.sort_by_key(|sentence| !sentence.starts_with("INVALID"));
    for sentence in said {
        text += &format!(
            "<div class=\"{}\">{}</div>\n",
            class(&sentence),
            escape(&sentence)
        );
    }
    if runs.iter().any(|run| run.severity() == Severity::Invalid) {
        text = format!("<section>{text}</section>\n");
    }
    text
}

fn section(heading: &str, content: &str) -> String {
    format!(
        "<section><h2>{}</h2><div class=\"scroll\">{content}</div></section>\n",
        escape(heading)
    )
}

fn cells(rows: &[Vec<String>], class: &str) -> String {
    let mut text = format!("<table class=\"{class}\">");
    for row in rows {
        text += "<tr>";
        for cell in row {
            text += &format!("<td>{}</td>", escape(cell));
        }
        text += "</tr>\n";
    }
    text + "</table>"
}

fn sweep_rows(report: &Report) -> Vec<Vec<String>> {
    let head = ["due/s", "answered/s", "p50 us", "p99 us", "bound"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(report.sweep.iter().map(|step| {
        vec![
            number(step.rate, 0),
            number(step.answered, 0),
            step.p50_us.to_string(),
            step.p99_us.to_string(),
            if step.held { "holds" } else { "broken" }.into(),
        ]
    }));
    rows
}

/// Machine, command line, brokers and settings.
fn facts(report: &Report) -> Vec<Vec<String>> {
    let machine = &report.environment;
    let fact = |name: &str, value: String| vec![name.to_owned(), value];
    let mut facts = vec![
        fact("command", command_line(&report.command)),
        fact(
            "generator",
            format!("millstream-bench {}", report.generator_version),
        ),
        fact("kernel", machine.kernel.clone()),
        fact(
            "processors",
            format!("{} x {}", machine.cpus, machine.cpu_model),
        ),
        fact("memory", format!("{} MiB", machine.memory_bytes >> 20)),
        fact("load before", format!("{:.2}", machine.load_before)),
    ];
    if let Some(governor) = &machine.governor {
        facts.push(fact("frequency governor", governor.clone()));
    }
    for run in &report.runs {
        let broker = &run.broker;
        let cluster = broker.cluster_id.as_deref().unwrap_or("without id");
        let process = broker.process.as_deref().unwrap_or("not told");
        facts.push(fact(
            "broker",
            format!(
                "{}: cluster {cluster}, {} node(s), process {process}",
                run.label, broker.nodes
            ),
        ));
    }
    // Also of the many runs of a sweep or of a comparison, whose figures are not all shown.
    for (run, at) in report.runs.iter().zip(1..) {
        let told = ceiling(run).unwrap_or_else(|| "not measured".into());
        let value = format!("run {at}, {}: {told}", run.label);
        facts.push(fact("of the generator's ceiling", value));
    }
    if let Some(run) = report.runs.first() {
        let settings = run.settings.iter().map(|(name, value)| match value {
            serde_json::Value::String(text) => format!("{name} = {text:?}"),
            value => format!("{name} = {value}"),
        });
        facts.push(fact("settings", settings.collect::<Vec<_>>().join(", ")));
    }
    facts
}

/// A command line that a shell takes as these words.
pub fn command_line(words: &[String]) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_@%+=:,./-".contains(letter);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
