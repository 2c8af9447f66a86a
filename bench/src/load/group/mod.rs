//! Consumer groups: members that share partitions among themselves, come and go.
//!
//! Always: all members of a group run on one thread, so that what the group received is one sequence, and duplicates and order
//! are exact.

mod assign;
mod churn;
mod member;
mod ownership;
#[cfg(test)]
mod tests;

pub use churn::{Change, Churn};
pub use member::{APIS, Effect, Member, Terms};
pub use ownership::Ownership;

use super::reader::Place;
use std::net::SocketAddr;

/// A group.
#[derive(Clone, Debug)]
pub struct GroupPlan {
    pub terms: Terms,
    /// The reader that its members are together.
    pub reader: usize,
    pub members: usize,
    /// The coordinator when the load began, and its place among those that are looked up.
    pub coordinator: SocketAddr,
    pub key: usize,
    /// Every partition and where it begins.
    pub places: Vec<Place>,
    /// Changes of membership per second.
    pub churn: f64,
    /// Whether the time from due to receipt is of interest.
    pub timed: bool,
}
