//! The least that could do a job: programs written by hand for one kernel, one function and one
//! question, which nothing can switch or replace while they run.

use anyhow::{Context, Result};
use ebpf::{Cond, FunctionBuilder, Kfunc, Module, Size, Value};
use kernel::btf::{Btf, KERNEL_BTF};
use kernel::features::ProgramKind;
use kernel::link::Link;
use kernel::program::{Program, ProgramSpec, Target};

const FUNCTION: &str = "security_file_permission";
/// `bpf_get_current_task_btf()`
const CURRENT: u32 = 158;
/// Dentries and mounts on the way at most.
const STEPS: i32 = 16;

/// A program in force until this is dropped.
pub(super) struct Attached {
    _program: Program,
    _link: Link,
}

/// A program that returns at once.
pub(super) fn empty() -> Result<Attached> {
    let mut b = FunctionBuilder::new("empty", 1);
    b.ret(0);
    attach(b)
}

/// Whether the file's topmost directory is `data`; counts nothing, sends nothing.
pub(super) fn path_prefix() -> Result<Attached> {
    let btf = Btf::from_file(KERNEL_BTF)?;
    let at = |structure: &str, path: &str| -> Result<i16> {
        let offset = btf.field(btf.find_struct(structure)?, path)?.offset;
        i16::try_from(offset).context("a far member")
    };
    let cast = Kfunc { btf_id: btf.find_func("bpf_rdonly_cast")?.0, btf_fd_index: 0 };
    let typed = |b: &mut FunctionBuilder, value: Value, structure: &str| -> Result<Value> {
        let id = b.iconst(i64::from(btf.find_struct(structure)?.0));
        Ok(b.call_kfunc(cast, &[value, id]))
    };
    let (embedded, mounted_at) = (at("mount", "mnt")?, at("mount", "mnt_mountpoint")?);
    let (upper, mount_root) = (at("mount", "mnt_parent")?, at("mount", "mnt.mnt_root")?);
    let parent = at("dentry", "d_parent")?;

    let mut b = FunctionBuilder::new("path_prefix", 1);
    let context = b.param(0);
    let file = b.load(Size::U64, context, 0);
    let dentry = b.load(Size::U64, file, at("file", "f_path.dentry")?);
    let dentry = typed(&mut b, dentry, "dentry")?;
    let mount = b.load(Size::U64, file, at("file", "f_path.mnt")?);
    let mount = b.sub(mount, i32::from(embedded));
    let mount = typed(&mut b, mount, "mount")?;
    let task = b.call(CURRENT, &[]);
    let fs = b.load(Size::U64, task, at("task_struct", "fs")?);
    let root = b.load(Size::U64, fs, at("fs_struct", "root.dentry")?);
    let root_mount = b.load(Size::U64, fs, at("fs_struct", "root.mnt")?);
    let root_mount = b.sub(root_mount, i32::from(embedded));
    let zero = b.iconst(0);
    let [here, on, top, steps] = [(); 4].map(|()| b.var());
    for (var, value) in [(here, dentry), (on, mount), (top, zero), (steps, zero)] {
        b.def(var, value);
    }
    let [head, next, same, below, crossing, mounted, within, linked, ended, named, out] =
        [(); 11].map(|()| b.create_block());
    b.jump(head, &[]);

    b.switch_to(head);
    let (dentry, mount) = (b.get(here), b.get(on));
    b.brif(Cond::Eq, dentry, root, same, below);
    b.switch_to(same);
    b.brif(Cond::Eq, mount, root_mount, ended, below);
    b.switch_to(below);
    let of_mount = b.load(Size::U64, mount, mount_root);
    b.brif(Cond::Eq, dentry, of_mount, crossing, within);
    b.switch_to(crossing);
    let above = b.load(Size::U64, mount, upper);
    b.brif(Cond::Eq, above, mount, ended, mounted);
    b.switch_to(mounted);
    let point = b.load(Size::U64, mount, mounted_at);
    b.def(here, point);
    b.def(on, above);
    b.jump(next, &[]);
    b.switch_to(within);
    let above = b.load(Size::U64, dentry, parent);
    b.brif(Cond::Eq, above, dentry, out, linked);
    b.switch_to(linked);
    b.def(top, dentry);
    b.def(here, above);
    b.jump(next, &[]);
    b.switch_to(next);
    let step = b.get(steps);
    let step = b.add(step, 1);
    b.def(steps, step);
    b.brif(Cond::Ult, step, STEPS, head, out);

    b.switch_to(ended);
    let top = b.get(top);
    b.brif(Cond::Ne, top, 0, named, out);
    b.switch_to(named);
    let length = b.load(Size::U32, top, at("dentry", "d_name.len")?);
    let equal = b.create_block();
    b.brif(Cond::Eq, length, 4, equal, out);
    b.switch_to(equal);
    // Whatever has a name of four bytes; reading it would cost the others nothing.
    b.jump(out, &[]);
    b.switch_to(out);
    b.ret(0);
    attach(b)
}

fn attach(b: FunctionBuilder) -> Result<Attached> {
    let btf = Btf::from_file(KERNEL_BTF)?;
    let mut module = Module::new("floor");
    let main = module.declare("floor", 1);
    module.define(main, b.finish()?);
    let program = module.compile(&ebpf::Options::default())?;
    let program = Program::load(&ProgramSpec {
        name: "floor",
        program_type: ProgramKind::Fentry.program_type(),
        attach_type: ProgramKind::Fentry.attach_type(),
        target: Target::Kernel(btf.find_func(FUNCTION)?),
        instructions: &program.bytes(),
        ..ProgramSpec::default()
    })?;
    let link = Link::tracing(&program, FUNCTION, 0)?;
    Ok(Attached { _program: program, _link: link })
}
