//! The scope of a policy, and matchWorkloads: whether the current task's cgroup belongs to a workload
//! that is meant, by what [`workloads`](crate::follow::workloads) keeps. A cgroup that is in no container
//! is the host's; a container of which nothing is known is in no restriction.

use crate::Error;
use crate::emit::Emitter;
use crate::follow::scopes::Restriction;
use crate::follow::workloads::{CGROUPS, WORDS, WORKLOADS};
use crate::helper;
use crate::read::Base;
use ebpf::{Block, Cond, Size, Value};

pub(crate) fn workloads(
    e: &mut Emitter<'_>,
    restriction: &Restriction,
    otherwise: Block,
) -> Result<(), Error> {
    let task = e.current();
    let cgroup = e.scopes.cgroup.id(&mut e.b, &e.read, Base::Typed(task))?;
    e.require(Cond::Ne, cgroup, 0, otherwise);
    let number = lookup(e, CGROUPS, cgroup);
    let (on, contained) = (e.b.create_block(), e.b.create_block());
    let host = restriction.scope.host && restriction.namespace.is_none();
    let outside = if host { on } else { otherwise };
    e.b.brif(Cond::Ne, number, 0, contained, outside);
    e.b.switch_to(contained);
    let own = e.scopes.number(restriction).ok_or_else(|| {
        Error::Unsupported("a restriction to workloads that has no number".to_owned())
    })?;
    let number = e.b.load(Size::U64, number, 0);
    let set = lookup(e, WORKLOADS, number);
    e.require(Cond::Ne, set, 0, otherwise);
    // As constants, so that sections that differ in their restriction can be made one.
    let word = e.b.iconst(8 * i64::from(own / 64));
    let word = e.b.and(word, 8 * (WORDS as i32 - 1));
    let at = e.b.add(set, word);
    let word = e.b.load(Size::U64, at, 0);
    let bit = e.b.iconst((1_u64 << (own % 64)).cast_signed());
    let bit = e.b.and(word, bit);
    e.b.brif(Cond::Ne, bit, 0, on, otherwise);
    e.b.switch_to(on);
    Ok(())
}

/// The element of a map with this key of eight bytes, or null.
fn lookup(e: &mut Emitter<'_>, map: &str, key: Value) -> Value {
    let map = e.kept(map);
    let slot = e.b.slot(8, 8);
    e.b.slot_store(Size::U64, slot, 0, key);
    let map = e.b.map(map);
    let key = e.b.slot_addr(slot, 0);
    e.b.call(helper::MAP_LOOKUP_ELEM, &[map, key])
}
