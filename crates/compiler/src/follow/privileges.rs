//! The namespaces and capabilities that a thread began with, or had when a policy last saw them change.
//!
//! Both belong to threads, in the kernel as here: what one thread gives up the others still have. They
//! are recorded when a thread is created and when it calls exec, with the new credentials in place; of
//! threads from before all this, as they are. Each policy that asks for changes has records of its own,
//! so that none takes a change from another.

use super::maps::{Shape, Wanted};
use super::program::{Emitter, Follower, Hook};
use crate::Error;
use crate::filter::privileges;
use crate::flow::return_if;
use crate::read::Base;
use ebpf::{Cond, Function, MapRef, Module, Size, Value};
use kernel::btf::Btf;
use policy::document::{CapabilitySet, NamespaceKind};

/// Byte offsets in the record, which is on every thread.
pub(crate) mod at {
    use super::{CapabilitySet, NamespaceKind};
    /// Inode numbers of namespaces (u32 each), by kind; 0: not known.
    const NAMESPACES: i16 = 0;
    /// Sets of capabilities (u64 each).
    const CAPABILITIES: i16 = 40;
    /// Size.
    pub(crate) const SIZE: i16 = CAPABILITIES + 24;

    /// Where the namespace of a kind is.
    pub(crate) fn namespace(kind: NamespaceKind) -> i16 {
        NAMESPACES + 4 * kind as i16
    }

    /// Where a set of capabilities is.
    pub(crate) fn capabilities(set: CapabilitySet) -> i16 {
        CAPABILITIES + 8 * set as i16
    }
}

/// Name of the task storage of a policy; `own`: its [`digest`](super::digest).
pub(crate) fn name(own: &str) -> String {
    format!("tg_priv_{own}")
}

/// The maps of the policy whose storage has this name.
pub(super) fn maps(name: &str) -> Vec<Wanted> {
    vec![Wanted::new(name, Shape::Tasks, at::SIZE as u32)]
}

/// The programs, in the order in which they are to be attached and run.
pub(super) fn followers(storage: &str, btf: &Btf) -> Result<Vec<Follower>, Error> {
    let follower = |name,
                    hook,
                    body: fn(Emitter<'_>, MapRef) -> Result<Function, Error>|
     -> Result<Follower, Error> {
        let mut module = Module::new(name);
        let records = module.map(storage);
        let main = module.declare(name, 1);
        let emitter = Emitter::new(name, 1, btf, &mut module);
        module.define(main, body(emitter, records)?);
        Ok(Follower { hook, module })
    };
    Ok(vec![
        follower("tg_priv_exec", Hook::Tracepoint("sched_process_exec"), exec)?,
        follower("tg_priv_fork", Hook::Tracepoint("sched_process_fork"), fork)?,
        follower("tg_priv_tasks", Hook::Tasks, scan)?,
    ])
}

/// A record of the task as it is, on the stack.
fn present(e: &mut Emitter<'_>, task: Value) -> Result<Value, Error> {
    let slot = e.b.slot(at::SIZE as u32, 8);
    let record = e.b.slot_addr(slot, 0);
    privileges::store_namespaces(&mut e.b, &e.read, Base::Typed(task), record)?;
    privileges::store_capabilities(&mut e.b, &e.read, Base::Typed(task), record)?;
    Ok(record)
}

/// `sched_process_fork`, of threads as well: what it begins with.
fn fork(mut e: Emitter<'_>, records: MapRef) -> Result<Function, Error> {
    let context = e.b.param(0);
    let child = e.b.load(Size::U64, context, 8);
    let record = present(&mut e, child)?;
    e.create(records, child, record);
    e.finish()
}

/// `sched_process_exec`: what the new image begins with.
fn exec(mut e: Emitter<'_>, records: MapRef) -> Result<Function, Error> {
    let context = e.b.param(0);
    let task = e.b.load(Size::U64, context, 0);
    let record = present(&mut e, task)?;
    let stored = e.create(records, task, record);
    return_if(&mut e.b, Cond::Eq, stored, 0, 0);
    for offset in (0..at::SIZE).step_by(8) {
        let word = e.b.load(Size::U64, record, offset);
        e.b.store(Size::U64, stored, offset, word);
    }
    e.finish()
}

/// The task iterator: whoever has no record gets one.
fn scan(mut e: Emitter<'_>, records: MapRef) -> Result<Function, Error> {
    let task = e.iterated()?;
    let record = present(&mut e, task)?;
    e.create(records, task, record);
    e.finish()
}
