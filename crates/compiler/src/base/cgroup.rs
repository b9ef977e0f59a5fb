//! Cgroups: how a task's is found, and the tracepoints that say when one comes, goes or moves.

use super::emit::Emitter;
use super::record::{CgroupOp, at, kind};
use super::scratch;
use crate::Error;
use crate::flow::return_if;
use crate::helper;
use crate::read::{Base, Reader};
use ebpf::{Cond, Function, FunctionBuilder, Size, Value};
use kernel::btf::{Btf, BtfError};

/// Which hierarchy says what container a process is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupOf {
    /// The unified hierarchy (cgroup v2).
    Unified,
    /// The hierarchy of a v1 controller, by its number in this kernel (`enum cgroup_subsys_id`).
    Controller(u32),
}

impl CgroupOf {
    /// The hierarchy of a v1 controller (`memory`), or the unified one.
    pub fn controller(btf: &Btf, controller: Option<&str>) -> Result<Self, BtfError> {
        let Some(controller) = controller else { return Ok(Self::Unified) };
        let wanted = format!("{controller}_cgrp_id");
        match btf.enumerator("cgroup_subsys_id", &wanted).map(u32::try_from) {
            Some(Ok(id)) => Ok(Self::Controller(id)),
            _ => Err(BtfError::NotFound { kind: kernel::btf::Kind::Enum, name: wanted }),
        }
    }

    /// Path from a `task_struct` to a member of its cgroup's `kernfs_node`.
    fn kernfs(self, member: &str) -> String {
        match self {
            Self::Unified => format!("cgroups.dfl_cgrp.kn.{member}"),
            Self::Controller(id) => format!("cgroups.subsys[{id}].cgroup.kn.{member}"),
        }
    }

    /// The task's cgroup id, 0 when it cannot be read.
    pub(crate) fn id(
        self,
        b: &mut FunctionBuilder,
        read: &Reader<'_>,
        task: Base,
    ) -> Result<Value, BtfError> {
        read.get(b, task, "task_struct", &self.kernfs("id"))
    }

    /// Address of the name of the task's cgroup.
    pub(super) fn name(
        self,
        b: &mut FunctionBuilder,
        read: &Reader<'_>,
        task: Base,
    ) -> Result<Value, BtfError> {
        read.get(b, task, "task_struct", &self.kernfs("name"))
    }
}

impl Emitter<'_> {
    /// A program for one of the `cgroup_*` tracepoints with the arguments (cgroup, path).
    pub(super) fn cgroup(mut self, op: CgroupOp) -> Result<Function, Error> {
        let context = self.b.param(0);
        let cgroup = self.b.load(Size::U64, context, 0);
        let path = self.b.load(Size::U64, context, 8);
        let cpu = self.per_cpu(self.maps.cpu);
        let scratch = self.per_cpu(self.maps.scratch);
        let now = self.now();
        let (b, read) = (&mut self.b, &self.read);
        b.store(Size::U32, scratch, at::cgroup::OP, op as i32);
        let hierarchy = read.get(b, Base::Typed(cgroup), "cgroup", "root.hierarchy_id")?;
        b.store(Size::U32, scratch, at::cgroup::HIERARCHY, hierarchy);
        let id = read.get(b, Base::Typed(cgroup), "cgroup", "kn.id")?;
        b.store(Size::U64, scratch, at::cgroup::ID, id);
        let to = b.add(scratch, i32::from(at::cgroup::SIZE));
        let room = b.iconst(scratch::PATH_MAX.into());
        let copied = b.call(helper::PROBE_READ_KERNEL_STR, &[to, room, path]);
        return_if(b, Cond::Sle, copied, 0, 0);
        let length = b.sub(copied, 1);
        b.store(Size::U32, scratch, at::cgroup::LENGTH, length);
        b.store(Size::U32, scratch, at::cgroup::LENGTH + 4, 0);
        self.header(scratch, kind::CGROUP, cpu, now);
        let size = self.b.add(length, i32::from(at::cgroup::SIZE));
        self.send(scratch, size, kind::CGROUP, cpu);
        self.b.ret(0);
        Ok(self.b.finish()?)
    }
}
