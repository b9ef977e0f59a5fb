//! Whether a text contains one of some values: tried at every place, by a `bpf_loop` callback made for
//! the values, which tries several places at a time. Kernels have functions for this only since 6.17
//! (`bpf_strnstr`); this works on all, and is no slower.

use super::text::word;
use crate::Error;
use crate::emit::record::Bytes;
use crate::emit::scratch::{PLACE_MASK, TEXT_MAX};
use crate::emit::{Emitter, Targets};
use crate::helper;
use ebpf::{AluOp, Block, Cond, Function, FunctionBuilder, Operand, Size, Value};

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
    let stride = stride(&values);
    let state = b.temporary(at::SIZE, 8);
    b.slot_store(Size::U64, state, at::START, text.start);
    b.slot_store(Size::U64, state, at::LENGTH, text.length);
    b.slot_store(Size::U64, state, at::FOUND, 0);
    let places = b.sub(text.length, shortest as i32 - 1);
    let steps = b.add(places, stride - 1);
    let steps = b.lshr(steps, stride.trailing_zeros() as i32);
    let search = b.func_addr(search);
    let state_at = b.slot_addr(state, 0);
    let flags = b.iconst(0);
    b.call(helper::LOOP, &[steps, search, state_at, flags]);
    let found = b.slot_load(Size::U64, state, at::FOUND);
    b.brif(Cond::Ne, found, 0, to.yes, to.no);
    Ok(())
}

/// How many places one step tries: a power of two. Few where there are many values: the verifier takes much
/// longer for long callbacks.
fn stride(values: &[Vec<u8>]) -> i32 {
    match values.len() {
        0..=1 => 8,
        2 => 4,
        3..=4 => 2,
        _ => 1,
    }
}

/// The callback: tries all values at a few places. Gives 1, to stop, when one is there.
fn step(values: &[Vec<u8>], ignoring_case: bool) -> Result<Function, Error> {
    let stride = stride(values);
    let mut b = FunctionBuilder::new("tg_search", 2);
    let place = b.param(0);
    let place = b.shl(place, stride.trailing_zeros() as i32);
    let state = b.param(1);
    let start = b.load(Size::U64, state, at::START);
    let length = b.load(Size::U64, state, at::LENGTH);
    let rest = b.sub(length, place);
    let place = b.and(place, PLACE_MASK);
    let here = b.add(start, place);
    let found = b.create_block();
    for after in 0..stride {
        at_place(&mut b, values, ignoring_case, Place { here, rest, after }, found);
    }
    b.ret(0);
    b.switch_to(found);
    b.store(Size::U64, state, at::FOUND, 1);
    b.ret(1);
    Ok(b.finish()?)
}

/// A place in the text.
#[derive(Clone, Copy)]
struct Place {
    /// Where the step begins.
    here: Value,
    /// How many bytes there are from there on.
    rest: Value,
    /// How far behind it the place is.
    after: i32,
}

/// Tries all values at one place; goes to `found` when one is there.
fn at_place(
    b: &mut FunctionBuilder,
    values: &[Vec<u8>],
    ignoring_case: bool,
    place: Place,
    found: Block,
) {
    let Place { here, rest, after } = place;
    let head = b.load(Size::U64, here, after as i16);
    let head = if ignoring_case { lower(b, head) } else { head };
    for value in values {
        let next = b.create_block();
        // The first word, or the part of it that the value has.
        let used = value.len().min(8);
        let mut first = [0; 8];
        first[..used].copy_from_slice(&value[..used]);
        let mut mask = [0; 8];
        mask[..used].fill(0xff);
        let there = if used == 8 {
            head
        } else {
            let mask = b.iconst(u64::from_ne_bytes(mask) as i64);
            b.and(head, mask)
        };
        let first = operand(b, u64::from_ne_bytes(first));
        go_on(b, Cond::Eq, there, first, next);
        go_on(b, Cond::Uge, rest, Operand::Imm(value.len() as i32 + after), next);
        let mut at = used;
        while let Some((size, expected)) = word(value, at) {
            let there = b.load(size, here, (at + after as usize) as i16);
            let there = if ignoring_case { lower(b, there) } else { there };
            let expected = operand(b, expected);
            go_on(b, Cond::Eq, there, expected, next);
            at += size.bytes() as usize;
        }
        b.jump(found, &[]);
        b.switch_to(next);
    }
}

/// Goes on here when the comparison holds, else at `otherwise`.
fn go_on(b: &mut FunctionBuilder, cond: Cond, left: Value, right: Operand, otherwise: Block) {
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
