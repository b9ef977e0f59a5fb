//! The set of base programs, each with the place it hangs on.

use super::cgroup::CgroupOf;
use super::emit::{Emitter, Maps};
use super::exec::ExecOptions;
use super::record::CgroupOp;
use crate::Error;
use ebpf::Module;
use kernel::btf::Btf;

/// What the base programs are made for; anything not asked for is not in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Hierarchy that says what container a process is in.
    pub cgroup: CgroupOf,
    /// Capture environments.
    pub environment: bool,
    /// Bytes of arguments, and of environment, captured per exec at most.
    pub data_max: u32,
}

/// Where a base program hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A BTF-typed tracepoint, by name.
    Tracepoint(&'static str),
    /// The task iterator.
    Tasks,
}

/// One base program.
#[derive(Debug)]
pub struct BaseProgram {
    /// Its name, as `bpftool prog` shows it: 15 bytes at most.
    pub name: &'static str,
    /// Where it hangs.
    pub hook: Hook,
    /// The program.
    pub module: Module,
}

/// Makes the base programs for the kernel that `btf` describes.
pub fn programs(btf: &Btf, options: &Options) -> Result<Vec<BaseProgram>, Error> {
    // They are attached in this order, one after the other, while processes come and go. Exits first,
    // so that whoever is announced is seen to end. Forks last: a process that was announced by its fork
    // and whose exec was not seen would keep its parent's image.
    let says_last = btf.tracepoint_prototype("sched_process_exit")?.params.len() > 1;
    let mut set = vec![
        single(btf, "tg_exit", Hook::Tracepoint("sched_process_exit"), |emitter| {
            emitter.exit(says_last)
        })?,
        exec(btf, options)?,
        single(btf, "tg_fork", Hook::Tracepoint("sched_process_fork"), |emitter| {
            emitter.fork(options.cgroup)
        })?,
    ];
    for (name, tracepoint, op) in [
        ("tg_cgroup_mkdir", "cgroup_mkdir", CgroupOp::Mkdir),
        ("tg_cgroup_rmdir", "cgroup_rmdir", CgroupOp::Rmdir),
        ("tg_cgroup_free", "cgroup_release", CgroupOp::Release),
        ("tg_cgroup_move", "cgroup_rename", CgroupOp::Rename),
    ] {
        let hook = Hook::Tracepoint(tracepoint);
        set.push(single(btf, name, hook, |emitter| emitter.cgroup(op))?);
    }
    set.push(single(btf, "tg_tasks", Hook::Tasks, |emitter| emitter.scan(options.cgroup))?);
    Ok(set)
}

fn single<'k>(
    btf: &'k Btf,
    name: &'static str,
    hook: Hook,
    body: impl FnOnce(Emitter<'k>) -> Result<ebpf::Function, Error>,
) -> Result<BaseProgram, Error> {
    let mut module = Module::new(name);
    let maps = Maps::declare(&mut module);
    let main = module.declare(name, 1);
    let function = body(Emitter::new(name, 1, btf, maps))?;
    module.define(main, function);
    Ok(BaseProgram { name, hook, module })
}

fn exec(btf: &Btf, options: &Options) -> Result<BaseProgram, Error> {
    let name = "tg_exec";
    let mut module = Module::new(name);
    let maps = Maps::declare(&mut module);
    let main = module.declare(name, 1);
    let path_step = module.declare("tg_path_step", 2);
    let part_step = module.declare("tg_part_step", 2);
    let options = ExecOptions {
        cgroup: options.cgroup,
        environment: options.environment,
        data_max: options.data_max,
        path_step,
        part_step,
    };
    module.define(main, Emitter::new(name, 1, btf, maps).exec(&options)?);
    module.define(path_step, Emitter::new("tg_path_step", 2, btf, maps).path_step()?);
    module.define(part_step, Emitter::new("tg_part_step", 2, btf, maps).part_step()?);
    Ok(BaseProgram { name, hook: Hook::Tracepoint("sched_process_exec"), module })
}
