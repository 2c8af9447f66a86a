//! The small files: identities, and the settled producers of one log.
//!
//! Always: identities are text that a human can read, closed by a CRC that a human's slip does not match.

use super::codec::{Fields, Malformed, Put};
use crate::ids::{DirectoryId, LogNumber, NodeId, Offset};

/// The version of `node.meta`, and with it of the whole data directory.
pub const NODE_META_VERSION: u32 = 1;
/// The version of `dir.meta`.
pub const DIR_META_VERSION: u32 = 1;

const CLUSTER_ID_BYTES_MAX: usize = 64;
/// A node has no more data directories than this.
const DIRECTORIES_MAX: usize = 64;

/// `node.meta`: who this node is and how its shards are laid out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeMeta {
    /// The cluster: letters, digits, `-` and `_`.
    pub cluster_id: String,
    /// The node.
    pub node: NodeId,
    /// Raised whenever the shard count changes; checkpoints carry it.
    pub layout: u32,
    /// How many shards there are.
    pub shards: u16,
    /// The data directories, in the order of the configuration.
    pub directories: Vec<DirectoryId>,
}

/// `dir.meta`: which directory this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirMeta {
    /// Random, made once.
    pub directory: DirectoryId,
    /// Raised and synced at every start.
    pub start_number: u64,
}

impl NodeMeta {
    /// The content of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!(
            "millstream-node {NODE_META_VERSION}\ncluster.id={}\nnode.id={}\nlayout={}\nshards={}\n",
            self.cluster_id, self.node, self.layout, self.shards
        );
        for directory in &self.directories {
            text.push_str(&format!("directory={:032x}\n", directory.0));
        }
        sealed(text)
    }

    /// Decodes the content of the file.
    pub fn decode(bytes: &[u8]) -> Result<NodeMeta, Malformed> {
        let mut lines = Lines::open(bytes, "millstream-node", NODE_META_VERSION)?;
        let meta = NodeMeta {
            cluster_id: lines.field("cluster.id=")?.to_owned(),
            node: NodeId(lines.number("node.id=")?),
            layout: lines.number("layout=")?,
            shards: lines.number("shards=")?,
            directories: lines.directories()?,
        };
        let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let lawful = (1..=CLUSTER_ID_BYTES_MAX).contains(&meta.cluster_id.len())
            && meta.cluster_id.bytes().all(named);
        match lawful && meta.shards > 0 {
            true => Ok(meta),
            false => Err(lines.fail("the cluster id or the shard count is not lawful")),
        }
    }
}

impl DirMeta {
    /// The content of the file.
    pub fn encode(&self) -> Vec<u8> {
        sealed(format!(
            "millstream-directory {DIR_META_VERSION}\ndirectory={:032x}\nstart.number={}\n",
            self.directory.0, self.start_number
        ))
    }

    /// Decodes the content of the file.
    pub fn decode(bytes: &[u8]) -> Result<DirMeta, Malformed> {
        let mut lines = Lines::open(bytes, "millstream-directory", DIR_META_VERSION)?;
        let directories = lines.directories()?;
        let [directory] = directories[..] else {
            return Err(lines.fail("not exactly one directory id"));
        };
        let start_number = lines.number("start.number=")?;
        match lines.next_line() {
            None => Ok(DirMeta {
                directory,
                start_number,
            }),
            Some(_) => Err(lines.fail("a line that does not belong here")),
        }
    }
}

const CRC_KEY: &str = "crc32c=";

fn sealed(mut text: String) -> Vec<u8> {
    let crc = crc32c::crc32c(text.as_bytes());
    text.push_str(&format!("{CRC_KEY}{crc:08x}\n"));
    text.into_bytes()
}

/// The lines of a sealed text.
struct Lines<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lines<'a> {
    /// Verifies the seal and the first line.
    fn open(bytes: &'a [u8], kind: &str, version: u32) -> Result<Lines<'a>, Malformed> {
        let fail = |position, reason| Err(Malformed::new(position, reason));
        let Ok(text) = std::str::from_utf8(bytes) else {
            return fail(0, "not text");
        };
        let first = text.lines().next().unwrap_or_default();
        let found = first.strip_prefix(kind).map(str::trim_start);
        match found.map(str::parse::<u32>) {
            None => return fail(0, "not a file of this kind"),
            Some(Ok(found)) if found == version => {}
            Some(Ok(found)) => return Err(Malformed::of_version(kind.len(), found, version)),
            Some(Err(_)) => return fail(kind.len(), "no format version"),
        }
        let seal = text.rfind(CRC_KEY).unwrap_or(text.len());
        let crc = crc32c::crc32c(&bytes[..seal]);
        if text[seal..] != format!("{CRC_KEY}{crc:08x}\n") {
            return fail(seal, "the CRC is missing or does not match");
        }
        let position = first.len() + 1;
        let text = &text[..seal];
        match position <= seal {
            true => Ok(Lines { text, position }),
            false => fail(0, "not a file of this kind"),
        }
    }

    fn fail(&self, reason: &'static str) -> Malformed {
        Malformed::new(self.position, reason)
    }

    fn next_line(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.position..];
        let line = rest.split_once('\n')?.0;
        self.position += line.len() + 1;
        Some(line)
    }

    fn field(&mut self, key: &str) -> Result<&'a str, Malformed> {
        let from = self.position;
        let value = self.next_line().and_then(|line| line.strip_prefix(key));
        value.ok_or(Malformed::new(from, "a line is missing"))
    }

    fn number<T: std::str::FromStr>(&mut self, key: &str) -> Result<T, Malformed> {
        let position = self.position;
        self.field(key)?
            .parse()
            .map_err(|_| Malformed::new(position, "not a number, or one out of range"))
    }

    /// The lines that name directories, as many as follow here.
    fn directories(&mut self) -> Result<Vec<DirectoryId>, Malformed> {
        let mut directories = Vec::new();
        while self.text[self.position..].starts_with("directory=") {
            let hex = self.field("directory=")?;
            let id = u128::from_str_radix(hex, 16);
            let id = id.map_err(|_| self.fail("a directory id is not hexadecimal"))?;
            directories.push(DirectoryId(id));
            if directories.len() > DIRECTORIES_MAX {
                return Err(self.fail("too many directories"));
            }
        }
        Ok(directories)
    }
}

const PRODUCERS_MAGIC: [u8; 8] = *b"MSprodcr";
const PRODUCERS_VERSION: u32 = 1;
const PRODUCERS_CRC_AT: usize = 12;
const PRODUCERS_HEADER_BYTES: usize = 40;

/// A `.producers` file: settled producers that are too large for the checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducersFile<'a> {
    /// The log it was taken of; another one means that it is not to be used.
    pub log: LogNumber,
    /// Batches below it are in the state.
    pub offset: Offset,
    /// The engine's encoding.
    pub state: &'a [u8],
}

impl<'a> ProducersFile<'a> {
    /// The content of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PRODUCERS_HEADER_BYTES + self.state.len());
        out.put(&PRODUCERS_MAGIC);
        out.put(&PRODUCERS_VERSION.to_le_bytes());
        out.put(&[0; 4]);
        out.put(&self.log.0.to_le_bytes());
        out.put(&self.offset.0.to_le_bytes());
        out.put(&(self.state.len() as u64).to_le_bytes());
        out.put(self.state);
        let crc = producers_crc(&out);
        out[PRODUCERS_CRC_AT..PRODUCERS_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes the content of the file.
    pub fn decode(bytes: &'a [u8]) -> Result<ProducersFile<'a>, Malformed> {
        let mut fields = Fields::new(bytes);
        if fields.take(8)? != PRODUCERS_MAGIC || fields.u32()? != PRODUCERS_VERSION {
            return Err(fields.fail("no producers of this format version"));
        }
        let crc = fields.u32()?;
        let log = LogNumber(fields.u64()?);
        let offset = fields.offset()?;
        let length = usize::try_from(fields.u64()?).unwrap_or(usize::MAX);
        let state = fields.take(length)?;
        match crc == producers_crc(&bytes[..PRODUCERS_HEADER_BYTES + length]) {
            true => Ok(ProducersFile { log, offset, state }),
            false => Err(fields.fail("the CRC of the producers does not match")),
        }
    }
}

fn producers_crc(bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&bytes[..PRODUCERS_CRC_AT]);
    crc32c::crc32c_append(crc, &bytes[PRODUCERS_CRC_AT + 4..])
}
