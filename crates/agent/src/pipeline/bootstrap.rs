//! The processes that ran before the agent.
//!
//! The base programs are attached first, then the kernel's task iterator lists every process with the
//! identity that the programs know it by. One that no record announced is read from `/proc`; if its
//! identity changed meanwhile, it executed something, what was read may belong to either image, and the
//! record of that exec is in the ring. So there is neither a gap nor a double between list and records.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use compiler::base::record::{Flags, Identity, Task};

use super::Pipeline;
use crate::events::waiting::{Body, Pending};
use crate::process::entry::{Entry, Image};
use crate::process::identity::KERNEL;

/// Set for an image of which nothing could be read.
const NOTHING_READ: Flags = Flags::ERROR_FILENAME.union(Flags::ERROR_ARGS).union(Flags::ERROR_CWD);

impl Pipeline {
    /// Takes in what the task iterator listed, after the base programs were attached and before the first
    /// record. `current` tells the present identity of a pid. Sends a `process_exec` with flag `procFS`
    /// for every user process, parents before children.
    pub fn bootstrap(&mut self, tasks: &[Task], current: &dyn Fn(u32) -> Option<Identity>) {
        self.cgroups.scan();
        self.starting = true;
        let listed: HashMap<u32, &Task> =
            tasks.iter().map(|task| (task.process.pid, task)).collect();
        for task in parents_first(tasks) {
            if !task.flags.intersects(Flags::PROCFS | Flags::NO_STATE)
                || self.table.get(task.process).is_some()
            {
                continue;
            }
            let parent = self.parent_at_start(task, &listed);
            self.process_at_start(task, parent, current);
        }
        self.starting = false;
        self.retry(false);
    }

    /// The parent of a listed process, which is put into the table if nothing else will.
    fn parent_at_start(&mut self, task: &Task, listed: &HashMap<u32, &Task>) -> Identity {
        let parent = task.parent;
        if parent.pid == 0 {
            return KERNEL;
        }
        let Some(now) = listed.get(&parent.pid).filter(|now| now.process != parent) else {
            return parent;
        };
        // The list has it by its start time, a record announced it by another one.
        if parent.ktime > task.process.ktime {
            // It is younger than its child: the child was handed to it, and it was forked, announced.
            return now.process;
        }
        if self.table.get(parent).is_none() {
            // It executed something between the attachment and the list: this is the image before.
            let above = self
                .procfs
                .stat(parent.pid)
                .and_then(|stat| listed.get(&stat.ppid))
                .map_or(KERNEL, |above| above.process);
            let before = Task { process: parent, parent: above, flags: Flags::PROCFS, ..**now };
            self.counters.changed_while_read += 1;
            self.enter(&before, above, self.unknown.clone(), NOTHING_READ);
        }
        parent
    }

    fn process_at_start(
        &mut self,
        task: &Task,
        parent: Identity,
        current: &dyn Fn(u32) -> Option<Identity>,
    ) {
        if task.flags.contains(Flags::KTHREAD) {
            let end = task.comm.iter().position(|&byte| byte == 0).unwrap_or(task.comm.len());
            let name = format!("[{}]", String::from_utf8_lossy(&task.comm[..end]));
            self.enter(task, parent, Arc::new(Self::kernel_image(&name)), Flags::empty());
            return;
        }
        let host = self.config.host;
        let found = self.procfs.snapshot(task.process.pid, self.wanted(), &host);
        let same = current(task.process.pid) == Some(task.process);
        let read = found.filter(|_| same);
        if read.is_none() {
            self.counters.changed_while_read += 1;
        }
        let errors = read.as_ref().map_or(NOTHING_READ, |(_, found)| found.flags);
        let image = match read {
            Some((stat, found)) => Arc::new(self.image_of_snapshot(&stat, found)),
            None => self.unknown.clone(),
        };
        self.enter(task, parent, image, errors);
    }

    /// Puts a listed process into the table and, unless it is a kernel thread, sends its event.
    fn enter(&mut self, task: &Task, parent: Identity, image: Arc<Image>, errors: Flags) {
        let start = self.clock.start(task.process);
        let container = self.container(task.cgroup_id, b"", task.process.pid, None);
        let entry = Entry {
            process: task.process,
            parent,
            start,
            image,
            container,
            cgroup: task.cgroup_id,
            flags: (task.flags & !Flags::CLONE) | Flags::PROCFS | errors,
            nspid: task.nspid,
        };
        let process = self.messages.process(&entry, 1);
        self.insert(entry, None);
        if !task.flags.contains(Flags::KTHREAD) {
            let body = Body::Exec(Box::new(process));
            self.send(Pending { process: task.process, parent, body, time: start, trace: None });
        }
        self.wake(task.process);
    }
}

/// The tasks in an order in which none comes before its parent. Those whose parent is not listed, and
/// their descendants, come last.
fn parents_first(tasks: &[Task]) -> Vec<&Task> {
    let listed: HashSet<Identity> = tasks.iter().map(|task| task.process).collect();
    let mut children: HashMap<Identity, Vec<&Task>> = HashMap::new();
    let (mut ordered, mut orphans) = (Vec::with_capacity(tasks.len()), Vec::new());
    for task in tasks {
        if listed.contains(&task.parent) && task.parent != task.process {
            children.entry(task.parent).or_default().push(task);
        } else if task.parent.pid == 0 {
            ordered.push(task);
        } else {
            orphans.push(task);
        }
    }
    let mut at = 0;
    loop {
        if at == ordered.len() {
            ordered.append(&mut orphans);
        }
        let Some(task) = ordered.get(at).copied() else { break };
        at += 1;
        ordered.extend(children.remove(&task.process).unwrap_or_default());
    }
    ordered
}
