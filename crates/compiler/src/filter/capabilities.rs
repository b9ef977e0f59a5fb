//! matchCapabilities. In: one of the capabilities is in the set; NotIn: none is. With
//! `isNamespaceCapability` both hold only outside of the host's user namespace.

use super::namespaces::outside_host_user_namespace;
use super::privileges;
use crate::Error;
use crate::emit::Emitter;
use crate::read::Base;
use ebpf::{Block, Cond};
use policy::checked::CapabilityFilter;

pub(crate) fn capabilities(
    e: &mut Emitter<'_>,
    filter: &CapabilityFilter,
    otherwise: Block,
) -> Result<(), Error> {
    if filter.outside_host_user_namespace {
        outside_host_user_namespace(e, otherwise)?;
    }
    let task = e.current();
    let held = privileges::capabilities(&mut e.b, &e.read, Base::Typed(task), filter.set)?;
    let mask = e.b.iconst(filter.mask.cast_signed());
    let common = e.b.and(held, mask);
    let cond = if filter.negated { Cond::Eq } else { Cond::Ne };
    e.require(cond, common, 0, otherwise);
    Ok(())
}
