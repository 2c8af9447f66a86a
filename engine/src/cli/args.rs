//! What can be typed, with the help that teaches it.

use clap::{Args, Parser, Subcommand, ValueEnum};
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
        Something wrong? millstream doctor\n\
        How fast? millstream-bench run --help (the load generator, a program of its own)"
)]
pub struct Millstream {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a broker.
    Serve(ServeArgs),
    /// Create, list, describe, configure, grow, cut and delete topics.
    Topic(TopicArgs),
    /// List, describe, move and delete consumer groups.
    Group(GroupArgs),
    /// Send lines of standard input or of a file as records.
    Produce(ProduceArgs),
    /// Print the records of a topic.
    Consume(ConsumeArgs),
    /// Look at the files of a data directory while no broker runs on it.
    Log(LogArgs),
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
pub struct LogArgs {
    #[command(subcommand)]
    pub command: LogCommand,
}

#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// Print what the files hold: checkpoints, windows with their entries, segments with their batches.
    Dump(LogDumpArgs),
    /// Check every file and name what is damaged; exits with 1 if something is.
    Verify(LogVerifyArgs),
}

#[derive(Args, Debug)]
pub struct LogDumpArgs {
    /// The data directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

#[derive(Args, Debug)]
pub struct LogVerifyArgs {
    /// The data directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Give it what `serve` is given: it looks at that data directory, as that configuration would use it. A broker may be \
    running there."
)]
pub struct DoctorArgs {
    /// The TOML file of the broker.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory whose disk and logs are looked at; it need not exist [default: ./millstream-data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Set a key, as for `serve`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How a command that is a client reaches a cluster.
#[derive(Args, Debug)]
pub struct ClientArgs {
    /// Brokers to begin with, between commas; any Kafka broker will do.
    #[arg(
        long,
        short,
        value_name = "HOST:PORT",
        default_value = "localhost:9092",
        env = "MILLSTREAM_BROKER",
        global = true
    )]
    pub broker: String,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct TopicArgs {
    #[command(subcommand)]
    pub command: TopicCommand,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Subcommand, Debug)]
pub enum TopicCommand {
    /// Create a topic.
    #[command(
        after_help = "Example:\n  millstream topic create orders --partitions 12 --config retention.ms=86400000"
    )]
    Create {
        /// Its name: letters, digits, `.`, `_` and `-`.
        name: String,
        /// How many partitions [default: the broker's num.partitions].
        #[arg(long, short, value_name = "N")]
        partitions: Option<i32>,
        /// How many replicas of each [default: the broker's default.replication.factor].
        #[arg(long, value_name = "N")]
        replicas: Option<i16>,
        /// A topic key; may be given many times.
        #[arg(long = "config", value_name = "KEY=VALUE")]
        configs: Vec<String>,
    },
    /// List topics.
    List,
    /// Tell everything about a topic: partitions, leaders, replicas, offsets, and what it configures itself.
    Describe {
        /// Its name.
        name: String,
    },
    /// Show or change the configuration of a topic; changes act at once.
    #[command(after_help = "Examples:\n  \
        millstream topic config orders\n  \
        millstream topic config orders --set retention.ms=86400000 --set max.message.bytes=2000000\n  \
        millstream topic config orders --unset retention.ms\n  \
        millstream topic config --help-keys")]
    Config {
        /// Its name.
        #[arg(required_unless_present = "help_keys")]
        name: Option<String>,
        /// Set a key; may be given many times.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Give up the topic's own value of a key; may be given many times.
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
        /// Show the keys that nobody set, too.
        #[arg(long)]
        all: bool,
        /// List all topic keys with type, default and meaning, and stop.
        #[arg(long)]
        help_keys: bool,
    },
    /// Add partitions to a topic; it cannot shrink again, and keys go to other partitions from then on.
    #[command(after_help = "Example:\n  millstream topic add-partitions orders 24")]
    AddPartitions {
        /// Its name.
        name: String,
        /// How many partitions it shall have then.
        #[arg(value_name = "COUNT")]
        count: i32,
    },
    /// Delete the oldest records of a topic.
    #[command(after_help = "Examples:\n  \
        millstream topic delete-records orders --before end\n  \
        millstream topic delete-records orders --before 5000 --partition 3")]
    DeleteRecords {
        /// Its name.
        name: String,
        /// Records below this offset go; `end` is all of them.
        #[arg(long, value_name = "OFFSET|end")]
        before: String,
        /// Only in this partition; may be given many times.
        #[arg(long, value_name = "N")]
        partition: Vec<i32>,
    },
    /// Delete a topic and all its records.
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Args, Debug)]
pub struct GroupArgs {
    #[command(subcommand)]
    pub command: GroupCommand,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Subcommand, Debug)]
pub enum GroupCommand {
    /// List groups.
    List,
    /// Show a group: state, members, and how far it is in each partition.
    Describe {
        /// Its name.
        name: String,
    },
    /// Move a group that has no members to other offsets.
    #[command(after_help = "Examples:\n  \
            millstream group reset-offsets billing --topic orders --to-earliest\n  \
            millstream group reset-offsets billing --topic orders --partition 3 --shift-by -100 --execute\n  \
            millstream group reset-offsets billing --to-datetime 2026-01-31T12:00:00Z --execute\n\n\
            Without --execute it only shows what would be done.")]
    ResetOffsets(ResetArgs),
    /// Forget a group that has no members, and its offsets.
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("to").required(true).multiple(false))]
pub struct ResetArgs {
    /// The group.
    pub name: String,
    /// Only this topic; may be given many times [default: all topics it has offsets in].
    #[arg(long, value_name = "TOPIC")]
    pub topic: Vec<String>,
    /// Only this partition; may be given many times.
    #[arg(long, value_name = "N")]
    pub partition: Vec<i32>,
    /// To the first record there is.
    #[arg(long, group = "to")]
    pub to_earliest: bool,
    /// Behind the last record there is.
    #[arg(long, group = "to")]
    pub to_latest: bool,
    /// To this offset.
    #[arg(long, group = "to", value_name = "OFFSET")]
    pub to_offset: Option<i64>,
    /// To the first record at or behind a time such as 2026-01-31T12:00:00Z.
    #[arg(long, group = "to", value_name = "TIMESTAMP")]
    pub to_datetime: Option<String>,
    /// To the first record younger than so much, such as 90s, 15m, 12h or 7d.
    #[arg(long, group = "to", value_name = "DURATION")]
    pub by_duration: Option<String>,
    /// So many records forward, or back where it is negative.
    #[arg(long, group = "to", value_name = "COUNT", allow_hyphen_values = true)]
    pub shift_by: Option<i64>,
    /// Show what would be done (this is the default).
    #[arg(long, conflicts_with = "execute")]
    pub dry_run: bool,
    /// Do it.
    #[arg(long)]
    pub execute: bool,
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AcksArg {
    /// When it is sent.
    #[value(name = "0")]
    None,
    /// When the leader has it on disk.
    #[value(name = "1")]
    Leader,
    /// When all in-sync replicas have it on disk.
    All,
}

/// The codec of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CodecArg {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    echo hello | millstream produce words\n  \
    millstream produce users --key-separator : --file users.txt\n  \
    seq 1000000 | millstream produce numbers --compression zstd")]
pub struct ProduceArgs {
    /// The topic; the broker may create it.
    pub topic: String,
    /// What stands between key and value; a line without it has no key.
    #[arg(long, value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// Read lines from here instead of standard input.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The partition [default: by the key, or in turn].
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// When a record counts as written.
    #[arg(long, value_enum, default_value = "all")]
    pub acks: AcksArg,
    /// The codec of batches.
    #[arg(long, value_enum, default_value = "none")]
    pub compression: CodecArg,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Who assigns the partitions of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// One of its members.
    Classic,
    /// The broker.
    Consumer,
}

/// How members assign the partitions of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AssignorArg {
    /// Neighbouring partitions; everybody stops while they are assigned.
    Range,
    /// Even numbers, few moves; who keeps a partition goes on reading it.
    CooperativeSticky,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    millstream consume words\n  \
    millstream consume words --from end --count 1\n  \
    millstream consume words --from 2026-01-31T12:00:00Z --partition 0 --until-end --json\n  \
    millstream consume users --format '%p %o %T %k=%s\\n'\n  \
    millstream consume orders --group billing\n      \
        share the topic with all other members of the group, and go on next time where it stopped\n\n\
    In a format: %t topic, %p partition, %o offset, %T timestamp in ms, %k key, %s value, %% percent, \\n \\t \\\\.")]
pub struct ConsumeArgs {
    /// The topic; it may come into being later.
    pub topic: String,
    /// `beginning`, `end`, an OFFSET, or a TIMESTAMP such as 2026-01-31T12:00:00Z; in a group, only where it has committed nothing.
    #[arg(long, value_name = "WHERE", default_value = "beginning")]
    pub from: String,
    /// Only this partition; may be given many times.
    #[arg(long, value_name = "N", conflicts_with = "group")]
    pub partition: Vec<i32>,
    /// Be a member of this consumer group: it shares the partitions among its members and remembers what was printed.
    #[arg(long, short, value_name = "NAME")]
    pub group: Option<String>,
    /// Who assigns the partitions of the group: its members, or the broker (KIP-848).
    #[arg(long, value_enum, default_value = "classic", requires = "group")]
    pub protocol: ProtocolArg,
    /// How members assign; all of a group must speak the same.
    #[arg(long, value_enum, default_value = "range", requires = "group")]
    pub assignor: AssignorArg,
    /// A name of this member that stays: it gets the same partitions after a restart.
    #[arg(long, value_name = "NAME", requires = "group")]
    pub instance: Option<String>,
    /// Stop after so many records.
    #[arg(long, short = 'n', value_name = "N")]
    pub count: Option<u64>,
    /// Stop at the end instead of waiting for more.
    #[arg(long)]
    pub until_end: bool,
    /// How to print a record.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "%s\\n",
        conflicts_with = "json"
    )]
    pub format: String,
    #[command(flatten)]
    pub client: ClientArgs,
}
