//! Processes that the task iterator does not list.
//!
//! The iterator goes over the pid namespace of whoever reads it: an agent in a pid namespace of its own
//! sees none of the host's processes there, and some kernels built for sandboxes leave out pid 1. What
//! `--procfs` shows beyond the list is taken in as well, with the identity that every program would
//! give it, unless it started after the programs were attached: then a record announced it.

use std::collections::{HashMap, HashSet};
use std::fs;

use compiler::base::record::{Flags, Identity, Task};

use crate::procfs::{Procfs, Stat};

/// Pid of kthreadd, the parent of all kernel threads.
const KTHREADD: u32 = 2;

/// What procfs shows and `listed` lacks. `attached`: when the programs were attached, in ns of
/// CLOCK_BOOTTIME. `current` tells the identity that the kernel side keeps of a pid.
pub(super) fn unlisted(
    procfs: &Procfs,
    listed: &[Task],
    attached: u64,
    current: impl Fn(u32) -> Option<Identity>,
) -> Vec<Task> {
    let known: HashSet<u32> = listed.iter().map(|task| task.process.pid).collect();
    let stats: HashMap<u32, Stat> = pids(procfs)
        .filter(|pid| !known.contains(pid))
        .filter_map(|pid| Some((pid, procfs.stat(pid)?)))
        .filter(|(_, stat)| !stat.zombie && stat.start < attached)
        .collect();
    let listed: HashMap<u32, Identity> =
        listed.iter().map(|task| (task.process.pid, task.process)).collect();
    let identity = |pid: u32| match (pid, listed.get(&pid), stats.get(&pid)) {
        (0, ..) => Identity { ktime: 1, pid: 0 },
        (_, Some(&listed), _) => listed,
        (_, _, Some(stat)) => Identity { ktime: stat.start, pid },
        // It ended between two reads; its start is not known any more.
        (_, None, None) => Identity { ktime: 0, pid },
    };
    stats
        .iter()
        .filter(|&(&pid, stat)| current(pid).is_none_or(|known| known.ktime == stat.start))
        .map(|(&pid, stat)| {
            let mut flags = Flags::PROCFS;
            if pid == KTHREADD || stat.ppid == KTHREADD {
                flags |= Flags::KTHREAD;
            }
            let nspid = namespace_pid(procfs, pid).unwrap_or(0);
            if nspid == 1 {
                flags |= Flags::IN_INIT_TREE;
            }
            let mut comm = [0; 16];
            let name = stat.comm.as_bytes();
            let length = name.len().min(15);
            comm[..length].copy_from_slice(&name[..length]);
            Task {
                process: identity(pid),
                parent: identity(stat.ppid),
                flags,
                nspid,
                cgroup_id: 0,
                comm,
            }
        })
        .collect()
}

fn pids(procfs: &Procfs) -> impl Iterator<Item = u32> {
    fs::read_dir(procfs.root())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The pid in the innermost pid namespace, `None` when that is the one of the procfs.
fn namespace_pid(procfs: &Procfs, pid: u32) -> Option<u32> {
    let status = fs::read_to_string(procfs.root().join(pid.to_string()).join("status")).ok()?;
    let pids = status.lines().find_map(|line| line.strip_prefix("NStgid:"))?;
    pids.split_whitespace().skip(1).last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_list_leaves_out() {
        let procfs = Procfs::new("/proc");
        let own = std::process::id();
        let start = procfs.stat(own).unwrap().start;
        let all = unlisted(&procfs, &[], u64::MAX, |_| None);
        let found = all.iter().find(|task| task.process.pid == own).unwrap();
        assert_eq!(found.process.ktime, start);
        assert!(all.iter().any(|task| task.process.pid == 1 && task.parent.ktime == 1));
        // Listed, announced, or younger than the programs: not again.
        assert!(!unlisted(&procfs, &all, u64::MAX, |_| None).iter().any(|t| t.process.pid == own));
        let announced = |pid| Some(Identity { ktime: 77, pid });
        assert!(unlisted(&procfs, &[], u64::MAX, announced).is_empty());
        assert!(!unlisted(&procfs, &[], start, |_| None).iter().any(|t| t.process.pid == own));
    }
}
