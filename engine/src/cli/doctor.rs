//! `millstream doctor`: the findings of `node::checks`, readable or as JSON.

use super::args::DoctorArgs;
use super::outcome::{Failure, Outcome};
use crate::node::checks::{self, Grade};

pub fn run(args: &DoctorArgs) -> Outcome {
    let findings = checks::examine(&args.data);
    let worst = findings
        .iter()
        .map(|finding| finding.grade)
        .max()
        .unwrap_or(Grade::Good);
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "grade": worst, "findings": findings })
        );
    } else {
        for finding in &findings {
            let mark = match finding.grade {
                Grade::Good => "ok  ",
                Grade::Warning => "warn",
                Grade::Failure => "FAIL",
            };
            println!("{mark}  {:<14} {}", finding.check, finding.found);
            if let Some(remedy) = &finding.remedy {
                println!("      {:<14} -> {remedy}", "");
            }
        }
    }
    match worst {
        Grade::Failure => Err(
            Failure::new("a node does not start on this machine as it is")
                .next("each FAIL above names its remedy"),
        ),
        Grade::Good | Grade::Warning => Ok(()),
    }
}
