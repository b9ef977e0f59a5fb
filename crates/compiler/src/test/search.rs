//! Whether a text contains one of some values: tried at every place, by a `bpf_loop` callback made for
//! the values. Kernels have functions for this only since 6.17 (`bpf_strnstr`); this works on all.

use super::text::word;
use crate::Error;
use crate::emit::record::Bytes;
use crate::emit::scratch::{PLACE_MASK, TEXT_MAX};
use crate::emit::{Emitter, Targets};
use crate::helper;
use ebpf::{AluOp, Cond, Function, FunctionBuilder, Operand, Size, Value};

/// What the callback works on.
mod at {
    /// The text (pointer).
    pub(super) const START: i16 = 0;
    /// Its length (u64).
    pub(super) const LENGTH: i16 = 8;
    /// Set when a value was found (u64).
    pub(super) const FOUND: i16 = 16;
    /// Size.
    pub(super) const SIZE: u32 = 24;
}

/// Goes to `yes` when the text contains one of the values, else to `no`.
pub(crate) fn contains(
    e: &mut Emitter<'_>,
    text: Bytes,
    values: &[Vec<u8>],
    ignoring_case: bool,
    to: Targets,
) -> Result<(), Error> {
    let mut values: Vec<Vec<u8>> =
        values.iter().filter(|value| value.len() <= TEXT_MAX as usize).cloned().collect();
    if ignoring_case {
        values.iter_mut().for_each(|value| value.make_ascii_lowercase());
    }
    values.sort();
    values.dedup();
    let Some(shortest) = values.iter().map(Vec::len).min() else {
        e.b.jump(to.no, &[]);
        return Ok(());
    };
    e.require(Cond::Uge, text.length, shortest as i32, to.no);
    let search = e.function("tg_search", step(&values, ignoring_case)?);
    let b = &mut e.b;
    let state = b.temporary(at::SIZE, 8);
    b.slot_store(Size::U64, state, at::START, text.start);
    b.slot_store(Size::U64, state, at::LENGTH, text.length);
    b.slot_store(Size::U64, state, at::FOUND, 0);
    let places = b.sub(text.length, shortest as i32 - 1);
    let search = b.func_addr(search);
    let state_at = b.slot_addr(state, 0);
    let flags = b.iconst(0);
    b.call(helper::LOOP, &[places, search, state_at, flags]);
    let found = b.slot_load(Size::U64, state, at::FOUND);
    b.brif(Cond::Ne, found, 0, to.yes, to.no);
    Ok(())
}

/// The callback: tries all values at one place. Gives 1, to stop, when one is there.
fn step(values: &[Vec<u8>], ignoring_case: bool) -> Result<Function, Error> {
    let mut b = FunctionBuilder::new("tg_search", 2);
    let place = b.param(0);
    let state = b.param(1);
    let start = b.load(Size::U64, state, at::START);
    let length = b.load(Size::U64, state, at::LENGTH);
    let rest = b.sub(length, place);
    let place = b.and(place, PLACE_MASK);
    let here = b.add(start, place);
    let head = b.load(Size::U64, here, 0);
    let head = if ignoring_case { lower(&mut b, head) } else { head };
    for value in values {
        let next = b.create_block();
        // The first word, or the part of it that the value has.
        let used = value.len().min(8);
        let mut first = [0; 8];
        first[..used].copy_from_slice(&value[..used]);
        let mut mask = [0; 8];
        mask[..used].fill(0xff);
        let found = if used == 8 {
            head
        } else {
            let mask = b.iconst(u64::from_ne_bytes(mask) as i64);
            b.and(head, mask)
        };
        let first = operand(&mut b, u64::from_ne_bytes(first));
        go_on(&mut b, Cond::Eq, found, first, next);
        go_on(&mut b, Cond::Uge, rest, Operand::Imm(value.len() as i32), next);
        let mut at = used;
        while let Some((size, expected)) = word(value, at) {
            let found = b.load(size, here, at as i16);
            let found = if ignoring_case { lower(&mut b, found) } else { found };
            let expected = operand(&mut b, expected);
            go_on(&mut b, Cond::Eq, found, expected, next);
            at += size.bytes() as usize;
        }
        b.store(Size::U64, state, at::FOUND, 1);
        b.ret(1);
        b.switch_to(next);
    }
    b.ret(0);
    Ok(b.finish()?)
}

/// Goes on here when the comparison holds, else at `otherwise`.
fn go_on(b: &mut FunctionBuilder, cond: Cond, left: Value, right: Operand, otherwise: ebpf::Block) {
    let on = b.create_block();
    b.brif(cond, left, right, on, otherwise);
    b.switch_to(on);
}

fn operand(b: &mut FunctionBuilder, word: u64) -> Operand {
    match i32::try_from(word as i64) {
        Ok(small) => Operand::Imm(small),
        Err(_) => Operand::Value(b.iconst(word as i64)),
    }
}

/// Eight bytes with ASCII letters in lower case: bytes from `A` to `Z` get the bit 0x20.
fn lower(b: &mut FunctionBuilder, word: Value) -> Value {
    let every = |byte: u8| i64::from_ne_bytes([byte; 8]);
    let low = b.iconst(every(0x7f));
    let low = b.and(word, low);
    // The top bit of each byte of the sums says whether it is at least `A`, and more than `Z`.
    let from_a = b.iconst(every(0x80 - b'A'));
    let from_a = b.add(low, from_a);
    let above_z = b.iconst(every(0x7f - b'Z'));
    let above_z = b.add(low, above_z);
    let letter = b.xor(from_a, above_z);
    let top = b.iconst(every(0x80));
    let ascii = b.alu(AluOp::Xor, word, top);
    let letter = b.and(letter, ascii);
    let letter = b.and(letter, top);
    let bit = b.lshr(letter, 2);
    b.or(word, bit)
}
