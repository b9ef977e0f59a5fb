//! matchNamespaces. In: the namespace of that kind is one of these; NotIn: none of these. On a kernel
//! without that kind neither holds, and where the host's is not known, what it would decide does not.

use super::{privileges, set};
use crate::Error;
use crate::emit::Emitter;
use crate::read::Base;
use ebpf::{Block, Cond};
use policy::checked::{NamespaceFilter, NamespaceId};
use policy::document::NamespaceKind;

pub(crate) fn namespaces(
    e: &mut Emitter<'_>,
    filter: &NamespaceFilter,
    otherwise: Block,
) -> Result<(), Error> {
    let host = e.machine.host.get(&filter.kind).copied();
    let known: Vec<u32> = filter
        .values
        .iter()
        .filter_map(|value| match value {
            NamespaceId::Host => host,
            NamespaceId::Inode(inode) => Some(*inode),
        })
        .collect();
    let all_known = known.len() == filter.values.len();
    let task = e.current();
    let own = privileges::namespace(&mut e.b, &e.read, Base::Typed(task), filter.kind)?;
    let Some(own) = own.filter(|_| all_known || !filter.negated) else {
        e.never(otherwise);
        return Ok(());
    };
    e.require(Cond::Ne, own, 0, otherwise);
    let found = e.b.create_block();
    if filter.negated {
        set::find(&mut e.b, own, known, otherwise);
    } else {
        set::find(&mut e.b, own, known, found);
        e.b.jump(otherwise, &[]);
        e.b.switch_to(found);
    }
    Ok(())
}

/// Goes on only in tasks that are in another user namespace than the host's.
pub(super) fn outside_host_user_namespace(
    e: &mut Emitter<'_>,
    otherwise: Block,
) -> Result<(), Error> {
    let Some(&host) = e.machine.host.get(&NamespaceKind::User) else {
        e.never(otherwise);
        return Ok(());
    };
    let task = e.current();
    let kind = NamespaceKind::User;
    let Some(own) = privileges::namespace(&mut e.b, &e.read, Base::Typed(task), kind)? else {
        e.never(otherwise);
        return Ok(());
    };
    e.require(Cond::Ne, own, 0, otherwise);
    set::find(&mut e.b, own, [host], otherwise);
    Ok(())
}
