//! What can be done about lost records: processes that no record told of are read from `/proc`, and
//! processes whose exit was lost are noticed.

use std::sync::Arc;
use std::time::Duration;

use compiler::base::record::{Exec, Flags, Identity};

use super::Pipeline;
use crate::cgroups::container::container_id;
use crate::process::entry::Entry;
use crate::process::identity::{KERNEL, TICK, is_start_time};

/// How long after a loss the table is compared with `/proc`.
const SETTLE: Duration = Duration::from_secs(1);
/// Least time between two comparisons: each reads a file of every process.
const COMPARE_EVERY: Duration = Duration::from_secs(10);

impl Pipeline {
    /// Reads a process that runs and that no record told of. Says whether the table has it now.
    ///
    /// It must be the same image still: the kernel side says so, or, where that cannot be asked, the
    /// start time of a process that has executed nothing since the agent started.
    pub(super) fn recover(&mut self, process: Identity) -> bool {
        if self.config.disable_process_cache || self.starting || process.pid == 0 {
            return false;
        }
        if !self.is_current(process) {
            return false;
        }
        let host = self.config.host;
        let wanted = self.wanted();
        let Some((stat, found)) = self.procfs.snapshot(process.pid, wanted, &host) else {
            return false;
        };
        if stat.zombie || !self.is_current(process) {
            return false;
        }
        let mut flags = Flags::PROCFS | found.flags;
        let cgroups = self.procfs.cgroups(process.pid);
        let path = cgroups.as_deref().and_then(|text| self.cgroups.hierarchy().path_of(text));
        let container = path.and_then(container_id).map(Arc::from);
        let cgroup = path.and_then(|path| self.cgroups.hierarchy().id_of(path)).unwrap_or(0);
        let image = self.image_of_snapshot(&stat, found);
        let parent = self.identity_now(stat.ppid);
        if let Some(parent) = self.table.get(parent) {
            flags |= parent.flags & Flags::IN_INIT_TREE;
        }
        self.counters.recovered += 1;
        self.table.insert(Entry {
            process,
            parent,
            start: self.clock.start(process),
            image: Arc::new(image),
            container,
            cgroup,
            flags,
            nspid: 0,
        });
        true
    }

    /// The parent that an exec record names. If that is an image before it that no record announced, and
    /// none will, the process that created this one stands in for it.
    pub(super) fn parent_of_exec(&mut self, exec: &Exec<'_>) -> Identity {
        let named = exec.parent;
        let unannounced = named == exec.previous
            && named.pid == exec.process.pid
            && is_start_time(named)
            && self.table.get(named).is_none();
        if !unannounced {
            return named;
        }
        match self.procfs.stat(named.pid).filter(|stat| stat.start == named.ktime) {
            Some(stat) => self.identity_now(stat.ppid),
            None => {
                self.waiting.give_up(named);
                named
            }
        }
    }

    fn is_current(&self, process: Identity) -> bool {
        if let Some(lookup) = &self.lookup {
            return lookup(process.pid) == Some(process);
        }
        is_start_time(process)
            && self.table.current(process.pid).is_none_or(|current| current == process)
            && self.procfs.stat(process.pid).is_some_and(|stat| stat.start == process.ktime)
    }

    /// Best guess at the present identity of a pid.
    fn identity_now(&self, pid: u32) -> Identity {
        if pid == 0 { KERNEL } else { self.present(pid).unwrap_or(KERNEL) }
    }

    /// The same; `None`: nothing tells of such a process.
    pub(super) fn present(&self, pid: u32) -> Option<Identity> {
        self.table
            .current(pid)
            .or_else(|| self.lookup.as_ref().and_then(|lookup| lookup(pid)))
            .or_else(|| Some(Identity { ktime: self.procfs.stat(pid)?.start, pid }))
    }

    /// Plans a comparison with `/proc`, after a loss.
    pub(super) fn schedule_reconciliation(&mut self) {
        let earliest = self.reconciled.map_or(self.now, |last| last + COMPARE_EVERY);
        self.next_reconciliation.get_or_insert((self.now + SETTLE).max(earliest));
    }

    /// Ends processes that run according to the table but not according to `/proc`, and reads cgroups
    /// again. If a record of one is still to come, it finds the ended entry.
    pub(super) fn reconcile(&mut self) {
        self.reconciled = Some(self.now);
        self.cgroups.scan();
        if self.procfs.stat(1).is_none() {
            return; // This is not the host's /proc: it proves nothing.
        }
        let running: Vec<Identity> = self.table.running_images().filter(|id| id.pid != 0).collect();
        for process in running {
            if !self.runs(process) && self.table.end(process) {
                self.counters.exits_missed += 1;
            }
        }
    }

    fn runs(&self, process: Identity) -> bool {
        let Some(stat) = self.procfs.stat(process.pid).filter(|stat| !stat.zombie) else {
            return false;
        };
        // A process that started after this image did is another one with the same pid.
        let started = match is_start_time(process) {
            true => stat.start,
            false => self.clock.boottime_to_monotonic(stat.start).saturating_sub(2 * TICK),
        };
        started <= process.ktime
    }
}
