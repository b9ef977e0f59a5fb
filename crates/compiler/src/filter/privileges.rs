//! What a task may do and where: its namespaces and capabilities, as the kernel keeps them.

use crate::base::state;
use crate::follow::privileges::at;
use crate::read::{Base, Reader};
use ebpf::{FunctionBuilder, Size, Value};
use kernel::btf::BtfError;
use policy::document::{CapabilitySet, NamespaceKind};

/// Inode number of a task's namespace, 0 when it has none any more (it is about to end); `None`: this
/// kernel has no namespaces of that kind.
pub(crate) fn namespace(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    task: Base,
    kind: NamespaceKind,
) -> Result<Option<Value>, BtfError> {
    let path = match kind {
        // That of the pid itself: nsproxy has only the one for children to come.
        NamespaceKind::Pid => {
            let (_, namespace) = state::pid_namespace(b, read, task)?;
            return read.get(b, Base::Address(namespace), "pid_namespace", "ns.inum").map(Some);
        }
        NamespaceKind::User => "cred.user_ns.ns.inum",
        NamespaceKind::Uts => "nsproxy.uts_ns.ns.inum",
        NamespaceKind::Ipc => "nsproxy.ipc_ns.ns.inum",
        NamespaceKind::Mnt => "nsproxy.mnt_ns.ns.inum",
        NamespaceKind::PidForChildren => "nsproxy.pid_ns_for_children.ns.inum",
        NamespaceKind::Net => "nsproxy.net_ns.ns.inum",
        NamespaceKind::Time => "nsproxy.time_ns.ns.inum",
        NamespaceKind::TimeForChildren => "nsproxy.time_ns_for_children.ns.inum",
        NamespaceKind::Cgroup => "nsproxy.cgroup_ns.ns.inum",
    };
    if !read.has("task_struct", path) {
        return Ok(None);
    }
    read.get(b, task, "task_struct", path).map(Some)
}

/// One of a task's sets of capabilities; capability n is bit n.
pub(crate) fn capabilities(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    task: Base,
    set: CapabilitySet,
) -> Result<Value, BtfError> {
    // kernel_cap_t is two u32, the lower half first, before 6.3, and one u64 since.
    let path = match set {
        CapabilitySet::Effective => "cred.cap_effective",
        CapabilitySet::Permitted => "cred.cap_permitted",
        CapabilitySet::Inheritable => "cred.cap_inheritable",
    };
    read.get(b, task, "task_struct", path)
}

/// Writes all namespaces of a task to a [`record`](crate::follow::privileges).
pub(crate) fn store_namespaces(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    task: Base,
    record: Value,
) -> Result<(), BtfError> {
    for &kind in NamespaceKind::ALL {
        match namespace(b, read, task, kind)? {
            Some(inode) => b.store(Size::U32, record, at::namespace(kind), inode),
            None => b.store(Size::U32, record, at::namespace(kind), 0),
        }
    }
    Ok(())
}

/// Writes all its capabilities.
pub(crate) fn store_capabilities(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    task: Base,
    record: Value,
) -> Result<(), BtfError> {
    for &set in CapabilitySet::ALL {
        let held = capabilities(b, read, task, set)?;
        b.store(Size::U64, record, at::capabilities(set), held);
    }
    Ok(())
}
