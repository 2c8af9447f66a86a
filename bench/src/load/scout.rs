//! Looks up who leads and who coordinates while a load runs, when a thread has learned that it is somebody else.
//!
//! Lives on a thread of its own with plain sockets, so that nothing that is measured waits for it. Always: (1) what was found
//! stays until something else is; a partition without a leader keeps the last one; (2) between two look-ups is a pause, as with
//! any client.

use crate::cluster::{Keyed, Routes, routes};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Between two look-ups.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is looked for, and what was found.
pub struct Scout {
    state: Mutex<State>,
    wake: Condvar,
    /// How often it was looked up.
    version: AtomicU64,
}

struct State {
    wanted: bool,
    over: bool,
    found: Arc<Routes>,
}

/// Where to look, and for what.
#[derive(Clone, Debug)]
pub struct Search {
    pub brokers: Vec<String>,
    pub topics: Vec<String>,
    pub partitions: u32,
    pub keys: Vec<Keyed>,
}

impl Scout {
    /// Starts it with what is known.
    pub fn start(search: Search, known: Routes) -> Arc<Scout> {
        let scout = Arc::new(Scout {
            state: Mutex::new(State {
                wanted: false,
                over: false,
                found: Arc::new(known),
            }),
            wake: Condvar::new(),
            version: AtomicU64::new(0),
        });
        let mine = Arc::clone(&scout);
        // It ends by itself, at the latest after the question that is under way.
        std::thread::spawn(move || mine.run(&search));
        scout
    }

    /// What is known is wrong, or may be.
    pub fn want(&self) {
        self.lock().wanted = true;
        self.wake.notify_one();
    }

    /// Changes whenever there was a look-up.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What was found last.
    pub fn found(&self) -> Arc<Routes> {
        Arc::clone(&self.lock().found)
    }

    /// Nobody will ask any more.
    pub fn end(&self) {
        self.lock().over = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    fn run(&self, search: &Search) {
        loop {
            let mut state = self.lock();
            while !state.wanted && !state.over {
                state = self.wake.wait(state).expect("no thread panics with it");
            }
            if state.over {
                return;
            }
            state.wanted = false;
            let known = Arc::clone(&state.found);
            drop(state);
            let asked = addresses(search, &known);
            let found = routes(
                &asked,
                PATIENCE,
                &search.topics,
                search.partitions,
                &search.keys,
            );
            let mut state = self.lock();
            match found {
                Ok(found) => {
                    let (merged, whole) = merge(&known, found);
                    state.found = Arc::new(merged);
                    state.wanted |= !whole;
                    self.version.fetch_add(1, Ordering::Release);
                }
                // Whoever wants to know goes on wanting.
                Err(_) => state.wanted = true,
            }
            drop(state);
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whom to ask: the brokers that were named, then all others that are known.
fn addresses(search: &Search, known: &Routes) -> Vec<String> {
    let mut all = search.brokers.clone();
    let leaders = known.leaders.iter().flatten().flatten();
    for address in leaders.chain(known.coordinators.iter().flatten()) {
        let address = address.to_string();
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

/// What was found, and what was known where nothing was; whether everything was found.
fn merge(known: &Routes, found: Routes) -> (Routes, bool) {
    let mut whole = true;
    let mut over = |new: Option<SocketAddr>, old: Option<&Option<SocketAddr>>| {
        whole &= new.is_some();
        new.or(old.copied().flatten())
    };
    let leaders = found.leaders.into_iter().enumerate().map(|(topic, new)| {
        let old = known.leaders.get(topic);
        let each = new.into_iter().enumerate();
        each.map(|(at, leader)| over(leader, old.and_then(|old| old.get(at))))
            .collect()
    });
    let leaders = leaders.collect();
    let coordinators = found.coordinators.into_iter().enumerate();
    let coordinators = coordinators.map(|(at, new)| over(new, known.coordinators.get(at)));
    let merged = Routes {
        leaders,
        coordinators: coordinators.collect(),
    };
    (merged, whole)
}
