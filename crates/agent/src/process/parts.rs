//! Arguments and environments that came in parts, until the exec that they belong to arrives.
//!
//! Parts come before their exec and in order, so one that does not continue what is there follows a lost
//! one: what is there up to then is kept, the rest cannot be placed. Memory is bounded, and parts whose
//! exec never came (the record was lost) are dropped after a while; both are counted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use compiler::base::record::{Identity, Part, PartOf};

/// Most bytes of all together, unless one alone may have more.
const MAX_TOTAL: usize = 8 << 20;
/// How long parts wait for their exec.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Whole {
    bytes: Vec<u8>,
    since: Instant,
}

/// What happened to parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Parts that could not be placed: one before them was lost, or they exceed the bound.
    pub misplaced: u64,
    /// Wholes dropped for lack of room.
    pub crowded_out: u64,
    /// Wholes dropped because their exec did not come.
    pub expired: u64,
}

/// Parts that wait for their exec.
#[derive(Debug)]
pub struct Parts {
    max_each: usize,
    waiting: HashMap<(Identity, PartOf), Whole>,
    bytes: usize,
    counters: Counters,
}

impl Parts {
    /// Room for parts of texts of up to so many bytes each.
    pub fn new(max_each: usize) -> Self {
        Self { max_each, waiting: HashMap::new(), bytes: 0, counters: Counters::default() }
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What happened to parts.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Keeps a part.
    pub fn add(&mut self, part: &Part<'_>, now: Instant) {
        let key = (part.process, part.what);
        let size = part.data.len();
        let have = self.waiting.get(&key).map_or(0, |whole| whole.bytes.len());
        if have != part.offset as usize || have + size > self.max_each {
            self.counters.misplaced += 1;
            return;
        }
        while self.bytes + size > MAX_TOTAL.max(self.max_each) {
            let Some(oldest) = self.oldest_but(key) else { break };
            self.remove(oldest);
            self.counters.crowded_out += 1;
        }
        let whole =
            self.waiting.entry(key).or_insert_with(|| Whole { bytes: Vec::new(), since: now });
        whole.bytes.extend_from_slice(part.data);
        self.bytes += size;
    }

    /// Takes what came for an exec that says how many bytes it sent in parts: the bytes up to the first
    /// lost part, and whether that is all.
    pub fn take(&mut self, process: Identity, what: PartOf, sent: u32) -> (Vec<u8>, bool) {
        let mut bytes = self.remove((process, what)).unwrap_or_default();
        let complete = bytes.len() == sent as usize;
        bytes.truncate(sent as usize);
        (bytes, complete)
    }

    /// Drops what waited too long.
    pub fn tick(&mut self, now: Instant) {
        let late: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, whole)| now.duration_since(whole.since) >= PATIENCE)
            .map(|(&key, _)| key)
            .collect();
        for key in late {
            self.remove(key);
            self.counters.expired += 1;
        }
    }

    fn oldest_but(&self, kept: (Identity, PartOf)) -> Option<(Identity, PartOf)> {
        let others = self.waiting.iter().filter(|&(&key, _)| key != kept);
        others.min_by_key(|(_, whole)| whole.since).map(|(&key, _)| key)
    }

    fn remove(&mut self, key: (Identity, PartOf)) -> Option<Vec<u8>> {
        let whole = self.waiting.remove(&key)?;
        self.bytes -= whole.bytes.len();
        Some(whole.bytes)
    }
}

#[cfg(test)]
mod tests {
    use compiler::base::record::Header;

    use super::*;

    fn part(pid: u32, what: PartOf, offset: u32, data: &[u8]) -> Part<'_> {
        let process = Identity { ktime: 5, pid };
        Part { header: Header { cpu: 0, seq: 1, time: 1 }, process, what, offset, data }
    }

    fn take(parts: &mut Parts, pid: u32, what: PartOf, sent: u32) -> (Vec<u8>, bool) {
        parts.take(Identity { ktime: 5, pid }, what, sent)
    }

    #[test]
    fn joined_by_process_and_kind() {
        let (mut parts, now) = (Parts::new(1 << 20), Instant::now());
        parts.add(&part(1, PartOf::Args, 0, b"ab"), now);
        parts.add(&part(2, PartOf::Args, 0, b"xy"), now);
        parts.add(&part(1, PartOf::Env, 0, b"env"), now);
        parts.add(&part(1, PartOf::Args, 2, b"cd"), now);
        assert_eq!(take(&mut parts, 1, PartOf::Args, 4), (b"abcd".to_vec(), true));
        assert_eq!(take(&mut parts, 1, PartOf::Env, 3), (b"env".to_vec(), true));
        assert_eq!(take(&mut parts, 1, PartOf::Args, 4), (Vec::new(), false), "taken");
        assert_eq!(take(&mut parts, 2, PartOf::Args, 2), (b"xy".to_vec(), true));
        assert_eq!(parts.bytes(), 0);
    }

    #[test]
    fn lost_parts() {
        let (mut parts, now) = (Parts::new(1 << 20), Instant::now());
        parts.add(&part(1, PartOf::Args, 0, b"ab"), now);
        parts.add(&part(1, PartOf::Args, 4, b"ef"), now);
        parts.add(&part(2, PartOf::Args, 2, b"cd"), now);
        parts.add(&part(3, PartOf::Args, 0, b"ab"), now);
        assert_eq!(take(&mut parts, 1, PartOf::Args, 6), (b"ab".to_vec(), false));
        assert_eq!(take(&mut parts, 2, PartOf::Args, 4), (Vec::new(), false));
        assert_eq!(take(&mut parts, 3, PartOf::Args, 4), (b"ab".to_vec(), false));
        assert_eq!(parts.counters().misplaced, 2);
        assert_eq!(parts.bytes(), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut parts, mut now) = (Parts::new(1 << 20), Instant::now());
        let data = vec![b'x'; 1 << 18];
        for pid in 0..100 {
            now += Duration::from_millis(1);
            for at in 0..6 {
                parts.add(&part(pid, PartOf::Args, at << 18, &data), now);
                assert!(parts.bytes() <= MAX_TOTAL);
            }
        }
        let counters = parts.counters();
        assert_eq!(counters.misplaced, 200, "each was cut at its bound");
        assert_eq!(counters.crowded_out, 92);
        let (last, complete) = take(&mut parts, 99, PartOf::Args, 6 << 18);
        assert_eq!((last.len(), complete), (1 << 20, false));
        assert!(take(&mut parts, 0, PartOf::Args, 1).0.is_empty());
    }

    #[test]
    fn parts_without_an_exec_expire() {
        let (mut parts, now) = (Parts::new(1 << 20), Instant::now());
        parts.add(&part(1, PartOf::Args, 0, b"ab"), now);
        parts.tick(now + PATIENCE / 2);
        assert_eq!(parts.bytes(), 2);
        parts.tick(now + PATIENCE);
        assert_eq!((parts.bytes(), parts.counters().expired), (0, 1));
    }
}
