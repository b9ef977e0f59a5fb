//! CelExpr: conditions over arguments that are integers, texts or have a path.
//!
//! Every argument that is named is read first: when one cannot be, the condition is unknown, also where
//! the rest decides already. After that nothing has effects, so `&&`, `||` and `?:` are branches. Numbers
//! are kept extended to 64 bits as their type says. Texts are read into the record, as for all filters on
//! texts; of paths that are longer than what is captured nothing is known.
//!
//! What has no value (a product that does not fit) goes to `unknown`. Where the left side of `&&` or `||`
//! does, the right side may still decide: it is told so by a parameter of its block.

use super::arithmetic;
use super::integer::size;
use super::ranges::constant;
use super::text;
use crate::Error;
use crate::emit::record::{Bytes, Position};
use crate::emit::{Emitter, Targets};
use crate::plan::{HookPlan, Input};
use crate::value::integer::extend;
use ebpf::{Block, Cond, Value};
use policy::checked::{Expression, Operation, Type, ValueKind, Width};
use std::collections::{BTreeMap, BTreeSet};

/// Tests a condition.
pub(crate) fn test(
    e: &mut Emitter<'_>,
    hook: &HookPlan,
    condition: &Expression,
    to: Targets,
) -> Result<(), Error> {
    let mut named = BTreeMap::new();
    integers(condition, &mut named);
    let fault = e.fault_to(to.unknown);
    let mut values = BTreeMap::new();
    for (position, width) in named {
        let value = e.load(input(hook, position)?, fault)?.value;
        values.insert(position, extend(e, value, size(width), width.signed));
    }
    let unread = to.unknown;
    for position in texts(condition) {
        read(e, hook, position, unread)?;
    }
    branch(&mut Compiler { e, hook, values, unread }, condition, to)
}

fn input(hook: &HookPlan, position: usize) -> Result<&Input, Error> {
    hook.args.get(position).ok_or_else(|| {
        Error::Unsupported(format!("{}: there is no arg{position}", hook.place.path))
    })
}

/// The text at a position of `args`. Goes to `unknown` when it cannot be read.
fn read(
    e: &mut Emitter<'_>,
    hook: &HookPlan,
    position: usize,
    unknown: Block,
) -> Result<Bytes, Error> {
    let input = input(hook, position)?;
    let at = Position::Argument(position);
    match input.kind.kind() {
        ValueKind::Text | ValueKind::UnixAddress => e.text(at, input, unknown),
        ValueKind::Path | ValueKind::File => e.whole_path(at, input, unknown),
        _ => {
            let place = &hook.place.path;
            Err(Error::Unsupported(format!("{place}: arg{position} is no text")))
        }
    }
}

/// Collects the integers that an expression names.
fn integers(expression: &Expression, named: &mut BTreeMap<usize, Width>) {
    if let Expression::Argument(position, width) = expression {
        named.insert(*position, *width);
    }
    for operand in expression.operands() {
        integers(operand, named);
    }
}

/// The texts that an expression names, by their positions in `args`.
pub(crate) fn texts(expression: &Expression) -> BTreeSet<usize> {
    let mut named: BTreeSet<usize> = expression.operands().into_iter().flat_map(texts).collect();
    if let Expression::Compare(position, _) | Expression::Size(position) = expression {
        named.insert(*position);
    }
    named
}

struct Compiler<'a, 'k> {
    e: &'a mut Emitter<'k>,
    hook: &'a HookPlan,
    values: BTreeMap<usize, Value>,
    /// Where to go when a text cannot be read, which was asked before.
    unread: Block,
}

/// An expression that is not of the type that its place wants; the policy's check does not make one.
fn mistyped(expression: &Expression) -> Error {
    Error::Unsupported(format!("in an expression: {expression:?}"))
}

/// Goes to `yes`, `no` or `unknown`, as the condition says.
fn branch(c: &mut Compiler<'_, '_>, condition: &Expression, to: Targets) -> Result<(), Error> {
    match condition {
        Expression::Bool(true) => c.e.b.jump(to.yes, &[]),
        Expression::Bool(false) => c.e.b.jump(to.no, &[]),
        Expression::Not(operand) => branch(c, operand, to.negated(true))?,
        Expression::Choose(which, chosen, other) => {
            let (yes, no) = (c.e.b.create_block(), c.e.b.create_block());
            branch(c, which, Targets { yes, no, ..to })?;
            c.e.b.switch_to(yes);
            branch(c, chosen, to)?;
            c.e.b.switch_to(no);
            branch(c, other, to)?;
        }
        Expression::Compare(position, comparison) => {
            let read = read(c.e, c.hook, *position, c.unread)?;
            text::compare(c.e, read, comparison, to)?;
        }
        Expression::Binary(operation, left, right) => match (operation, left.ty()) {
            (_, Type::Text) => return Err(mistyped(condition)),
            (_, Type::Integer(width)) => {
                let cond = comparison(*operation, width).ok_or_else(|| mistyped(condition))?;
                let left = number(c, left, to.unknown)?;
                let right = number(c, right, to.unknown)?;
                c.e.b.brif(cond, left, right, to.yes, to.no);
            }
            (Operation::And | Operation::Or, Type::Bool) => {
                let decides = *operation == Operation::Or;
                junction(c, decides, [left, right], to)?;
            }
            (operation, Type::Bool) => {
                let (same, different) = match operation {
                    Operation::Equal => (to.yes, to.no),
                    Operation::NotEqual | Operation::Xor => (to.no, to.yes),
                    _ => return Err(mistyped(condition)),
                };
                let left = truth(c, left, to.unknown)?;
                let right = truth(c, right, to.unknown)?;
                c.e.b.brif(Cond::Eq, left, right, same, different);
            }
        },
        _ => return Err(mistyped(condition)),
    }
    Ok(())
}
/// Two conditions of which one that is `decides` is enough for the whole to be that.
fn junction(
    c: &mut Compiler<'_, '_>,
    decides: bool,
    [left, right]: [&Expression; 2],
    to: Targets,
) -> Result<(), Error> {
    let target = |decided, open, unknown| match decides {
        true => Targets { yes: decided, no: open, unknown },
        false => Targets { yes: open, no: decided, unknown },
    };
    let (decided, open) = if decides { (to.yes, to.no) } else { (to.no, to.yes) };
    let second = c.e.b.create_block();
    if !left.can_fail() {
        branch(c, left, target(decided, second, to.unknown))?;
        c.e.b.switch_to(second);
        return branch(c, right, target(decided, open, to.unknown));
    }
    let left_failed = c.e.b.append_param(second);
    let [went_well, failed, last] = [(); 3].map(|()| c.e.b.create_block());
    branch(c, left, target(decided, went_well, failed))?;
    for (block, flag) in [(went_well, 0), (failed, 1)] {
        c.e.b.switch_to(block);
        let flag = c.e.b.iconst(flag);
        c.e.b.jump(second, &[flag]);
    }
    c.e.b.switch_to(second);
    branch(c, right, target(decided, last, to.unknown))?;
    c.e.b.switch_to(last);
    c.e.b.brif(Cond::Ne, left_failed, 0, to.unknown, open);
    Ok(())
}

/// The condition as 0 or 1.
fn truth(c: &mut Compiler<'_, '_>, condition: &Expression, unknown: Block) -> Result<Value, Error> {
    let [yes, no, done] = [(); 3].map(|()| c.e.b.create_block());
    let truth = c.e.b.append_param(done);
    branch(c, condition, Targets { yes, no, unknown })?;
    for (block, value) in [(yes, 1), (no, 0)] {
        c.e.b.switch_to(block);
        let value = c.e.b.iconst(value);
        c.e.b.jump(done, &[value]);
    }
    c.e.b.switch_to(done);
    Ok(truth)
}

fn comparison(operation: Operation, width: Width) -> Option<Cond> {
    Some(match (operation, width.signed) {
        (Operation::Equal, _) => Cond::Eq,
        (Operation::NotEqual, _) => Cond::Ne,
        (Operation::Less, true) => Cond::Slt,
        (Operation::Less, false) => Cond::Ult,
        (Operation::LessOrEqual, true) => Cond::Sle,
        (Operation::LessOrEqual, false) => Cond::Ule,
        (Operation::Greater, true) => Cond::Sgt,
        (Operation::Greater, false) => Cond::Ugt,
        (Operation::GreaterOrEqual, true) => Cond::Sge,
        (Operation::GreaterOrEqual, false) => Cond::Uge,
        _ => return None,
    })
}

/// The number that an expression gives. Goes to `unknown` where it gives none.
fn number(
    c: &mut Compiler<'_, '_>,
    expression: &Expression,
    unknown: Block,
) -> Result<Value, Error> {
    let Type::Integer(width) = expression.ty() else { return Err(mistyped(expression)) };
    let wrap = |c: &mut Compiler<'_, '_>, value| extend(c.e, value, size(width), width.signed);
    Ok(match expression {
        Expression::Literal(value, _) => c.e.b.iconst(*value as i64),
        Expression::Argument(position, _) => {
            *c.values.get(position).ok_or_else(|| mistyped(expression))?
        }
        Expression::Size(position) => read(c.e, c.hook, *position, c.unread)?.length,
        Expression::Convert(operand, _) => {
            let value = number(c, operand, unknown)?;
            wrap(c, value)
        }
        Expression::Choose(which, chosen, other) => {
            let [yes, no, done] = [(); 3].map(|()| c.e.b.create_block());
            let given = c.e.b.append_param(done);
            branch(c, which, Targets { yes, no, unknown })?;
            for (block, one) in [(yes, chosen), (no, other)] {
                c.e.b.switch_to(block);
                let value = number(c, one, unknown)?;
                c.e.b.jump(done, &[value]);
            }
            c.e.b.switch_to(done);
            given
        }
        Expression::Negate(operand) => {
            let value = number(c, operand, unknown)?;
            let value = c.e.b.neg(value);
            wrap(c, value)
        }
        Expression::Binary(operation @ (Operation::Add | Operation::Subtract), left, right) => {
            let left = number(c, left, unknown)?;
            let right = match &**right {
                Expression::Literal(value, _) => constant(c.e, *value),
                right => number(c, right, unknown)?.into(),
            };
            let value = match operation {
                Operation::Add => c.e.b.add(left, right),
                _ => c.e.b.sub(left, right),
            };
            wrap(c, value)
        }
        Expression::Binary(operation, left, right) => {
            let sides = [number(c, left, unknown)?, number(c, right, unknown)?];
            match operation {
                Operation::Multiply => arithmetic::product(c.e, sides, width, unknown),
                Operation::Divide => arithmetic::quotient(c.e, sides, width, unknown),
                Operation::Remainder => arithmetic::remainder(c.e, sides, width, unknown),
                _ => return Err(mistyped(expression)),
            }
        }
        _ => return Err(mistyped(expression)),
    })
}
