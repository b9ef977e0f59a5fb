//! Scenarios with a `/proc`: a made-up one for the start and for what got lost, and this machine's own.

use std::sync::Arc;

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use compiler::base::record::{Flags, Identity, Task};
use tempfile::TempDir;

use super::tests::{Harness, exec_id, id, into_exec, into_exit};
use super::{KERNEL, PipelineConfig};
use crate::process::identity::TICK;
use crate::procfs::Procfs;

/// Start times of made-up processes are small; none of this machine's is in question.
fn started(pid: u32, ticks: u64) -> Identity {
    Identity { ktime: ticks * TICK, pid }
}

fn task(process: Identity, parent: Identity, flags: Flags, comm: &str) -> Task {
    let mut name = [0; 16];
    name[..comm.len()].copy_from_slice(comm.as_bytes());
    let flags = flags | Flags::PROCFS;
    Task { process, parent, flags, nspid: 0, cgroup_id: 1, comm: name }
}

struct Proc(TempDir);

impl Proc {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn add(&self, process: Identity, ppid: u32, exe: &str, arguments: &[u8]) {
        let directory = self.0.path().join(process.pid.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        let ticks = process.ktime / TICK;
        let pid = process.pid;
        let stat = format!("{pid} (x y) S {ppid} 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 {ticks} 0 0");
        std::fs::write(directory.join("stat"), stat).unwrap();
        std::fs::write(directory.join("cmdline"), arguments).unwrap();
        std::fs::write(directory.join("loginuid"), "1000").unwrap();
        let status = "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n";
        std::fs::write(directory.join("status"), status).unwrap();
        let _ = std::fs::remove_file(directory.join("exe"));
        symlink(exe, directory.join("exe")).unwrap();
        let _ = std::fs::remove_file(directory.join("cwd"));
        symlink("/", directory.join("cwd")).unwrap();
    }

    fn remove(&self, pid: u32) {
        std::fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
    }

    fn harness(&self) -> Harness {
        let procfs = self.0.path().to_owned();
        Harness::new(PipelineConfig { procfs, ..PipelineConfig::default() })
    }
}

fn same(tasks: &[Task]) -> impl Fn(u32) -> Option<Identity> + use<> {
    let known: HashMap<u32, Identity> =
        tasks.iter().map(|task| (task.process.pid, task.process)).collect();
    move |pid| known.get(&pid).copied()
}

#[test]
fn start_tells_of_user_processes_parents_first() {
    let proc = Proc::new();
    let (init, threads, worker) = (started(1, 1), started(2, 1), started(30, 2));
    // Pids have wrapped around: the child's is smaller.
    let (parent, child) = (started(900, 50), started(20, 60));
    proc.add(init, 0, "/sbin/init", b"/sbin/init\0--flag\0");
    proc.add(parent, 1, "/bin/parent (deleted)", b"parent\0a b\0");
    proc.add(child, 900, "/bin/child", b"child\0");
    let none = Flags::empty();
    let tasks = [
        task(child, parent, Flags::IN_INIT_TREE, "child"),
        task(parent, init, none, "parent"),
        task(worker, threads, Flags::KTHREAD, "kworker/0:1"),
        task(threads, KERNEL, Flags::KTHREAD, "kthreadd"),
        task(init, KERNEL, none, "init"),
    ];
    let mut h = proc.harness();
    h.pipeline.bootstrap(&tasks, &same(&tasks));
    let events = h.execs();
    let pids: Vec<_> = events.iter().filter_map(|event| event.process.as_ref()?.pid).collect();
    assert_eq!(pids, [1, 900, 20], "no kernel threads, and parents first");
    let first = events[0].process.as_ref().unwrap();
    assert_eq!((first.binary.as_str(), first.arguments.as_str()), ("/sbin/init", "--flag"));
    assert_eq!(first.flags, "procFS rootcwd");
    assert_eq!((first.uid, first.auid), (Some(2), Some(1000)));
    assert_eq!(events[0].parent.as_ref().unwrap().binary, "<kernel>");
    let second = events[1].process.as_ref().unwrap();
    assert_eq!((second.binary.as_str(), second.arguments.as_str()), ("/bin/parent", " \"a b\""));
    let third = events[2].process.as_ref().unwrap();
    assert_eq!(third.flags, "procFS rootcwd inInitTree");
    assert_eq!(third.in_init_tree, Some(true));
    assert_eq!(third.parent_exec_id, second.exec_id);
    assert_eq!(events[2].parent.as_ref().unwrap().binary, "/bin/parent");

    // They are known to what follows.
    h.exit(worker, threads, 0);
    let exit = h.exit_event();
    assert_eq!(exit.process.unwrap().binary, "[kworker/0:1]");
    assert_eq!(exit.parent.unwrap().binary, "[kthreadd]");
    let next = id(900, 100);
    h.exec_with(next, parent, parent, |_| {});
    assert_eq!(h.exec_event().parent.unwrap().binary, "/bin/parent");
    assert_eq!(h.references(parent).unwrap().0, 2, "its child and its next image");
    assert_eq!(h.pipeline.stats().pipeline.exits_missed, 0);
}

#[test]
fn executable_that_may_not_be_read() {
    let proc = Proc::new();
    let (init, other) = (started(1, 1), started(20, 60));
    proc.add(init, 0, "/sbin/init", b"/sbin/init\0--flag\0");
    proc.add(other, 1, "/bin/other", b"other\0");
    for pid in ["1", "20"] {
        std::fs::remove_file(proc.0.path().join(pid).join("exe")).unwrap();
    }
    let none = Flags::empty();
    let tasks = [task(init, KERNEL, none, "init"), task(other, init, none, "other")];
    let mut h = proc.harness();
    h.pipeline.bootstrap(&tasks, &same(&tasks));
    let events = h.execs();
    let sent: Vec<_> = events.iter().filter_map(|event| event.process.as_ref()).collect();
    assert_eq!((sent[0].binary.as_str(), sent[0].arguments.as_str()), ("/sbin/init", "--flag"));
    assert_eq!(sent[0].flags, "procFS errorFilename rootcwd");
    assert_eq!(sent[1].binary, "x y", "the thread's name");
}

#[test]
fn image_that_changed_while_it_was_read() {
    let proc = Proc::new();
    let (init, process) = (started(1, 1), started(20, 60));
    proc.add(init, 0, "/sbin/init", b"init\0");
    proc.add(process, 1, "/bin/after", b"after\0");
    let tasks =
        [task(init, KERNEL, Flags::empty(), "init"), task(process, init, Flags::empty(), "before")];
    let after = id(20, 70);
    let known = same(&tasks);
    let mut h = proc.harness();
    h.pipeline.bootstrap(&tasks, &move |pid| if pid == 20 { Some(after) } else { known(pid) });
    let before = h.execs().remove(1).process.unwrap();
    assert_eq!((before.exec_id, before.binary.as_str()), (exec_id(process), ""));
    assert_eq!(before.flags, "procFS errorFilename errorArgs errorCWD");
    h.exec_with(after, process, process, |r| r.filename = b"/bin/after".to_vec());
    let exec = h.exec_event();
    assert_eq!(exec.process.unwrap().parent_exec_id, exec_id(process));
    assert_eq!(exec.parent.unwrap().exec_id, exec_id(process));
    assert_eq!(h.pipeline.stats().pipeline.changed_while_read, 1);
    assert_eq!(h.pipeline.stats().waiting_size, 0);
}

#[test]
fn parent_that_executed_something_before_the_list_was_made() {
    let proc = Proc::new();
    let (init, child) = (started(1, 1), started(30, 60));
    let (before, after) = (started(20, 50), id(20, 70));
    proc.add(init, 0, "/sbin/init", b"init\0");
    proc.add(before, 1, "/bin/after", b"after\0");
    proc.add(child, 20, "/bin/child", b"child\0");
    let mut announced = task(after, before, Flags::EXECVE, "after");
    announced.flags = Flags::EXECVE;
    let tasks = [
        task(child, before, Flags::empty(), "child"),
        announced,
        task(init, KERNEL, Flags::empty(), "init"),
    ];
    let mut h = proc.harness();
    h.pipeline.bootstrap(&tasks, &same(&tasks));
    let events = h.execs();
    let of = |pid| {
        let mut found = events.iter().filter(move |e| e.process.as_ref().unwrap().pid == Some(pid));
        (found.next().unwrap(), found.next().is_none())
    };
    assert_eq!(events.len(), 3);
    assert_eq!(of(30).0.process.as_ref().unwrap().parent_exec_id, exec_id(before));
    assert_eq!(of(20).0.process.as_ref().unwrap().exec_id, exec_id(before));
    assert!(of(20).1);
    h.exec_with(after, before, before, |_| {});
    assert_eq!(h.exec_event().process.unwrap().parent_exec_id, exec_id(before));
}

#[test]
fn child_that_was_handed_to_a_younger_parent() {
    let proc = Proc::new();
    let (init, child) = (started(1, 1), started(30, 60));
    let (by_start, announced) = (started(20, 80), id(20, 900_000));
    proc.add(init, 0, "/sbin/init", b"init\0");
    proc.add(child, 20, "/bin/child", b"child\0");
    let mut reaper = task(announced, init, Flags::CLONE, "reaper");
    reaper.flags = Flags::CLONE;
    let tasks = [
        task(init, KERNEL, Flags::empty(), "init"),
        reaper,
        task(child, by_start, Flags::empty(), "child"),
    ];
    let mut h = proc.harness();
    h.pipeline.bootstrap(&tasks, &same(&tasks));
    assert_eq!(h.execs().len(), 1, "the child's waits for the fork of its parent");
    h.fork(announced, init);
    let event = h.exec_event();
    assert_eq!(event.process.unwrap().parent_exec_id, exec_id(announced));
}

#[test]
fn lost_parent_that_runs_is_read_from_proc_at_once() {
    let proc = Proc::new();
    let (init, parent) = (started(1, 1), started(20, 60));
    proc.add(init, 0, "/sbin/init", b"init\0");
    let tasks = [task(init, KERNEL, Flags::empty(), "init")];
    let mut h = proc.harness();
    h.pipeline.bootstrap(&tasks, &same(&tasks));
    h.events();
    proc.add(parent, 1, "/bin/parent", b"parent\0");
    h.exec(id(30, 90), Identity::default(), parent);
    let sent = h.exec_event().parent.unwrap();
    assert_eq!((sent.binary.as_str(), sent.parent_exec_id), ("/bin/parent", exec_id(init)));
    assert_eq!(h.pipeline.stats().pipeline.recovered, 1);

    // Another process has the pid now.
    proc.add(started(21, 99), 1, "/bin/other", b"other\0");
    h.exec(id(31, 91), Identity::default(), started(21, 70));
    assert!(h.events().is_empty());
    // One whose record was lost: only the kernel side can tell whether it is the same image.
    let announced = id(22, 95);
    proc.add(started(22, 3), 1, "/bin/lost", b"lost\0");
    h.exec(id(32, 96), Identity::default(), announced);
    assert!(h.events().is_empty());
    h.pipeline.set_lookup(Arc::new(move |pid| (pid == 22).then_some(announced)));
    h.exec(id(33, 97), Identity::default(), announced);
    assert_eq!(h.exec_event().parent.unwrap().binary, "/bin/lost");
    h.pass(Duration::from_secs(2));
    // At the next attempt: the one before it, and the one whose parent is known to be gone now.
    let parents: Vec<String> =
        h.execs().into_iter().map(|exec| exec.parent.unwrap().binary).collect();
    assert_eq!(parents, ["", "/bin/lost"]);
    // With the kernel side to ask, nothing waits for what cannot come.
    h.exec(id(34, 98), Identity::default(), id(23, 97));
    assert_eq!(h.exec_event().parent.unwrap().binary, "");
}

#[test]
fn fork_of_a_lost_parent_shows_what_proc_says_of_it() {
    let proc = Proc::new();
    let parent = started(20, 60);
    proc.add(parent, 1, "/bin/parent", b"parent\0arg\0");
    proc.add(started(1, 1), 0, "/sbin/init", b"init\0");
    let mut h = proc.harness();
    h.fork(id(30, 90), parent);
    h.exit(id(30, 90), parent, 0);
    let process = h.exit_event().process.unwrap();
    assert_eq!((process.binary.as_str(), process.arguments.as_str()), ("/bin/parent", "arg"));
}

#[test]
fn exec_of_a_process_that_nobody_announced() {
    let proc = Proc::new();
    let (init, before) = (started(1, 1), started(20, 60));
    proc.add(init, 0, "/sbin/init", b"init\0");
    proc.add(before, 1, "/bin/after", b"after\0");
    let tasks = [task(init, KERNEL, Flags::empty(), "init")];
    let mut h = proc.harness();
    h.pipeline.bootstrap(&tasks, &same(&tasks));
    h.events();
    h.exec_with(id(20, 90), before, before, |_| {});
    let exec = h.exec_event();
    assert_eq!(exec.process.unwrap().parent_exec_id, exec_id(init));
    assert_eq!(exec.parent.unwrap().binary, "/sbin/init");
    h.exit(id(20, 90), before, 0);
    assert_eq!(h.exit_event().parent.unwrap().binary, "/sbin/init");

    // One that has ended already: nothing tells who created it, and nothing will.
    let before = started(21, 61);
    h.exec_with(id(21, 91), before, before, |_| {});
    let exec = h.exec_event();
    assert_eq!(exec.parent.unwrap().exec_id, exec_id(before));
    h.exit(id(21, 91), before, 0);
    assert_eq!(h.exit_event().parent.unwrap().exec_id, exec_id(before));
}

#[test]
fn after_a_loss_ended_processes_are_noticed() {
    let proc = Proc::new();
    let (init, gone, reused) = (started(1, 1), started(20, 60), started(21, 61));
    for (process, name) in [(init, "init"), (gone, "gone"), (reused, "reused")] {
        proc.add(process, u32::from(process.pid != 1), &format!("/bin/{name}"), b"x\0");
    }
    let none = Flags::empty();
    let tasks =
        [task(init, KERNEL, none, "i"), task(gone, init, none, "g"), task(reused, init, none, "r")];
    let mut h = proc.harness();
    h.pipeline.bootstrap(&tasks, &same(&tasks));
    h.events();
    proc.remove(20);
    proc.add(started(21, 500), 1, "/bin/next", b"next\0");
    h.seq += 2; // their exits
    h.fork(id(40, 90), init);
    proc.add(started(40, 1), 1, "/bin/init", b"init\0");
    for _ in 0..20 {
        h.pass(Duration::from_millis(100));
    }
    assert_eq!(h.references(gone).unwrap().0, 0);
    assert_eq!(h.references(reused).unwrap().0, 0);
    assert_eq!(h.references(init).unwrap().0, 2, "itself and the child that runs");
    assert_eq!(h.pipeline.stats().pipeline.exits_missed, 2);
}

#[test]
fn this_machine() {
    let procfs = Procfs::new("/proc");
    let mut child = Command::new("cat").args(["-", "a b"]).stdin(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    // What the task iterator would say.
    let mut tasks = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some(stat) = procfs.stat(pid) else { continue };
        let parent = match stat.ppid {
            0 => KERNEL,
            ppid => Identity { ktime: procfs.stat(ppid).map_or(0, |stat| stat.start), pid: ppid },
        };
        tasks.push(task(Identity { ktime: stat.start, pid }, parent, Flags::empty(), "x"));
    }
    let config = PipelineConfig {
        host: procfs.host().unwrap(),
        ancestors: true,
        credentials: true,
        namespaces: true,
        environment: true,
        usernames: true,
        ..PipelineConfig::default()
    };
    let mut h = Harness::new(config);
    h.pipeline.bootstrap(&tasks, &same(&tasks));
    let events = h.execs();
    let found = events.iter().filter_map(|event| event.process.as_ref());
    let cat = found.into_iter().find(|process| process.pid == Some(pid)).unwrap();
    assert!(cat.binary.ends_with("/cat") || cat.binary.ends_with("coreutils"), "{cat:?}");
    assert_eq!(cat.arguments, "- \"a b\"");
    assert_eq!(cat.cwd, std::env::current_dir().unwrap().to_str().unwrap());
    assert!(cat.environment_variables.iter().any(|variable| variable.key == "PATH"));
    assert!(cat.ns.as_ref().unwrap().pid.as_ref().unwrap().inum != 0);
    assert!(cat.process_credentials.is_some() && cat.cap.is_some());
    let start = cat.start_time.as_ref().unwrap().seconds;
    let now = crate::clock::WallTime::now().0 / 1_000_000_000;
    assert!((now - start).abs() < 60, "started {start}, now {now}");
    child.kill().unwrap();
    child.wait().unwrap();
    // Nothing comes twice when its records follow.
    let process = tasks.iter().find(|task| task.process.pid == pid).unwrap();
    h.exit(process.process, process.parent, 9);
    let exit = into_exit(h.events().remove(0));
    assert_eq!(exit.signal, "SIGKILL");
    assert_eq!(exit.process.unwrap().arguments, "- \"a b\"");
    let again = id(pid, 1 << 40);
    h.exec(again, Identity::default(), process.parent);
    assert_eq!(into_exec(h.events().remove(0)).process.unwrap().exec_id, exec_id(again));
}
