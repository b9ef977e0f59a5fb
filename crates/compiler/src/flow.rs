//! Structured control flow on top of the IR builder's blocks.

use ebpf::{Cond, FunctionBuilder, Operand, Value};

/// Runs `body` when the comparison holds; goes on behind it either way.
pub(crate) fn when(
    b: &mut FunctionBuilder,
    cond: Cond,
    left: Value,
    right: impl Into<Operand>,
    body: impl FnOnce(&mut FunctionBuilder),
) {
    let then = b.create_block();
    let join = b.create_block();
    b.brif(cond, left, right, then, join);
    b.switch_to(then);
    body(b);
    b.jump(join, &[]);
    b.switch_to(join);
}

/// Runs one of two bodies and goes on behind them with the value that it gave.
pub(crate) fn choose(
    b: &mut FunctionBuilder,
    cond: Cond,
    left: Value,
    right: impl Into<Operand>,
    then: impl FnOnce(&mut FunctionBuilder) -> Value,
    otherwise: impl FnOnce(&mut FunctionBuilder) -> Value,
) -> Value {
    let on_true = b.create_block();
    let on_false = b.create_block();
    let join = b.create_block();
    let result = b.append_param(join);
    b.brif(cond, left, right, on_true, on_false);
    b.switch_to(on_true);
    let value = then(b);
    b.jump(join, &[value]);
    b.switch_to(on_false);
    let value = otherwise(b);
    b.jump(join, &[value]);
    b.switch_to(join);
    result
}

/// Returns `result` from the function when the comparison holds.
pub(crate) fn return_if(
    b: &mut FunctionBuilder,
    cond: Cond,
    left: Value,
    right: impl Into<Operand>,
    result: i32,
) {
    let leave = b.create_block();
    let stay = b.create_block();
    b.brif(cond, left, right, leave, stay);
    b.switch_to(leave);
    b.ret(result);
    b.switch_to(stay);
}
