//! Products, quotients and remainders in the type of their operands, which are extended to 64 bits. Where
//! there is no result that fits, as for a quotient by 0, they go to `unknown`.
//!
//! Division of signed numbers is one of their magnitudes: instructions for it came with Linux 6.6.

use crate::emit::Emitter;
use crate::flow::choose;
use crate::test::integer::size;
use crate::value::integer::extend;
use ebpf::{Block, Cond, Value};
use policy::checked::Width;

/// `a * b`
pub(super) fn product(
    e: &mut Emitter<'_>,
    [a, b]: [Value; 2],
    width: Width,
    unknown: Block,
) -> Value {
    if width.bits < 64 {
        let product = e.b.mul(a, b);
        let kept = extend(e, product, size(width), width.signed);
        e.require(Cond::Eq, kept, product, unknown);
        return product;
    }
    if !width.signed {
        return unsigned_product(e, a, b, unknown);
    }
    let (x, y) = (magnitude(e, a), magnitude(e, b));
    let product = unsigned_product(e, x, y, unknown);
    let sign = e.b.xor(a, b);
    signed(e, product, sign, unknown)
}

/// `a / b`, rounded to zero
pub(super) fn quotient(
    e: &mut Emitter<'_>,
    [a, b]: [Value; 2],
    width: Width,
    unknown: Block,
) -> Value {
    e.require(Cond::Ne, b, 0, unknown);
    if !width.signed {
        return e.b.div(a, b);
    }
    let (x, y) = (magnitude(e, a), magnitude(e, b));
    let quotient = e.b.div(x, y);
    let sign = e.b.xor(a, b);
    let quotient = signed(e, quotient, sign, unknown);
    // The least number by -1.
    let kept = extend(e, quotient, size(width), true);
    e.require(Cond::Eq, kept, quotient, unknown);
    quotient
}

/// `a % b`, with the sign of `a`; where `a / b` does not fit there is none either
pub(super) fn remainder(
    e: &mut Emitter<'_>,
    [a, b]: [Value; 2],
    width: Width,
    unknown: Block,
) -> Value {
    if !width.signed {
        e.require(Cond::Ne, b, 0, unknown);
        return e.b.rem(a, b);
    }
    let quotient = quotient(e, [a, b], width, unknown);
    let whole = e.b.mul(quotient, b);
    e.b.sub(a, whole)
}

/// The product of unsigned numbers of 64 bits.
fn unsigned_product(e: &mut Emitter<'_>, a: Value, b: Value, unknown: Block) -> Value {
    let product = e.b.mul(a, b);
    // Divided by one factor it is the other, unless it wrapped; by 0 the quotient is 0.
    let other = choose(&mut e.b, Cond::Eq, a, 0, |b| b.iconst(0), |_| b);
    let quotient = e.b.div(product, a);
    e.require(Cond::Eq, quotient, other, unknown);
    product
}

/// A number without its sign, unsigned.
fn magnitude(e: &mut Emitter<'_>, number: Value) -> Value {
    choose(&mut e.b, Cond::Slt, number, 0, |b| b.neg(number), |_| number)
}

/// A magnitude with the sign of another number.
fn signed(e: &mut Emitter<'_>, magnitude: Value, sign: Value, unknown: Block) -> Value {
    let [below, above, done] = [(); 3].map(|()| e.b.create_block());
    let number = e.b.append_param(done);
    e.b.brif(Cond::Slt, sign, 0, below, above);
    e.b.switch_to(below);
    let negative = e.b.neg(magnitude);
    // As many as there are below zero: 2^63.
    let (fits, zero) = (e.b.create_block(), e.b.create_block());
    e.b.brif(Cond::Slt, negative, 0, fits, zero);
    e.b.switch_to(zero);
    e.require(Cond::Eq, negative, 0, unknown);
    e.b.jump(fits, &[]);
    e.b.switch_to(fits);
    e.b.jump(done, &[negative]);
    e.b.switch_to(above);
    e.require(Cond::Sge, magnitude, 0, unknown);
    e.b.jump(done, &[magnitude]);
    e.b.switch_to(done);
    number
}
