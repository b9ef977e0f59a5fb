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
    /// The hierarchy to use, by the content of `/proc/self/cgroup`: container runtimes put containers
    /// into the v1 controllers where those are mounted, into the unified hierarchy otherwise.
    pub fn detect(btf: &Btf, proc_cgroup: &str) -> Self {
        ["memory", "pids", "cpuset"]
            .into_iter()
            .filter(|controller| {
                // Lines are `hierarchy:controller,controller:path`; hierarchy 0 is the unified one.
                proc_cgroup.lines().any(|line| {
                    line.split(':')
                        .nth(1)
                        .is_some_and(|list| list.split(',').any(|c| c == *controller))
                })
            })
            .find_map(|controller| {
                let id = btf.enumerator("cgroup_subsys_id", &format!("{controller}_cgrp_id"))?;
                u32::try_from(id).ok().map(Self::Controller)
            })
            .unwrap_or(Self::Unified)
    }

    /// Path from a `task_struct` to a member of its cgroup's `kernfs_node`.
    fn kernfs(self, member: &str) -> String {
        match self {
            Self::Unified => format!("cgroups.dfl_cgrp.kn.{member}"),
            Self::Controller(id) => format!("cgroups.subsys[{id}].cgroup.kn.{member}"),
        }
    }

    /// The task's cgroup id, 0 when it cannot be read.
    pub(super) fn id(
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
