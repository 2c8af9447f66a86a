//! Names of connections and listeners.
//!
//! Always: (1) a `ConnId` names one connection of one shard and is never used again; (2) its slot is free for another
//! connection only after the shell reported `Closed`, so state can be kept in a table indexed by slot.

/// A connection of one shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId {
    /// Its place in tables of connections, below the shard's bound of connections.
    pub slot: u32,
    /// Tells the connections that used the slot apart. BOUND: 32 bits; a slot that has used them up is retired.
    pub generation: u32,
}

/// The place of a listener in the node's configured list of listeners.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerIndex(pub u16);

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The peer closed it, or it broke.
    Peer,
    /// The core asked for it.
    Asked,
    /// A frame announced a length that is negative or above the limit.
    FrameLength,
    /// A frame that had begun did not go on in time.
    StalledFrame,
    /// The peer did not take what was sent in time.
    StalledReader,
    /// The node stops.
    Stopping,
}
