//! Tests of capabilities: of sets as numbers of 64 bits, of single ones by number.

use super::integer;
use crate::Error;
use crate::emit::{Emitter, Targets};
use crate::plan::Input;
use ebpf::Cond;
use policy::checked::{Comparison, Width};

/// Tests the number of a capability.
pub(crate) fn number(
    e: &mut Emitter<'_>,
    input: &Input,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    integer::test(e, input, Width { bits: 32, signed: false }, comparison, to)
}

/// Tests a set.
pub(crate) fn set(
    e: &mut Emitter<'_>,
    input: &Input,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    let fault = e.fault_to(to.unknown);
    let loaded = e.load(input, fault)?;
    let set = e.capability_set(loaded, fault);
    integer::compare(e, set, false, comparison, to);
    Ok(())
}

/// Whether the set after has a capability that the set before lacks.
pub(crate) fn gained(
    e: &mut Emitter<'_>,
    before: &Input,
    after: &Input,
    to: Targets,
) -> Result<(), Error> {
    let fault = e.fault_to(to.unknown);
    let loaded = e.load(before, fault)?;
    let before = e.capability_set(loaded, fault);
    let loaded = e.load(after, fault)?;
    let after = e.capability_set(loaded, fault);
    let lacking = e.b.xor(before, -1);
    let gained = e.b.and(after, lacking);
    e.b.brif(Cond::Ne, gained, 0, to.yes, to.no);
    Ok(())
}
