//! The few instructions that probes are made of.
//!
//! Only what is needed to ask the verifier a question; programs that do something are the compiler's.

use std::os::fd::{AsFd, AsRawFd};

/// One instruction, as the kernel takes it (`struct bpf_insn`).
pub(super) type Instruction = [u8; 8];

pub(super) const R0: u8 = 0;
pub(super) const R1: u8 = 1;
pub(super) const R2: u8 = 2;
pub(super) const R3: u8 = 3;
/// Start of the stack, downwards.
pub(super) const R10: u8 = 10;

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    // `dst_reg:4, src_reg:4` is a bit field: its order in the byte follows the machine's.
    let registers = if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to };
    let mut out = [code, registers, 0, 0, 0, 0, 0, 0];
    out[2..4].copy_from_slice(&offset.to_ne_bytes());
    out[4..].copy_from_slice(&immediate.to_ne_bytes());
    out
}

/// `to = value`, 64 bits, sign-extended.
pub(super) fn set(to: u8, value: i32) -> Instruction {
    instruction(0xb7, to, 0, 0, value)
}

/// `to = from`
pub(super) fn copy(to: u8, from: u8) -> Instruction {
    instruction(0xbf, to, from, 0, 0)
}

/// `to += value`
pub(super) fn add(to: u8, value: i32) -> Instruction {
    instruction(0x07, to, 0, 0, value)
}

/// `*(u64 *)(base + offset) = value`
pub(super) fn store(base: u8, offset: i16, value: i32) -> Instruction {
    instruction(0x7a, base, 0, offset, value)
}

/// `if register == value, skip so many instructions`
pub(super) fn skip_if_equal(register: u8, value: i32, instructions: i16) -> Instruction {
    instruction(0x15, register, 0, instructions, value)
}

/// `if register != value, skip so many instructions`
pub(super) fn skip_unless_equal(register: u8, value: i32, instructions: i16) -> Instruction {
    instruction(0x55, register, 0, instructions, value)
}

/// Calls a helper.
pub(super) fn call_helper(helper: i32) -> Instruction {
    instruction(0x85, 0, 0, 0, helper)
}

/// Calls the function of this program that starts so many instructions behind the next.
pub(super) fn call_subprogram(behind_next: i32) -> Instruction {
    instruction(0x85, 0, 1, 0, behind_next)
}

/// Calls a function of the kernel by its type id.
pub(super) fn call_kernel(function: i32) -> Instruction {
    instruction(0x85, 0, 2, 0, function)
}

/// `to = map`; two instructions long.
pub(super) fn load_map(to: u8, map: impl AsFd) -> [Instruction; 2] {
    let fd = map.as_fd().as_raw_fd();
    [instruction(0x18, to, 1, 0, fd), instruction(0, 0, 0, 0, 0)]
}

/// Ends the program or function; R0 is the result.
pub(super) fn exit() -> Instruction {
    instruction(0x95, 0, 0, 0, 0)
}

/// `return 0`
pub(super) fn return_zero() -> [Instruction; 2] {
    [set(R0, 0), exit()]
}
