//! `millstream doctor`: the findings of `node::checks`, readable or as JSON.

use super::args::DoctorArgs;
use super::outcome::{Failure, Outcome};
use super::serve::settings_of;
use crate::node::checks::{self, DirectIo, Grade};
use crate::node::config::{Config, ConfigError, Machine};

pub fn run(args: &DoctorArgs) -> Outcome {
    let config = config(args).map_err(|error| Failure::new(error.to_string()).code(2))?;
    let direct_io = match config.direct_io {
        true => DirectIo::Needed,
        false => DirectIo::Off,
    };
    let findings = checks::examine(&config.data_dir, direct_io);
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

/// What `serve` would make of the same file, keys and directory.
fn config(args: &DoctorArgs) -> Result<Config, ConfigError> {
    let settings = settings_of(args.config.as_deref(), &args.set, args.data.as_deref())?;
    Config::new(settings, &Machine::this())
}
