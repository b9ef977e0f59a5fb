//! `sched_process_exec`: an exec that succeeded. Runs in the process itself, with the new image's
//! memory in place and credentials committed (`exec_binprm()` in fs/exec.c, after the last binary
//! handler); `de_thread()` has made the caller its process's leader.

use super::cgroup::CgroupOf;
use super::emit::Emitter;
use super::parts::Block;
use super::path::PathOf;
use super::record::{Flags, at, kind};
use super::scratch::{self, INLINE_ARGS, INLINE_ENV, PATH_MAX, SECTION_MASK};
use super::state::{self, Who};
use crate::Error;
use crate::flow::{choose, return_if, when};
use crate::helper;
use crate::read::{Base, Reader};
use crate::walk::extent;
use ebpf::{Cond, FuncId, Function, FunctionBuilder, Size, Value, Var};
use kernel::btf::BtfError;

/// What an exec program is made for.
#[derive(Clone, Copy)]
pub(super) struct ExecOptions {
    pub(super) cgroup: CgroupOf,
    pub(super) environment: bool,
    /// Bytes of arguments, and of environment, captured at most.
    pub(super) data_max: u32,
    pub(super) path_step: FuncId,
    pub(super) part_step: FuncId,
}

/// A block of user memory: arguments or environment.
struct Area {
    start: &'static str,
    end: &'static str,
    what: i32,
    inline: i32,
    cut: Flags,
    error: Flags,
    length_at: i16,
    total_at: i16,
    parts_at: i16,
}

const ARGS: Area = Area {
    start: "mm.arg_start",
    end: "mm.arg_end",
    what: 0,
    inline: INLINE_ARGS,
    cut: Flags::TRUNC_ARGS,
    error: Flags::ERROR_ARGS,
    length_at: at::exec::LENGTHS + 16,
    total_at: at::exec::ARGS_TOTAL,
    parts_at: at::exec::ARGS_PARTS,
};

const ENV: Area = Area {
    start: "mm.env_start",
    end: "mm.env_end",
    what: 1,
    inline: INLINE_ENV,
    cut: Flags::TRUNC_ENVS,
    error: Flags::ERROR_ENVS,
    length_at: at::exec::LENGTHS + 20,
    total_at: at::exec::ENV_TOTAL,
    parts_at: at::exec::ENV_PARTS,
};

/// What is known of an area once its parts are sent.
struct Sent {
    from: Value,
    total: Value,
    /// Bytes that go into the record; 0 when they went in parts.
    inline: Value,
    parts: Value,
}

/// Adds flags to a variable.
fn flag(b: &mut FunctionBuilder, flags: Var, more: Flags) {
    let value = b.get(flags);
    let value = b.or(value, more.bits() as i32);
    b.def(flags, value);
}

impl Emitter<'_> {
    pub(super) fn exec(mut self, options: &ExecOptions) -> Result<Function, Error> {
        let context = self.b.param(0);
        let task = self.b.load(Size::U64, context, 0);
        let caller = self.b.load(Size::U64, context, 8);
        let bprm = self.b.load(Size::U64, context, 16);
        let cpu = self.per_cpu(self.maps.cpu);
        let scratch = self.per_cpu(self.maps.scratch);
        let now = self.now();
        let tgid = self.read.get(&mut self.b, Base::Typed(task), "task_struct", "tgid")?;
        let who = Who { ktime: now, pid: tgid };
        let state = self.own_state(task, scratch, cpu)?;

        let b = &mut self.b;
        let flags = b.var();
        let known = b.load(Size::U32, state, state::at::FLAGS);
        let kept = (Flags::CLONE | Flags::IN_INIT_TREE | Flags::NO_STATE).bits() as i32;
        let first = b.and(known, kept);
        b.def(flags, first);
        flag(b, flags, Flags::EXECVE);

        let args = self.area(task, &ARGS, scratch, who, options, flags)?;
        let env = match options.environment {
            true => Some(self.area(task, &ENV, scratch, who, options, flags)?),
            false => None,
        };

        // Lineage. An exec without a fork before it descends from the image that it replaces.
        let b = &mut self.b;
        let previous = Who::load(b, state, state::at::KTIME);
        previous.store(b, scratch, at::exec::PREVIOUS);
        let forked = Who::load(b, state, state::at::PARENT_KTIME);
        let lineage = (Flags::CLONE | Flags::NO_STATE).bits() as i32;
        let ktime = choose(b, Cond::Test, known, lineage, |_| forked.ktime, |_| previous.ktime);
        let pid = choose(b, Cond::Test, known, lineage, |_| forked.pid, |_| previous.pid);
        let parent = Who { ktime, pid };
        parent.store(b, scratch, at::exec::PARENT);
        who.store(b, scratch, at::PROCESS);
        let nspid = b.load(Size::U32, state, state::at::NSPID);
        b.store(Size::U32, scratch, at::exec::NSPID, nspid);
        b.store(Size::U32, scratch, at::exec::TID, caller);

        b.store(Size::U64, state, state::at::KTIME, who.ktime);
        b.store(Size::U64, state, state::at::PARENT_KTIME, parent.ktime);
        b.store(Size::U32, state, state::at::PARENT_PID, parent.pid);
        let tree = b.and(known, Flags::IN_INIT_TREE.bits() as i32);
        let image = b.or(tree, Flags::EXECVE.bits() as i32);
        b.store(Size::U32, state, state::at::FLAGS, image);

        credentials(b, &self.read, task, scratch)?;
        namespaces(b, &self.read, task, scratch)?;
        file(b, &self.read, bprm, scratch)?;
        let cgroup = options.cgroup.id(b, &self.read, Base::Typed(task))?;
        b.store(Size::U64, scratch, at::exec::CGROUP, cgroup);
        when(b, Cond::Eq, cgroup, 0, |b| flag(b, flags, Flags::ERROR_CGROUP_ID));
        let comm = b.add(scratch, i32::from(at::exec::COMM));
        let size = b.iconst(16);
        b.call(helper::GET_CURRENT_COMM, &[comm, size]);

        // The tail, section by section.
        let offset = b.var();
        let start = b.iconst(at::exec::SIZE.into());
        b.def(offset, start);
        let name = self.read.get(b, Base::Typed(bprm), "linux_binprm", "filename")?;
        string(b, scratch, offset, name, PATH_MAX, at::exec::LENGTHS, flags, Flags::ERROR_FILENAME);
        let root = self.read.address(b, Base::Typed(task), "task_struct", "fs.root")?;
        let cwd = self.read.address(b, Base::Typed(task), "task_struct", "fs.pwd")?;
        let cwd = PathOf { path: cwd, root };
        self.path_section(scratch, offset, cwd, options, 1, flags, Flags::TRUNC_CWD)?;
        let exe =
            self.read.address(&mut self.b, Base::Typed(bprm), "linux_binprm", "file.f_path")?;
        let exe = PathOf { path: exe, root };
        self.path_section(scratch, offset, exe, options, 2, flags, Flags::TRUNC_EXE)?;
        let b = &mut self.b;
        let name = options.cgroup.name(b, &self.read, Base::Typed(task))?;
        let length_at = at::exec::LENGTHS + 12;
        string(b, scratch, offset, name, 128, length_at, flags, Flags::ERROR_CGROUP_NAME);
        inline(b, scratch, offset, &ARGS, Some(&args), flags);
        inline(b, scratch, offset, &ENV, env.as_ref(), flags);

        let all = b.get(flags);
        b.store(Size::U32, scratch, at::exec::FLAGS, all);
        self.header(scratch, kind::EXEC, cpu, now);
        let b = &mut self.b;
        let size = b.get(offset);
        return_if(b, Cond::Ugt, size, scratch::RECORD_SIZE, 0); // cannot be; the verifier asks
        self.send(scratch, size, kind::EXEC, cpu);
        self.b.ret(0);
        Ok(self.b.finish()?)
    }

    /// Measures an area and, when it is too long for the record, sends it in parts.
    fn area(
        &mut self,
        task: Value,
        area: &Area,
        scratch: Value,
        who: Who,
        options: &ExecOptions,
        flags: Var,
    ) -> Result<Sent, Error> {
        let (b, read) = (&mut self.b, &self.read);
        let from = read.get(b, Base::Typed(task), "task_struct", area.start)?;
        let end = read.get(b, Base::Typed(task), "task_struct", area.end)?;
        let total = choose(b, Cond::Ugt, end, from, |b| b.sub(end, from), |b| b.iconst(0));
        let bound = options.data_max as i32;
        let whole = b.iconst(bound.into());
        let send = choose(
            b,
            Cond::Ugt,
            total,
            bound,
            |b| {
                flag(b, flags, area.cut);
                whole
            },
            |_| total,
        );
        let (long, short, join) = (b.create_block(), b.create_block(), b.create_block());
        let inline = b.append_param(join);
        let parts = b.append_param(join);
        b.brif(Cond::Ugt, send, area.inline, long, short);
        b.switch_to(long);
        let block = Block { from, length: send, what: area.what };
        let failed = self.parts(scratch, block, who, options.data_max, options.part_step);
        let b = &mut self.b;
        when(b, Cond::Ne, failed, 0, |b| flag(b, flags, area.error));
        let none = b.iconst(0);
        b.jump(join, &[none, send]);
        b.switch_to(short);
        let none = b.iconst(0);
        b.jump(join, &[send, none]);
        b.switch_to(join);
        Ok(Sent { from, total, inline, parts })
    }

    /// Appends a path; `section` is its place among the lengths.
    #[allow(clippy::too_many_arguments)] // one call per section; a struct would only rename them
    fn path_section(
        &mut self,
        scratch: Value,
        offset: Var,
        of: PathOf,
        options: &ExecOptions,
        section: i16,
        flags: Var,
        incomplete: Flags,
    ) -> Result<(), Error> {
        let path = self.path(scratch, of, options.path_step)?;
        let b = &mut self.b;
        when(b, Cond::Ne, path.extent, extent::WHOLE, |b| flag(b, flags, incomplete));
        let to = place(b, scratch, offset);
        b.call(helper::PROBE_READ_KERNEL, &[to, path.length, path.start]);
        b.store(Size::U32, scratch, at::exec::LENGTHS + 4 * section, path.length);
        advance(b, offset, path.length);
        Ok(())
    }
}

/// Where the next section starts.
fn place(b: &mut FunctionBuilder, scratch: Value, offset: Var) -> Value {
    let at = b.get(offset);
    let at = b.and(at, SECTION_MASK);
    b.add(scratch, at)
}

fn advance(b: &mut FunctionBuilder, offset: Var, length: Value) {
    let at = b.get(offset);
    let at = b.add(at, length);
    b.def(offset, at);
}

/// Appends a NUL-terminated kernel string, without its NUL.
#[allow(clippy::too_many_arguments)]
fn string(
    b: &mut FunctionBuilder,
    scratch: Value,
    offset: Var,
    from: Value,
    room: i32,
    length_at: i16,
    flags: Var,
    error: Flags,
) {
    let to = place(b, scratch, offset);
    let room = b.iconst(room.into());
    let copied = b.call(helper::PROBE_READ_KERNEL_STR, &[to, room, from]);
    let length = choose(
        b,
        Cond::Sgt,
        copied,
        0,
        |b| b.sub(copied, 1),
        |b| {
            flag(b, flags, error);
            b.iconst(0)
        },
    );
    b.store(Size::U32, scratch, length_at, length);
    advance(b, offset, length);
}

/// Appends an area that goes with the record, or notes that it went before, or was not asked for.
fn inline(
    b: &mut FunctionBuilder,
    scratch: Value,
    offset: Var,
    area: &Area,
    sent: Option<&Sent>,
    flags: Var,
) {
    let Some(sent) = sent else {
        b.store(Size::U32, scratch, area.length_at, 0);
        b.store(Size::U64, scratch, area.total_at, 0);
        b.store(Size::U32, scratch, area.parts_at, 0);
        return;
    };
    b.store(Size::U64, scratch, area.total_at, sent.total);
    b.store(Size::U32, scratch, area.parts_at, sent.parts);
    let to = place(b, scratch, offset);
    let length = b.and(sent.inline, 0xfff);
    let fault = b.call(helper::PROBE_READ_USER, &[to, length, sent.from]);
    let length = choose(
        b,
        Cond::Eq,
        fault,
        0,
        |_| length,
        |b| {
            flag(b, flags, area.error);
            b.iconst(0)
        },
    );
    b.store(Size::U32, scratch, area.length_at, length);
    advance(b, offset, length);
}

fn credentials(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    task: Value,
    record: Value,
) -> Result<(), BtfError> {
    let cred = read.get(b, Base::Typed(task), "task_struct", "cred")?;
    let cred = Base::Address(cred);
    let ids = ["uid", "gid", "suid", "sgid", "euid", "egid", "fsuid", "fsgid"];
    for (i, id) in ids.iter().enumerate() {
        let value = read.get(b, cred, "cred", &format!("{id}.val"))?;
        b.store(Size::U32, record, at::exec::IDS + 4 * i as i16, value);
    }
    let securebits = read.get(b, cred, "cred", "securebits")?;
    b.store(Size::U32, record, at::exec::SECUREBITS, securebits);
    let sets = ["cap_inheritable", "cap_permitted", "cap_effective", "cap_bset", "cap_ambient"];
    for (i, set) in sets.iter().enumerate() {
        // kernel_cap_t is two u32 before 6.3 and one u64 since: eight bytes in the same order.
        let to = b.add(record, i32::from(at::exec::CAPS) + 8 * i as i32);
        read.copy(b, to, 8, cred, "cred", set)?;
    }
    for (i, member) in ["level", "owner.val", "group.val", "ns.inum"].iter().enumerate() {
        let value = read.get(b, cred, "cred", &format!("user_ns.{member}"))?;
        b.store(Size::U32, record, at::exec::USER_NS + 4 * i as i16, value);
    }
    let auid = match read.has("task_struct", "loginuid.val") {
        true => read.get(b, Base::Typed(task), "task_struct", "loginuid.val")?,
        false => b.iconst(u32::MAX.into()),
    };
    b.store(Size::U32, record, at::exec::AUID, auid);
    Ok(())
}

fn namespaces(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    task: Value,
    record: Value,
) -> Result<(), BtfError> {
    let proxy = read.get(b, Base::Typed(task), "task_struct", "nsproxy")?;
    let (_, pid_ns) = state::pid_namespace(b, read, Base::Typed(task))?;
    let members = [
        Some("uts_ns"),
        Some("ipc_ns"),
        Some("mnt_ns"),
        None,
        Some("pid_ns_for_children"),
        Some("net_ns"),
        Some("time_ns"),
        Some("time_ns_for_children"),
        Some("cgroup_ns"),
    ];
    for (i, member) in members.iter().enumerate() {
        let inum = match member {
            None => read.get(b, Base::Address(pid_ns), "pid_namespace", "ns.inum")?,
            Some(member) => {
                let path = format!("{member}.ns.inum");
                // A kernel built without a kind of namespace may not know its structure.
                match read.has("nsproxy", &path) {
                    true => read.get(b, Base::Address(proxy), "nsproxy", &path)?,
                    false => b.iconst(0),
                }
            }
        };
        b.store(Size::U32, record, at::exec::NS + 4 * i as i16, inum);
    }
    b.store(Size::U32, record, at::exec::NS + 36, 0);
    Ok(())
}

/// The executed file, and whether it raised privileges.
fn file(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    bprm: Value,
    record: Value,
) -> Result<(), BtfError> {
    let bprm = Base::Typed(bprm);
    let secure = read.get(b, bprm, "linux_binprm", "secureexec")?;
    b.store(Size::U32, record, at::exec::SECUREEXEC, secure);
    let inode = read.get(b, bprm, "linux_binprm", "file.f_inode")?;
    let inode = Base::Address(inode);
    let number = read.get(b, inode, "inode", "i_ino")?;
    b.store(Size::U64, record, at::exec::INODE, number);
    let links = read.get(b, inode, "inode", "i_nlink")?;
    b.store(Size::U32, record, at::exec::LINKS, links);
    let mode = read.get(b, inode, "inode", "i_mode")?;
    b.store(Size::U32, record, at::exec::MODE, mode);
    Ok(())
}
