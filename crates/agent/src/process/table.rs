//! The process table: every image that is running, and those that ended but may still be spoken of.
//!
//! An entry is kept while it is referred to: once by itself until the process ends or executes something
//! else, once by each child, and, when events carry ancestors, once by each descendant further down.
//! Without references it stays for two ticks of [`Table::collect`], since events about it may still be
//! under way; a new reference in between keeps it.
//!
//! The table is bounded by number of entries and by bytes of images, and of the entries a quarter may be
//! unreferenced. Where room is needed, unreferenced entries go first, oldest first: in a storm of
//! processes they stay for less than two ticks. If only running ones are left, the one least recently used
//! goes, and that is counted: the events of such a process will miss what was known of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use compiler::base::record::Identity;

use super::entry::{Entry, Image};
use super::identity::KERNEL;
use super::references::{Operation, References};

/// No slot, in the links of the usage list.
const NONE: u32 = u32::MAX;

/// How close an entry is to its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Referred to.
    InUse,
    /// Without references since the last tick.
    DeletePending,
    /// Without references for one tick.
    DeleteReady,
}

impl Color {
    /// Its name in a dump.
    pub fn name(self) -> &'static str {
        match self {
            Self::InUse => "inUse",
            Self::DeletePending => "deletePending",
            Self::DeleteReady => "deleteReady",
        }
    }
}

/// A reference that an entry holds on another one, told apart from a later entry of the same identity.
#[derive(Clone, Copy, Debug)]
struct Hold {
    process: Identity,
    birth: u32,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    references: References,
    color: Color,
    /// Number of this stay in the table.
    birth: u32,
    /// Number of its last stay in the queue of unreferenced entries.
    queued: u32,
    ended: bool,
    parent: Option<Hold>,
    ancestors: Box<[Hold]>,
    newer: u32,
    older: u32,
}

/// What became of entries since the table was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Entries put in.
    pub inserted: u64,
    /// Entries taken out, for whatever reason.
    pub removed: u64,
    /// Of these, ended ones that had to make room before their time.
    pub evicted_ended: u64,
    /// Of these, running ones that had to make room.
    pub evicted_live: u64,
}

/// How much the table may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries.
    pub entries: usize,
    /// Bytes of images.
    pub bytes: usize,
}

/// The process table.
#[derive(Debug)]
pub struct Table {
    limits: Limits,
    hold_ancestors: bool,
    index: HashMap<Identity, u32>,
    /// Running image of each pid.
    running: HashMap<u32, Identity>,
    /// Last image of pids whose process ended, as long as it is in the table.
    ended: HashMap<u32, Identity>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    /// Entries without references, oldest first, and stale items of those that have some again.
    unreferenced: VecDeque<(Identity, u32)>,
    /// Number of entries without references.
    idle: usize,
    births: u32,
    queued: u32,
    bytes: usize,
    counters: Counters,
}

impl Table {
    /// An empty table. `hold_ancestors` makes every entry keep all its ancestors, not just its parent.
    pub fn new(limits: Limits, hold_ancestors: bool) -> Self {
        Self {
            limits,
            hold_ancestors,
            index: HashMap::new(),
            running: HashMap::new(),
            ended: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            unreferenced: VecDeque::new(),
            idle: 0,
            births: 0,
            queued: 0,
            bytes: 0,
            counters: Counters::default(),
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Number of processes that run, as far as records told.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Bytes of images.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What became of entries.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Entry of an image.
    pub fn get(&self, process: Identity) -> Option<&Entry> {
        self.slot(process).map(|slot| &slot.entry)
    }

    /// References to an entry; 0 when there is no entry.
    pub fn references(&self, process: Identity) -> u32 {
        self.slot(process).map_or(0, |slot| slot.references.count())
    }

    /// Running image of a pid.
    pub fn current(&self, pid: u32) -> Option<Identity> {
        self.running.get(&pid).copied()
    }

    /// The images of a pid that the table has, the last one first: the one that runs, or the last one of a
    /// process that ended, and those that executed it.
    pub fn images(&self, pid: u32) -> impl Iterator<Item = Identity> + '_ {
        let last = self.running.get(&pid).or_else(|| self.ended.get(&pid)).copied();
        std::iter::successors(last, move |image| {
            Some(self.get(*image)?.parent).filter(|parent| parent.pid == pid)
        })
    }

    /// All running images.
    pub fn running_images(&self) -> impl Iterator<Item = Identity> + '_ {
        self.running.values().copied()
    }

    /// All entries with their references and color.
    pub fn iter(&self) -> impl Iterator<Item = (&Entry, &References, Color)> {
        self.slots.iter().flatten().map(|slot| (&slot.entry, &slot.references, slot.color))
    }

    /// Puts in the running image of a process. It refers to its parent, and the image that the pid had
    /// before ends; the result names that one.
    ///
    /// If the image is in the table already, it takes over what is known of it, and nothing else changes.
    pub fn insert(&mut self, entry: Entry) -> Option<Identity> {
        let process = entry.process;
        if self.index.contains_key(&process) {
            if entry.is_known() {
                self.learn(process, entry.image, entry.container);
            }
            return None;
        }
        self.touch(entry.parent);
        let size = if Arc::strong_count(&entry.image) == 1 { entry.image.size() } else { 0 };
        self.make_room(size);
        self.bytes += size;

        let ancestors = match self.hold_ancestors {
            true => self.ancestors(entry.parent).unwrap_or_else(|broken| broken.found),
            false => Vec::new(),
        };
        let parent = self.hold(entry.parent, Operation::ParentAdd);
        let ancestors = ancestors
            .into_iter()
            .filter_map(|ancestor| self.hold(ancestor, Operation::AncestorAdd))
            .collect();
        self.births = self.births.wrapping_add(1);
        let mut references = References::default();
        references.record(Operation::ProcessAdd);
        let at = self.place(Slot {
            entry,
            references,
            color: Color::InUse,
            birth: self.births,
            queued: 0,
            ended: false,
            parent,
            ancestors,
            newer: NONE,
            older: NONE,
        });
        self.index.insert(process, at);
        self.link(at);
        self.counters.inserted += 1;

        self.ended.remove(&process.pid);
        let before = self.running.insert(process.pid, process);
        if let Some(before) = before {
            self.end(before);
        }
        before
    }

    /// Fills in what is known of an image that nothing was known of.
    pub fn learn(&mut self, process: Identity, image: Arc<Image>, container: Option<Arc<str>>) {
        let Some(&at) = self.index.get(&process) else { return };
        let fresh = if Arc::strong_count(&image) == 1 { image.size() } else { 0 };
        let Some(slot) = self.slots[at as usize].as_mut() else { return };
        if slot.entry.is_known() {
            return;
        }
        slot.entry.image = image;
        slot.entry.container = container.or(slot.entry.container.take());
        self.bytes += fresh;
    }

    /// The image ended: by its process's exit or by its next exec. It gives up its own reference and
    /// those that it holds, once; the result says whether this was the time.
    pub fn end(&mut self, process: Identity) -> bool {
        let Some(slot) = self.slot_mut(process).filter(|slot| !slot.ended) else {
            return false;
        };
        slot.ended = true;
        slot.references.record(Operation::ProcessRemove);
        let birth = slot.birth;
        self.let_go(process);
        self.after_release(Hold { process, birth });
        if self.running.get(&process.pid) == Some(&process) {
            self.running.remove(&process.pid);
            self.ended.insert(process.pid, process);
        }
        true
    }

    /// Marks an entry as used just now.
    pub fn touch(&mut self, process: Identity) {
        if let Some(&at) = self.index.get(&process)
            && self.newest != at
        {
            self.unlink(at);
            self.link(at);
        }
    }

    /// One tick: removes entries that had no references at the last tick and have none now.
    pub fn collect(&mut self) {
        for _ in 0..self.unreferenced.len() {
            let Some((process, queued)) = self.unreferenced.pop_front() else { break };
            let Some(slot) = self.slot_mut(process).filter(|slot| slot.queued == queued) else {
                continue;
            };
            if slot.color == Color::DeletePending {
                slot.color = Color::DeleteReady;
                self.unreferenced.push_back((process, queued));
            } else if slot.color == Color::DeleteReady {
                self.remove(process);
            }
        }
        // What a storm of processes needed is given back.
        self.unreferenced.shrink_to(2 * self.unreferenced.len());
        self.index.shrink_to(2 * self.index.len());
        self.running.shrink_to(2 * self.running.len());
        self.ended.shrink_to(2 * self.ended.len());
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
        let places = self.slots.len();
        self.free.retain(|&at| (at as usize) < places);
        self.free.shrink_to(2 * self.free.len());
        self.slots.shrink_to(2 * places);
    }

    fn slot(&self, process: Identity) -> Option<&Slot> {
        self.slots[*self.index.get(&process)? as usize].as_ref()
    }

    fn slot_mut(&mut self, process: Identity) -> Option<&mut Slot> {
        self.slots[*self.index.get(&process)? as usize].as_mut()
    }

    fn hold(&mut self, process: Identity, operation: Operation) -> Option<Hold> {
        let slot = self.slot_mut(process)?;
        slot.references.record(operation);
        // It leaves the queue: its number there no longer fits.
        let was_idle = std::mem::replace(&mut slot.color, Color::InUse) != Color::InUse;
        slot.queued = 0;
        let hold = Hold { process, birth: slot.birth };
        self.idle -= usize::from(was_idle);
        Some(hold)
    }

    /// Gives up the references that an entry holds.
    fn let_go(&mut self, process: Identity) {
        let Some(slot) = self.slot_mut(process) else { return };
        let parent = slot.parent.take();
        let ancestors = std::mem::take(&mut slot.ancestors);
        if let Some(hold) = parent {
            self.release(hold, Operation::ParentRemove);
        }
        for &hold in &ancestors {
            self.release(hold, Operation::AncestorRemove);
        }
    }

    fn release(&mut self, hold: Hold, operation: Operation) {
        if let Some(slot) = self.slot_mut(hold.process).filter(|slot| slot.birth == hold.birth) {
            slot.references.record(operation);
            self.after_release(hold);
        }
    }

    fn after_release(&mut self, hold: Hold) {
        let queued = self.queued.wrapping_add(1).max(1);
        let Some(slot) = self.slot_mut(hold.process).filter(|slot| slot.birth == hold.birth) else {
            return;
        };
        if slot.references.count() == 0 && slot.color == Color::InUse {
            slot.color = Color::DeletePending;
            slot.queued = queued;
            self.queued = queued;
            self.idle += 1;
            self.unreferenced.push_back((hold.process, queued));
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.idle > self.limits.entries / 4 && self.evict_idle() {}
        while self.len() >= self.limits.entries || self.bytes + bytes > self.limits.bytes {
            if !self.evict_idle() && !self.evict_live() {
                break;
            }
        }
    }

    fn evict_idle(&mut self) -> bool {
        while let Some((process, queued)) = self.unreferenced.pop_front() {
            if self.slot(process).is_some_and(|slot| slot.queued == queued) {
                self.remove(process);
                self.counters.evicted_ended += 1;
                return true;
            }
        }
        false
    }

    fn evict_live(&mut self) -> bool {
        // The kernel's entry is the root of all and stays.
        if self.oldest_process().is_some_and(|oldest| oldest.pid == 0) {
            self.touch(KERNEL);
        }
        match self.oldest_process().filter(|oldest| oldest.pid != 0) {
            Some(oldest) => {
                self.remove(oldest);
                self.counters.evicted_live += 1;
                true
            }
            None => false,
        }
    }

    fn oldest_process(&self) -> Option<Identity> {
        let slot = self.slots.get(self.oldest as usize)?.as_ref()?;
        Some(slot.entry.process)
    }

    fn remove(&mut self, process: Identity) {
        self.let_go(process);
        if self.running.get(&process.pid) == Some(&process) {
            self.running.remove(&process.pid);
        }
        if self.ended.get(&process.pid) == Some(&process) {
            self.ended.remove(&process.pid);
        }
        let Some(at) = self.index.remove(&process) else { return };
        self.unlink(at);
        if let Some(slot) = self.slots[at as usize].take() {
            self.free.push(at);
            self.idle -= usize::from(slot.color != Color::InUse);
            self.counters.removed += 1;
            if Arc::strong_count(&slot.entry.image) == 1 {
                self.bytes = self.bytes.saturating_sub(slot.entry.image.size());
            }
        }
    }

    fn place(&mut self, slot: Slot) -> u32 {
        if let Some(at) = self.free.pop() {
            self.slots[at as usize] = Some(slot);
            return at;
        }
        self.slots.push(Some(slot));
        // The limit on entries is far below 2^32.
        (self.slots.len() - 1) as u32
    }

    fn link(&mut self, at: u32) {
        let before = self.newest;
        if let Some(slot) = self.slots[at as usize].as_mut() {
            slot.newer = NONE;
            slot.older = before;
        }
        match self.slots.get_mut(before as usize).and_then(Option::as_mut) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Some(slot) = self.slots[at as usize].as_ref() else { return };
        let (newer, older) = (slot.newer, slot.older);
        match self.slots.get_mut(newer as usize).and_then(Option::as_mut) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize).and_then(Option::as_mut) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }
}
