//! The namespaces of the host: what policies call `host_ns`.

use policy::document::NamespaceKind;
use policy::evaluate::Namespaces;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The namespaces of process 1, from procfs mounted at `procfs`. Where process 1 has privileges that
/// this process lacks, procfs does not show them (`ptrace_may_access()`): then this process's own are
/// taken for the host's. A kind that cannot be read, or that the kernel does not have, is left out.
pub(crate) fn namespaces(procfs: &Path) -> Namespaces {
    let allowed = !matches!(
        std::fs::metadata(procfs.join("1/ns/mnt")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied
    );
    let directory = procfs.join(if allowed { "1/ns" } else { "self/ns" });
    let inum = |kind: &NamespaceKind| {
        let found = std::fs::metadata(directory.join(file(*kind))).ok()?;
        // Inode numbers of nsfs have 32 bits.
        Some((*kind, u32::try_from(found.ino()).ok()?))
    };
    NamespaceKind::ALL.iter().filter_map(inum).collect()
}

/// The name under `/proc/PID/ns`.
fn file(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Uts => "uts",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Mnt => "mnt",
        NamespaceKind::Pid => "pid",
        NamespaceKind::PidForChildren => "pid_for_children",
        NamespaceKind::Net => "net",
        NamespaceKind::Time => "time",
        NamespaceKind::TimeForChildren => "time_for_children",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::User => "user",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_a_mount_namespace_under_its_own_number() {
        let found = namespaces(Path::new("/proc"));
        let link = std::fs::read_link("/proc/1/ns/mnt")
            .or_else(|_| std::fs::read_link("/proc/self/ns/mnt"))
            .unwrap();
        assert_eq!(format!("mnt:[{}]", found[&NamespaceKind::Mnt]), link.to_str().unwrap());
        assert!(namespaces(Path::new("/nowhere")).is_empty());
    }
}
