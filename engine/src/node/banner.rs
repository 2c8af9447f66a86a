//! What a node says when it is ready.

use super::checks::disk::is_in_memory;
use super::config::Config;
use super::config::listener::Advertised;
use std::fmt::Write;
use std::net::SocketAddr;

/// The facts a banner tells beside the configuration.
pub struct Ready<'a> {
    /// What it is configured to.
    pub config: &'a Config,
    /// The addresses listened on.
    pub addresses: &'a [SocketAddr],
    /// The cluster.
    pub cluster_id: &'a str,
    /// How long the start took.
    pub start_ms: u128,
}

/// The banner.
pub fn banner(ready: &Ready<'_>) -> String {
    let config = ready.config;
    let mut text = format!(
        "Millstream {} is ready after {} ms.\n\n",
        env!("CARGO_PKG_VERSION"),
        ready.start_ms
    );
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    line("listening", joined(ready.addresses.iter()));
    for listener in &config.listeners {
        let because = match listener.advertised_from {
            Advertised::HostName => " (the host name; --advertise HOST:PORT says otherwise)",
            Advertised::Given | Advertised::OwnHost => "",
        };
        let name = match config.listeners.len() {
            1 => String::new(),
            _ => format!("{} ", listener.name),
        };
        line(
            "clients use",
            format!("{name}{}{because}", listener.advertised),
        );
    }
    line(
        "data",
        format!(
            "{} (node {}, cluster {})",
            config.data_dir.display(),
            config.node_id,
            ready.cluster_id
        ),
    );
    line(
        "shards",
        format!(
            "{} on processors {}, {} MiB of log memory each",
            config.shard_cpus.len(),
            joined(config.shard_cpus.iter()),
            config.shard_memory_bytes >> 20
        ),
    );
    line("durability", durability(config).to_owned());
    let address = config
        .listeners
        .first()
        .map(|listener| listener.advertised.to_string());
    let address = address.unwrap_or_default();
    let broker = match address.as_str() {
        "localhost:9092" => String::new(),
        address => format!(" --broker {address}"),
    };
    let _ = write!(
        text,
        "\n  next: echo hello | millstream produce words{broker}\n        millstream consume words{broker}\n"
    );
    text
}

fn durability(config: &Config) -> &'static str {
    match config.direct_io {
        _ if is_in_memory(&config.data_dir) => {
            "none beyond this process: the data directory is in memory, a restart of the machine loses all"
        }
        true => "an acknowledged record is on disk (direct IO, synced before the answer)",
        false => {
            "an acknowledged record is synced through the page cache (storage.direct-io=false)"
        }
    }
}

fn joined<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
