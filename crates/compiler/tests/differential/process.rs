//! The process that makes the trials, as /proc shows it.

use policy::document::NamespaceKind;
use policy::evaluate::{Capabilities, Image, Namespaces, Process, Workload};
use std::fs;
use std::os::unix::ffi::OsStringExt;

/// The inode number of the first pid namespace: `PROC_PID_INIT_INO` in linux/proc_ns.h.
const FIRST_PID_NAMESPACE: u32 = 0xeffffffc;

/// This process, and what it descends from. `None`: it is not in the first pid namespace, so that it
/// cannot know what the kernel knows.
pub(crate) fn own() -> Option<Process> {
    let mut images = Vec::new();
    let mut pid = std::process::id();
    while pid != 0 {
        images.push(image(pid));
        pid = field(pid, "PPid:", 10)? as u32;
    }
    let namespaces = namespaces();
    if namespaces.get(&NamespaceKind::Pid) != Some(&FIRST_PID_NAMESPACE) {
        eprintln!("without filters by process: this pid namespace is not the first one");
        return None;
    }
    let image = images.remove(0);
    let pid = image.pid;
    let capabilities = Capabilities {
        effective: field(pid, "CapEff:", 16)?,
        permitted: field(pid, "CapPrm:", 16)?,
        inheritable: field(pid, "CapInh:", 16)?,
    };
    Some(Process {
        image,
        ancestors: images,
        recorded_namespaces: Some(namespaces.clone()),
        namespaces,
        capabilities,
        recorded_capabilities: Some(capabilities),
        workload: Workload::Host,
    })
}

fn image(pid: u32) -> Image {
    let binary = fs::read_link(format!("/proc/{pid}/exe")).ok();
    Image {
        pid,
        pid_in_namespace: 0,
        pid_namespace: FIRST_PID_NAMESPACE,
        binary: binary.map(|path| path_of(path.into_os_string().into_vec())),
    }
}

fn field(pid: u32, name: &str, radix: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(line.trim(), radix).ok()
}

fn namespaces() -> Namespaces {
    let link = |kind: NamespaceKind| {
        let name = match kind {
            NamespaceKind::PidForChildren => "pid_for_children".to_owned(),
            NamespaceKind::TimeForChildren => "time_for_children".to_owned(),
            kind => kind.name().to_lowercase(),
        };
        let link = fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
        let link = link.to_str()?.to_owned();
        let inode = link.split(['[', ']']).nth(1)?.parse().ok()?;
        Some((kind, inode))
    };
    NamespaceKind::ALL.iter().filter_map(|kind| link(*kind)).collect()
}

/// /proc says of files whether they are still there; filters ask where they were.
fn path_of(path: Vec<u8>) -> Vec<u8> {
    path.strip_suffix(b" (deleted)").map_or(path.clone(), <[u8]>::to_vec)
}
