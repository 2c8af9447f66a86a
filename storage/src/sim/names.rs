//! The simulated directory tree: what it is now, what is durable, and the changes between the two.
//!
//! Always: a change to a directory is durable from the first completed sync of that directory submitted after it; until
//! then a power cut takes it or leaves it, each change for itself; what stood in a directory that is gone is gone too.

use super::file::Moment;
use super::rng::SimRng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names a file's content, whatever its path.
pub type Inode = u64;

/// What a path stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// A file.
    File(Inode),
    /// A directory.
    Directory,
}

/// Paths that change together.
#[derive(Clone, Debug)]
struct Change {
    moment: Moment,
    sets: Vec<(PathBuf, Option<Node>)>,
}

/// The tree.
#[derive(Clone, Debug, Default)]
pub struct Names {
    current: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    changes: Vec<Change>,
}

impl Names {
    /// What a path stands for now.
    pub fn node(&self, path: &Path) -> Option<Node> {
        if path.as_os_str().is_empty() || path == Path::new(".") {
            return Some(Node::Directory);
        }
        self.current.get(path).copied()
    }

    /// The entries of a directory, by name.
    pub fn entries(&self, path: &Path) -> Vec<(PathBuf, Node)> {
        let inside = |entry: &Path| entry.parent() == Some(normal(path));
        self.current
            .iter()
            .filter(|(entry, _)| inside(entry))
            .map(|(entry, node)| {
                (
                    entry.file_name().map(PathBuf::from).unwrap_or_default(),
                    *node,
                )
            })
            .collect()
    }

    /// Everything below a directory, at any depth.
    pub fn below(&self, path: &Path) -> Vec<(PathBuf, Node)> {
        let inside = |entry: &Path| entry != path && entry.starts_with(path);
        self.current
            .iter()
            .filter(|(entry, _)| inside(entry))
            .map(|(entry, node)| (entry.clone(), *node))
            .collect()
    }

    /// Every file there is now.
    pub fn files(&self) -> Vec<(PathBuf, Inode)> {
        let file = |(path, node): (&PathBuf, &Node)| match node {
            Node::File(inode) => Some((path.clone(), *inode)),
            Node::Directory => None,
        };
        self.current.iter().filter_map(file).collect()
    }

    /// Every directory there is now.
    pub fn directories(&self) -> Vec<PathBuf> {
        let directories = self.current.iter();
        let directories = directories.filter(|(_, node)| **node == Node::Directory);
        directories.map(|(path, _)| path.clone()).collect()
    }

    /// True if some directory above a path is missing.
    pub fn is_orphan(&self, path: &Path) -> bool {
        self.node(path.parent().unwrap_or(Path::new(""))) != Some(Node::Directory)
    }

    /// Changes paths in one step.
    pub fn change(&mut self, moment: Moment, sets: Vec<(PathBuf, Option<Node>)>) {
        for (path, node) in &sets {
            set(&mut self.current, path, *node);
        }
        self.changes.push(Change { moment, sets });
    }

    /// The changes in one directory up to `moment` become durable.
    pub fn sync_directory(&mut self, moment: Moment, path: &Path) {
        let durable = &mut self.durable;
        self.changes.retain(|change| {
            let covered = change.moment <= moment
                && change
                    .sets
                    .iter()
                    .any(|(entry, _)| entry.parent() == Some(normal(path)));
            if covered {
                for (entry, node) in &change.sets {
                    set(durable, entry, *node);
                }
            }
            !covered
        });
    }

    /// All changes up to `moment` become durable.
    pub fn sync_all(&mut self, moment: Moment) {
        let durable = &mut self.durable;
        self.changes.retain(|change| {
            let covered = change.moment <= moment;
            if covered {
                for (entry, node) in &change.sets {
                    set(durable, entry, *node);
                }
            }
            !covered
        });
    }

    /// What a power cut leaves.
    pub fn cut(&mut self, rng: &mut SimRng) {
        for change in std::mem::take(&mut self.changes) {
            if rng.percent(50) {
                for (entry, node) in change.sets {
                    set(&mut self.durable, &entry, node);
                }
            }
        }
        let whole = std::mem::take(&mut self.durable);
        for (path, node) in whole {
            let parent = path.parent().unwrap_or(Path::new(""));
            if parent.as_os_str().is_empty() || self.durable.get(parent) == Some(&Node::Directory) {
                self.durable.insert(path, node);
            }
        }
        self.current = self.durable.clone();
    }
}

fn normal(path: &Path) -> &Path {
    if path == Path::new(".") {
        Path::new("")
    } else {
        path
    }
}

fn set(tree: &mut BTreeMap<PathBuf, Node>, path: &Path, node: Option<Node>) {
    match node {
        Some(node) => tree.insert(path.to_path_buf(), node),
        None => tree.remove(path),
    };
}
