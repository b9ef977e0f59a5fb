//! The base programs on the running kernel. Needs root; skipped, with a word, without it.

#![allow(clippy::unwrap_used)] // also in functions that tests share

use compiler::base::record::{Flags, Record};
use compiler::base::{Base, CgroupOf, Options, Rings};
use kernel::btf::{Btf, KERNEL_BTF};
use kernel::ringbuf::{RingBuffer, RingSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn attached(environment: bool) -> Option<(Base, RingSet)> {
    let btf = match Btf::from_file(KERNEL_BTF) {
        Ok(btf) => btf,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let memory = cgroups.contains(":memory:").then_some("memory");
    let cgroup = CgroupOf::controller(&btf, memory).unwrap();
    let options = Options { cgroup, environment, data_max: 256 << 10 };
    let started = Instant::now();
    let mut base = match Base::load(&btf, &options, Rings { base: 1 << 21, observation: 1 << 20 }) {
        Ok(base) => base,
        Err(compiler::Error::Kernel(error)) if error.errno() == Some(kernel::Errno::EPERM) => {
            eprintln!("skipped: {error}");
            return None;
        }
        Err(error) => panic!("{error}\n{error:?}"),
    };
    base.attach().unwrap();
    eprintln!(
        "loaded and attached in {:?}, {} bytes",
        started.elapsed(),
        base.memory_bytes().unwrap()
    );
    let ring = RingBuffer::new(base.ring().try_clone().unwrap()).unwrap();
    Some((base, RingSet::new(vec![ring]).unwrap()))
}

/// Reads records until `enough` says so, two seconds at most.
fn records(rings: &mut RingSet, mut each: impl FnMut(&Record<'_>) -> bool) {
    let end = Instant::now() + Duration::from_secs(2);
    let mut enough = false;
    while !enough && Instant::now() < end {
        rings.wait(Some(Duration::from_millis(50))).unwrap();
        rings.consume(|_, bytes| enough |= each(&Record::decode(bytes).unwrap()));
    }
    assert!(enough, "what was expected did not come");
}

#[test]
fn a_process_is_seen_from_fork_to_exit() {
    let Some((_base, mut rings)) = attached(true) else { return };
    let mut child = Command::new("/bin/sh")
        .args(["-c", "exit 3", "a b", ""])
        .env("MARK", "of this test")
        .current_dir("/sys/kernel")
        .spawn()
        .unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let (mut forked, mut seen) = (None, None);
    records(&mut rings, |record| match record {
        Record::Fork(fork) if fork.process.pid == pid => {
            assert_eq!(fork.parent.pid, std::process::id());
            forked = Some(fork.process);
            false
        }
        Record::Exec(exec) if exec.process.pid == pid => {
            assert_eq!(Some(exec.previous), forked);
            assert_eq!(exec.parent.pid, std::process::id());
            assert_eq!(exec.flags, Flags::EXECVE | Flags::CLONE);
            assert_eq!(exec.filename, b"/bin/sh");
            assert_eq!(exec.cwd, b"/sys/kernel"); // across a mount
            let resolved = std::fs::canonicalize("/bin/sh").unwrap();
            assert_eq!(exec.exe, resolved.to_str().unwrap().as_bytes());
            assert_eq!(exec.args, b"/bin/sh\0-c\0exit 3\0a b\0\0");
            assert_eq!(exec.args_total, exec.args.len() as u64);
            let env: Vec<&[u8]> = exec.env.split(|&b| b == 0).collect();
            assert!(env.contains(&&b"MARK=of this test"[..]), "{env:?}");
            assert_eq!((exec.creds.uid, exec.creds.euid, exec.creds.user_ns.level), (0, 0, 0));
            assert_ne!(exec.creds.cap_effective, 0);
            let mnt = std::fs::read_link("/proc/self/ns/mnt").unwrap();
            assert_eq!(format!("mnt:[{}]", exec.ns.mnt), mnt.to_str().unwrap());
            let pid_ns = std::fs::read_link("/proc/self/ns/pid").unwrap();
            assert_eq!(format!("pid:[{}]", exec.ns.pid), pid_ns.to_str().unwrap());
            assert_eq!(exec.links, 1);
            assert!(!exec.secureexec);
            assert_ne!(exec.cgroup_id, 0);
            seen = Some(exec.process);
            false
        }
        Record::Exit(exit) if exit.process.pid == pid => {
            assert_eq!(Some(exit.process), seen);
            assert_eq!(exit.code, 3 << 8);
            true
        }
        _ => false,
    });
}

#[test]
fn long_arguments_come_in_parts() {
    let Some((_base, mut rings)) = attached(false) else { return };
    let long = "x".repeat(100_000);
    let mut child = Command::new("/bin/sh").args(["-c", ":", &long, &long]).spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let mut whole = Vec::new();
    records(&mut rings, |record| match record {
        Record::Part(part) if part.process.pid == pid => {
            assert_eq!(part.offset as usize, whole.len());
            whole.extend_from_slice(part.data);
            false
        }
        Record::Exec(exec) if exec.process.pid == pid => {
            assert!(exec.args.is_empty() && exec.env.is_empty());
            assert_eq!(exec.args_total, 200_015);
            assert_eq!(exec.args_parts, 200_015);
            assert!(!exec.flags.intersects(Flags::TRUNC_ARGS | Flags::ERROR_ARGS));
            assert_eq!(whole, format!("/bin/sh\0-c\0:\0{long}\0{long}\0").as_bytes());
            true
        }
        _ => false,
    });
}

#[test]
fn the_scan_finds_everybody_once() {
    let Some((base, _rings)) = attached(false) else { return };
    // A shell that waits for input is there everywhere, in small test machines too.
    let mut child =
        Command::new("/bin/sh").args(["-c", "read word"]).stdin(Stdio::piped()).spawn().unwrap();
    let tasks = base.scan().unwrap();
    let mut pids: Vec<u32> = tasks.iter().map(|task| task.process.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), tasks.len());
    let find = |pid: u32| *tasks.iter().find(|task| task.process.pid == pid).unwrap();
    let own = find(std::process::id());
    assert!(own.flags.contains(Flags::PROCFS));
    assert!(find(2).flags.contains(Flags::KTHREAD));
    assert_eq!(find(2).parent.ktime, 1);
    assert!(!find(child.id()).flags.contains(Flags::PROCFS));
    assert_eq!(find(child.id()).parent, own.process);
    base.adopt(&tasks).unwrap();
    assert_eq!(base.identity(own.process.pid).unwrap(), Some(own.process));
    // Field 22 of /proc/PID/stat, counted from behind the name in parentheses.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let start = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap();
    assert_eq!(own.process.ktime, start.parse::<u64>().unwrap() * 10_000_000);
    child.kill().unwrap();
    child.wait().unwrap();
}
