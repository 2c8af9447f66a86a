//! `millstream serve`: from arguments to a configuration, then the node.

use super::args::ServeArgs;
use super::outcome::{Failure, Outcome};
use crate::node;
use crate::node::config::keys::{self, Standing};
use crate::node::config::settings::{Settings, Source};
use crate::node::config::{Config, ConfigError, Machine, listener};
use std::path::Path;

pub fn run(args: ServeArgs) -> Outcome {
    if args.help_keys {
        print_keys();
        return Ok(());
    }
    let settings = settings(&args).map_err(refused)?;
    for key in settings.inert() {
        eprintln!("millstream: `{key}` is accepted and has no effect in this version");
    }
    let config = Config::new(settings, &Machine::this()).map_err(refused)?;
    node::serve(config).map_err(|refusal| {
        let failure = Failure::new(refusal.problem).code(refusal.code);
        match refusal.remedy {
            Some(remedy) => failure.next(remedy),
            None => failure,
        }
    })
}

fn refused(error: ConfigError) -> Failure {
    Failure::new(error.to_string())
        .next("nothing was started; `millstream serve --help-keys` lists all keys")
        .code(2)
}

/// The file first, then `--set`, then the options of their own.
pub(super) fn settings(args: &ServeArgs) -> Result<Settings, ConfigError> {
    let mut settings = settings_of(args.config.as_deref(), &args.set, args.data.as_deref())?;
    let mut option = |name: &str, value: Option<String>| match value {
        Some(value) => settings.set(name, &value, Source::CommandLine),
        None => Ok(()),
    };
    option("shards", args.shards.map(|count| count.to_string()))?;
    option("listeners", address("--listen", args.listen.as_deref())?)?;
    option(
        "advertised.listeners",
        address("--advertise", args.advertise.as_deref())?,
    )?;
    Ok(settings)
}

/// The file first, then the pairs, then the data directory.
pub(super) fn settings_of(
    file: Option<&Path>,
    pairs: &[String],
    data: Option<&Path>,
) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    if let Some(file) = file {
        settings.read_file(file)?;
    }
    for pair in pairs {
        settings.set_pair(pair)?;
    }
    if let Some(data) = data {
        let data = data.display().to_string();
        settings.set("log.dirs", &data, Source::CommandLine)?;
    }
    Ok(settings)
}

fn address(option: &str, text: Option<&str>) -> Result<Option<String>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let address = listener::parse_host_port(text)
        .map_err(|range| ConfigError(format!("`{option} {text}`: it takes {range}")))?;
    Ok(Some(format!("PLAINTEXT://{address}")))
}

fn print_keys() {
    for key in keys::all().filter(|key| key.standing == Standing::Acts) {
        let default = match key.default {
            Some(text) if !text.is_empty() => format!("default {text}"),
            _ => String::from("no default"),
        };
        let of_topics = match key.topic_key {
            Some(topic_key) => format!("For topics that say no {topic_key}: "),
            None => String::new(),
        };
        println!(
            "{}\n    {of_topics}{}\n    {}; {default}",
            key.name,
            key.doc,
            key.kind.range()
        );
    }
    let inert: Vec<&str> = keys::all()
        .filter(|key| key.standing == Standing::Inert)
        .map(|key| key.name)
        .collect();
    println!(
        "\nAccepted, without effect in this version: {}",
        inert.join(", ")
    );
}
