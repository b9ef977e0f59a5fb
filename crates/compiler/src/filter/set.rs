//! Whether a 32-bit number is one of several, by immediates: long lists are halved, short ones tried
//! one by one.

use ebpf::{Block, Cond, FunctionBuilder, Value};

/// Up to this many are tried one by one.
const FEW: usize = 4;

/// Goes to `found` when the low 32 bits of `value` are one of `numbers`, else goes on here.
pub(crate) fn find(
    b: &mut FunctionBuilder,
    value: Value,
    numbers: impl IntoIterator<Item = u32>,
    found: Block,
) {
    let mut numbers: Vec<u32> = numbers.into_iter().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let absent = b.create_block();
    halve(b, value, &numbers, found, absent);
    b.switch_to(absent);
}

fn halve(b: &mut FunctionBuilder, value: Value, numbers: &[u32], found: Block, absent: Block) {
    if numbers.len() <= FEW {
        for &number in numbers {
            let next = b.create_block();
            b.branch32(Cond::Eq, value, number.cast_signed(), found, &[], next, &[]);
            b.switch_to(next);
        }
        b.jump(absent, &[]);
        return;
    }
    let (low, high) = numbers.split_at(numbers.len() / 2);
    let (below, above) = (b.create_block(), b.create_block());
    b.branch32(Cond::Ult, value, high[0].cast_signed(), below, &[], above, &[]);
    b.switch_to(below);
    halve(b, value, low, found, absent);
    b.switch_to(above);
    halve(b, value, high, found, absent);
}
