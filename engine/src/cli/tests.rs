use super::args::{Command, Millstream};
use super::serve;
use clap::{CommandFactory, Parser};

fn serve_settings(words: &[&str]) -> Result<Vec<(String, String)>, String> {
    let words = ["millstream", "serve"].iter().chain(words);
    let Command::Serve(args) = Millstream::try_parse_from(words)
        .map_err(|error| error.to_string())?
        .command
    else {
        panic!("serve is parsed as another command");
    };
    let settings = serve::settings(&args).map_err(|error| error.to_string())?;
    let names = [
        "log.dirs",
        "listeners",
        "advertised.listeners",
        "shards",
        "num.partitions",
    ];
    Ok(names
        .iter()
        .filter(|name| settings.is_set(name))
        .map(|name| {
            (
                name.to_string(),
                settings.text(name).unwrap_or("").to_owned(),
            )
        })
        .collect())
}

#[test]
fn the_grammar_of_the_command_line_is_sound() {
    Millstream::command().debug_assert();
}

#[test]
fn options_of_their_own_are_keys_and_win_over_set() {
    let given = serve_settings(&[
        "--data",
        "d",
        "--listen",
        "127.0.0.1:1",
        "--shards",
        "1",
        "--set",
        "num.partitions=4",
        "--set",
        "shards=2",
    ])
    .unwrap();
    let given: Vec<(&str, &str)> = given
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("log.dirs", "d"),
        ("listeners", "PLAINTEXT://127.0.0.1:1"),
        ("shards", "1"),
        ("num.partitions", "4"),
    ];
    assert_eq!(given, expected);
}

#[test]
fn a_wrong_address_is_refused_with_the_form_it_takes() {
    let error = serve_settings(&["--listen", "9092"]).unwrap_err();
    assert!(error.contains("HOST:PORT"), "{error}");
}
