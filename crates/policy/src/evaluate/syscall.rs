//! System calls by number and by list.
//!
//! A number is that of the ABI's own table, with bit 31 set for 32-bit ABIs, so that one number means
//! one call. Lists name calls: a member with an ABI is the call of that ABI, one without is that of the
//! machine's own, which is the 64-bit one.

use super::truth::any;
use super::value::Value;
use crate::checked::{List, Members, SyscallAbi};
use std::ops::RangeInclusive;

impl SyscallAbi {
    /// Whether it is one of 32 bits.
    #[must_use]
    pub fn is_compat(self) -> bool {
        matches!(self, Self::I386 | Self::Arm32)
    }
}

/// Whether a system call is one of these numbers or a member of one of these lists.
pub(super) fn compare(
    numbers: &[RangeInclusive<i128>],
    names: &[String],
    lists: &[List],
    value: &Value,
) -> Option<bool> {
    let Value::Syscall { number, abi, name } = value else { return None };
    let number = i128::from(*number) | if abi.is_compat() { 1 << 31 } else { 0 };
    let numbers = numbers.iter().map(|range| Some(range.contains(&number)));
    let lists = names.iter().map(|list| {
        let list = lists.iter().find(|known| known.name == *list)?;
        member(&list.members, *abi, name.as_deref())
    });
    any(numbers.chain(lists))
}

fn member(members: &Members, abi: SyscallAbi, name: Option<&str>) -> Option<bool> {
    match members {
        Members::Syscalls(members) => Some(members.iter().any(|member| {
            member.abi.map_or(!abi.is_compat(), |of| of == abi)
                && name == Some(member.name.as_str())
        })),
        Members::AllSyscalls => Some(name.is_some() && !abi.is_compat()),
        // Lists of functions have no system calls; the check refuses them.
        Members::Functions(_) | Members::Matching(_) => None,
    }
}
