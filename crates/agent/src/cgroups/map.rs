//! Cgroup ids and the paths and containers that they stand for.
//!
//! Filled by a scan of the hierarchy, then kept up to date by the kernel's records. A removed cgroup stays
//! for a while, since what its last processes did may still be under way. The number of cgroups is
//! bounded; beyond the bound those longest in the map go first, and are found again when a process
//! in them executes something.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use compiler::base::record::{Cgroup, CgroupOp};

use super::container::{container_id, id_in_name};
use super::hierarchy::Hierarchy;

/// Most cgroups kept.
const CAPACITY: usize = 16_384;
/// How long a removed cgroup is kept.
const LINGER: Duration = Duration::from_secs(60);
/// Most ids remembered as not to be found.
const UNKNOWN_CAPACITY: usize = 4096;
/// How long an id counts as not to be found.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// Length of the longest paths that the kernel's tracepoints tell; it cuts longer ones to this
/// (`TRACE_CGROUP_PATH_LEN`, with the NUL).
const LONGEST_TOLD: usize = 1023;

#[derive(Debug)]
struct Known {
    path: Box<str>,
    container: Option<Arc<str>>,
    removed: Option<Instant>,
}

/// What happened to the map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Cgroups that had to make room for others.
    pub evicted: u64,
    /// Ids that neither the map nor `/proc` knew.
    pub unresolved: u64,
    /// Scans of the hierarchy.
    pub scans: u64,
}

/// Cgroup ids of one hierarchy.
#[derive(Debug)]
pub struct CgroupMap {
    hierarchy: Hierarchy,
    known: HashMap<u64, Known>,
    order: VecDeque<u64>,
    unknown: HashMap<u64, Instant>,
    removed: Vec<u64>,
    warned: bool,
    counters: Counters,
}

/// What is known of the cgroup of a process when its id is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Hint<'a> {
    /// Last element of the path, perhaps cut; empty when not known.
    pub name: &'a [u8],
    /// When it is looked up.
    pub now: Instant,
}

impl CgroupMap {
    /// An empty map of this hierarchy.
    pub fn new(hierarchy: Hierarchy) -> Self {
        Self {
            hierarchy,
            known: HashMap::new(),
            order: VecDeque::new(),
            unknown: HashMap::new(),
            removed: Vec::new(),
            warned: false,
            counters: Counters::default(),
        }
    }

    /// The hierarchy.
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Number of cgroups in the map.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What happened to the map.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Path of a cgroup from the hierarchy's root.
    pub fn path(&self, id: u64) -> Option<&str> {
        self.known.get(&id).map(|known| &*known.path)
    }

    /// Reads the whole hierarchy; what is known already stays.
    pub fn scan(&mut self) {
        self.counters.scans += 1;
        let mut found = Vec::new();
        let whole = self.hierarchy.scan(|id, path| found.push((id, path.to_owned())));
        if !whole && !self.warned {
            self.warned = true;
            tracing::warn!(
                hierarchy = self.hierarchy.controller.unwrap_or("unified"),
                mount = ?self.hierarchy.mount,
                found = found.len(),
                "cannot see every cgroup; containers of the others are found as their processes execute"
            );
        }
        for (id, path) in found {
            self.put(id, &path);
        }
    }

    /// Takes in a record; those of other hierarchies are none of its business.
    pub fn apply(&mut self, record: &Cgroup<'_>, now: Instant) {
        if record.hierarchy != self.hierarchy.id {
            return;
        }
        let path = String::from_utf8_lossy(record.path);
        match record.op {
            // Cut: where it ends is not known. It is looked up when a process shows up in it.
            CgroupOp::Mkdir | CgroupOp::Rename if record.path.len() >= LONGEST_TOLD => {
                self.known.remove(&record.id);
            }
            CgroupOp::Mkdir => self.put(record.id, &path),
            CgroupOp::Rename => self.rename(record.id, &path),
            CgroupOp::Rmdir => {
                if let Some(known) = self.known.get_mut(&record.id)
                    && known.removed.replace(now).is_none()
                {
                    self.removed.push(record.id);
                }
            }
            // The number may be given to another cgroup from here on.
            CgroupOp::Release => {
                self.known.remove(&record.id);
            }
        }
    }

    /// Container of a cgroup that may be unknown: then `cgroups` is asked for the process's
    /// `/proc/PID/cgroup`, and at last the name decides.
    pub fn resolve(
        &mut self,
        id: u64,
        hint: Hint<'_>,
        cgroups: impl FnOnce() -> Option<String>,
    ) -> Option<Arc<str>> {
        if let Some(known) = self.known.get(&id) {
            return known.container.clone();
        }
        let by_name = || {
            let name = String::from_utf8_lossy(hint.name);
            id_in_name(&name).map(Arc::from)
        };
        let seen = self.unknown.get(&id);
        if id == 0 || seen.is_some_and(|&seen| hint.now.duration_since(seen) < UNKNOWN_FOR) {
            return by_name();
        }
        let text = cgroups();
        let path = text.as_deref().and_then(|text| self.hierarchy.path_of(text));
        match path {
            // It may have moved since; then the path is another cgroup's.
            Some(path) if self.hierarchy.id_of(path) == Some(id) => {
                self.put(id, path);
                self.known.get(&id).and_then(|known| known.container.clone())
            }
            _ => {
                self.counters.unresolved += 1;
                if self.unknown.len() >= UNKNOWN_CAPACITY {
                    self.unknown.clear();
                }
                self.unknown.insert(id, hint.now);
                by_name()
            }
        }
    }

    /// Forgets cgroups that were removed long enough ago.
    pub fn tick(&mut self, now: Instant) {
        let (known, linger) = (&mut self.known, |at: Instant| now.duration_since(at) < LINGER);
        self.removed.retain(|id| match known.get(id).and_then(|known| known.removed) {
            Some(at) if linger(at) => true,
            Some(_) => {
                known.remove(id);
                false
            }
            // Released, or made anew under the same number.
            None => false,
        });
        self.unknown.retain(|_, &mut seen| now.duration_since(seen) < UNKNOWN_FOR);
        if self.order.len() > 2 * self.known.len().max(64) {
            self.order.retain(|id| self.known.contains_key(id));
        }
    }

    fn put(&mut self, id: u64, path: &str) {
        self.unknown.remove(&id);
        let known = Known {
            path: path.into(),
            container: container_id(path).map(Arc::from),
            removed: None,
        };
        if self.known.insert(id, known).is_none() {
            self.order.push_back(id);
        }
        while self.known.len() > CAPACITY {
            let Some(oldest) = self.order.pop_front() else { break };
            if self.known.remove(&oldest).is_some() {
                self.counters.evicted += 1;
                if self.counters.evicted == 1 {
                    tracing::warn!(
                        capacity = CAPACITY,
                        "more cgroups than are kept; the oldest are dropped and looked up again"
                    );
                }
            }
        }
    }

    /// Renames a cgroup and what is below it.
    fn rename(&mut self, id: u64, path: &str) {
        let before = self.known.get(&id).map(|known| format!("{}/", known.path));
        self.put(id, path);
        let Some(before) = before else { return };
        for known in self.known.values_mut() {
            if let Some(rest) = known.path.strip_prefix(&before) {
                known.path = format!("{path}/{rest}").into();
                known.container = container_id(&known.path).map(Arc::from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use compiler::base::record::Header;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn map() -> CgroupMap {
        CgroupMap::new(Hierarchy { id: 4, controller: Some("memory"), mount: None })
    }

    fn record(op: CgroupOp, id: u64, path: &str) -> Cgroup<'_> {
        let header = Header { cpu: 0, seq: 1, time: 1 };
        Cgroup { header, op, hierarchy: 4, id, path: path.as_bytes() }
    }

    fn container(map: &mut CgroupMap, id: u64, name: &str, now: Instant) -> Option<Arc<str>> {
        map.resolve(id, Hint { name: name.as_bytes(), now }, || None)
    }

    #[test]
    fn records_keep_it_up_to_date() {
        let (mut map, now) = (map(), Instant::now());
        let path = format!("/docker/{ID}");
        map.apply(&record(CgroupOp::Mkdir, 7, &path), now);
        map.apply(&record(CgroupOp::Mkdir, 8, &format!("{path}/init.scope")), now);
        assert_eq!(container(&mut map, 8, "init.scope", now).as_deref(), Some(ID));
        assert_eq!(map.path(7), Some(path.as_str()));

        map.apply(&record(CgroupOp::Rmdir, 8, ""), now);
        map.tick(now + Duration::from_secs(59));
        assert_eq!(container(&mut map, 8, "init.scope", now).as_deref(), Some(ID), "lingers");
        map.tick(now + Duration::from_secs(61));
        assert_eq!(map.path(8), None);
        map.apply(&record(CgroupOp::Release, 7, ""), now);
        assert!(map.is_empty());
    }

    #[test]
    fn number_used_anew_before_the_old_one_was_forgotten() {
        let (mut map, now) = (map(), Instant::now());
        map.apply(&record(CgroupOp::Mkdir, 7, "/a"), now);
        map.apply(&record(CgroupOp::Rmdir, 7, "/a"), now);
        map.apply(&record(CgroupOp::Mkdir, 7, "/b"), now);
        map.tick(now + Duration::from_secs(100));
        assert_eq!(map.path(7), Some("/b"));
    }

    #[test]
    fn other_hierarchies_have_the_same_numbers() {
        let (mut map, now) = (map(), Instant::now());
        map.apply(&record(CgroupOp::Mkdir, 7, "/a"), now);
        map.apply(&Cgroup { hierarchy: 1, ..record(CgroupOp::Mkdir, 7, "/other") }, now);
        map.apply(&Cgroup { hierarchy: 1, ..record(CgroupOp::Release, 7, "/other") }, now);
        assert_eq!(map.path(7), Some("/a"));
    }

    #[test]
    fn a_path_that_the_kernel_cut_decides_nothing() {
        let (mut map, now) = (map(), Instant::now());
        let cut = format!("/{}", "x".repeat(LONGEST_TOLD - 1));
        map.apply(&record(CgroupOp::Mkdir, 7, &cut), now);
        assert_eq!(map.path(7), None);
        assert_eq!(container(&mut map, 7, ID, now).as_deref(), Some(ID), "by its name");
        map.apply(&record(CgroupOp::Mkdir, 8, &cut[1..]), now);
        assert_eq!(map.path(8), Some(&cut[1..]));
    }

    #[test]
    fn rename_moves_what_is_below() {
        let (mut map, now) = (map(), Instant::now());
        map.apply(&record(CgroupOp::Mkdir, 1, "/x/a"), now);
        map.apply(&record(CgroupOp::Mkdir, 2, "/x/a/b"), now);
        map.apply(&record(CgroupOp::Mkdir, 3, "/x/ab"), now);
        let path = format!("/x/{ID}");
        map.apply(&record(CgroupOp::Rename, 1, &path), now);
        assert_eq!(map.path(2), Some(format!("{path}/b").as_str()));
        assert_eq!(map.path(3), Some("/x/ab"));
        assert_eq!(container(&mut map, 2, "b", now).as_deref(), Some(ID));
    }

    #[test]
    fn unknown_ids_are_looked_up_once_and_named_otherwise() {
        let (mut map, now) = (map(), Instant::now());
        let name = format!("docker-{ID}.scope");
        let hint = Hint { name: name.as_bytes(), now };
        let mut asked = 0;
        for _ in 0..5 {
            let found = map.resolve(9, hint, || {
                asked += 1;
                Some("4:memory:/elsewhere\n".to_owned())
            });
            assert_eq!(found.as_deref(), Some(ID));
        }
        assert_eq!(asked, 1);
        assert_eq!(map.counters().unresolved, 1);
        assert_eq!(container(&mut map, 9, "init.scope", now), None);
        map.apply(&record(CgroupOp::Mkdir, 9, &format!("/{ID}/x")), now);
        assert_eq!(container(&mut map, 9, "x", now).as_deref(), Some(ID));
    }

    #[test]
    fn unknown_id_is_found_through_proc_when_the_directory_fits() {
        let root = std::env::temp_dir().join(format!("cgroup-map-{}", std::process::id()));
        let path = format!("/docker/{ID}/nested");
        std::fs::create_dir_all(root.join(&path[1..])).unwrap();
        let hierarchy = Hierarchy { id: 0, controller: None, mount: Some(root.clone()) };
        let id = hierarchy.id_of(&path).unwrap();
        let mut map = CgroupMap::new(hierarchy);
        let hint = Hint { name: b"nested", now: Instant::now() };
        let found = map.resolve(id, hint, || Some(format!("4:memory:/\n0::{path}\n")));
        assert_eq!(found.as_deref(), Some(ID));
        assert_eq!(map.path(id), Some(path.as_str()));
        let wrong = map.resolve(id + 1_000_000, hint, || Some(format!("0::{path}\n")));
        assert_eq!(wrong, None, "the process moved meanwhile");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn bounded() {
        let (mut map, now) = (map(), Instant::now());
        for id in 0..2 * CAPACITY as u64 {
            map.apply(&record(CgroupOp::Mkdir, id, "/x"), now);
        }
        assert_eq!(map.len(), CAPACITY);
        assert_eq!(map.counters().evicted, CAPACITY as u64);
        assert_eq!(map.path(0), None);
        for id in 1_000_000..1_100_000 {
            assert_eq!(container(&mut map, id, "", now), None);
        }
        assert!(map.unknown.len() <= UNKNOWN_CAPACITY);
    }

    #[test]
    fn churn_does_not_pile_up() {
        let (mut map, mut now) = (map(), Instant::now());
        for id in 0..100_000 {
            map.apply(&record(CgroupOp::Mkdir, id, "/x"), now);
            map.apply(&record(CgroupOp::Rmdir, id, "/x"), now);
            map.apply(&record(CgroupOp::Release, id, "/x"), now);
            if id % 100 == 0 {
                now += Duration::from_millis(100);
                map.tick(now);
            }
        }
        map.tick(now);
        assert!(map.order.len() <= 256 && map.removed.is_empty() && map.is_empty());
    }
}
