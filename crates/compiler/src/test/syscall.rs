//! Tests of system calls by number and by list.
//!
//! A number is that of the caller's ABI, with bit 31 set for 32-bit ABIs. A list's member with an ABI is
//! the call of that ABI, one without is that of the machine's own; calls that this machine does not
//! have are never made.

use super::ranges;
use crate::emit::{Emitter, Targets};
use crate::plan::{Input, abi};
use crate::value::syscall::COMPAT;
use crate::{Error, Machine};
use policy::checked::{List, Members};
use std::ops::RangeInclusive;

/// Tests whether a system call is one of these numbers or in one of these lists.
pub(crate) fn test(
    e: &mut Emitter<'_>,
    input: &Input,
    numbers: &[RangeInclusive<i128>],
    lists: &[String],
    to: Targets,
) -> Result<(), Error> {
    let fault = e.fault_to(to.unknown);
    let value = e.load(input, fault)?.value;
    let value = e.syscall_number(value)?;
    let mut all = numbers.to_vec();
    for name in lists {
        let list = e.policy.list(name).ok_or_else(|| {
            Error::Unsupported(format!("{}: there is no list `{name}`", input.place.path))
        })?;
        all.extend(members(list, e.machine).map(|number| i128::from(number)..=i128::from(number)));
    }
    ranges::within(e, value, false, &all, to.yes, to.no);
    Ok(())
}

/// The numbers of a list's members on a machine.
fn members(list: &List, machine: &Machine) -> impl Iterator<Item = u32> {
    let own = machine.abi();
    let numbers: Vec<u32> = match (&list.members, own) {
        (Members::Syscalls(names), Some(own)) => names
            .iter()
            .filter_map(|call| {
                let abi = call.abi.map_or(own, abi);
                let bit = match abi {
                    _ if abi == own => 0,
                    _ if abi == own.compat() => COMPAT,
                    _ => return None,
                };
                Some(abi.number(&call.name)? | bit)
            })
            .collect(),
        (Members::AllSyscalls, Some(own)) => own.iter().map(|(number, _)| number).collect(),
        // Lists of functions have no system calls; the policy's check refuses them.
        _ => Vec::new(),
    };
    numbers.into_iter()
}
