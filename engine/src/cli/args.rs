//! What can be typed, with the help that teaches it.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A Kafka-compatible log that has every acknowledged record on disk.
#[derive(Parser, Debug)]
#[command(
    name = "millstream",
    version,
    arg_required_else_help = true,
    after_help = "First steps, each in its own terminal:\n  \
        millstream serve                        start a broker on localhost:9092\n  \
        millstream consume words                wait for records\n  \
        echo hello | millstream produce words   send one\n\n\
        Any Kafka client works too: kcat -b localhost:9092 -L\n\
        Something wrong? millstream doctor"
)]
pub struct Millstream {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a broker.
    Serve(ServeArgs),
    /// Look at this machine: kernel, limits, file system, disk, clock.
    Doctor(DoctorArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    millstream serve\n      \
        on 127.0.0.1:9092 and [::1]:9092, advertised as localhost, data in ./millstream-data\n  \
    millstream serve --data /var/lib/millstream --listen 0.0.0.0:9092 --advertise broker1.example:9092\n  \
    millstream serve --config broker.toml --set num.partitions=4 --set log.retention.hours=24\n\n\
    Keys are Kafka's; `millstream serve --help-keys` lists them with defaults. In the TOML file the same names are used:\n  \
    num.partitions = 4\n  \
    listeners = [\"CLIENT://127.0.0.1:9092\", \"LAN://0.0.0.0:9093\"]\n\n\
    Stop it with Ctrl-C or SIGTERM: it answers what is in flight, makes its log clean and exits with 0.")]
pub struct ServeArgs {
    /// A TOML file with Kafka's key names.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory [default: ./millstream-data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where to listen [default: localhost:9092, both IPv4 and IPv6]; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// The address that clients are told [default: the listener's own if loopback, else the host name].
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// How many shards to run, each on a core of its own [default: all usable cores].
    #[arg(long, value_name = "N")]
    pub shards: Option<u32>,
    /// Set a key; may be given many times and wins over the file.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// List all keys with type, default and meaning, and stop.
    #[arg(long)]
    pub help_keys: bool,
}

#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The data directory whose disk is looked at; it need not exist.
    #[arg(long, value_name = "DIR", default_value = "./millstream-data")]
    pub data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
