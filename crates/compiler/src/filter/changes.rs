//! matchNamespaceChanges and matchCapabilityChanges, against what
//! [`privileges`](crate::follow::privileges) has recorded. A selector that matches records what it saw
//! ([`recorded`]), so a change is told once.

use super::namespaces::outside_host_user_namespace;
use super::privileges;
use crate::Error;
use crate::base::state;
use crate::emit::Emitter;
use crate::follow::privileges::{at, name};
use crate::read::Base;
use ebpf::{Block, Cond, Size, Value};
use policy::checked::{CapabilityFilter, NamespaceChange, Selector};
use policy::document::NamespaceKind;

/// In: a namespace of one of these kinds has changed; NotIn: one of another kind has.
pub(crate) fn namespace_changes(
    e: &mut Emitter<'_>,
    filter: &NamespaceChange,
    otherwise: Block,
) -> Result<(), Error> {
    let (task, record) = record(e, otherwise);
    let changed = e.b.create_block();
    for &kind in NamespaceKind::ALL {
        if filter.kinds.contains(&kind) == filter.negated {
            continue;
        }
        let now = privileges::namespace(&mut e.b, &e.read, Base::Typed(task), kind)?;
        let Some(now) = now else { continue };
        let before = e.b.load(Size::U32, record, at::namespace(kind));
        let same = e.b.create_block();
        e.require(Cond::Ne, now, 0, same);
        e.require(Cond::Ne, before, 0, same);
        e.b.brif(Cond::Ne, now, before, changed, same);
        e.b.switch_to(same);
    }
    e.b.jump(otherwise, &[]);
    e.b.switch_to(changed);
    Ok(())
}

/// In: one of these capabilities came or went; NotIn: others did, and none of these.
pub(crate) fn capability_changes(
    e: &mut Emitter<'_>,
    filter: &CapabilityFilter,
    otherwise: Block,
) -> Result<(), Error> {
    if filter.outside_host_user_namespace {
        outside_host_user_namespace(e, otherwise)?;
    }
    let (task, record) = record(e, otherwise);
    let now = privileges::capabilities(&mut e.b, &e.read, Base::Typed(task), filter.set)?;
    let before = e.b.load(Size::U64, record, at::capabilities(filter.set));
    let changed = e.b.xor(before, now);
    e.require(Cond::Ne, changed, 0, otherwise);
    let mask = e.b.iconst(filter.mask.cast_signed());
    let listed = e.b.and(changed, mask);
    let cond = if filter.negated { Cond::Eq } else { Cond::Ne };
    e.require(cond, listed, 0, otherwise);
    Ok(())
}

/// A selector has matched: what it asked to have changed is recorded as it is now.
pub(crate) fn recorded(e: &mut Emitter<'_>, selector: &Selector) -> Result<(), Error> {
    if selector.namespace_changes.is_empty() && selector.capability_changes.is_empty() {
        return Ok(());
    }
    let done = e.b.create_block();
    let (task, record) = record(e, done);
    let task = Base::Typed(task);
    if !selector.namespace_changes.is_empty() {
        privileges::store_namespaces(&mut e.b, &e.read, task, record)?;
    }
    if !selector.capability_changes.is_empty() {
        privileges::store_capabilities(&mut e.b, &e.read, task, record)?;
    }
    e.b.jump(done, &[]);
    e.b.switch_to(done);
    Ok(())
}

/// The current thread and its record.
fn record(e: &mut Emitter<'_>, otherwise: Block) -> (Value, Value) {
    let name = name(e.own);
    let records = e.kept(&name);
    let task = e.current();
    let record = state::lookup(&mut e.b, records, task, false);
    e.require(Cond::Ne, record, 0, otherwise);
    (task, record)
}
