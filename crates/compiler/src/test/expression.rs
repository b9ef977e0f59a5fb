//! CelExpr: conditions over arguments that are integers or texts.
//!
//! Every argument that is named is read first: when one cannot be, the condition is unknown, also where
//! the rest decides already. After that nothing has effects, so `&&`, `||` and `?:` are branches. Numbers
//! are kept extended to 64 bits as their type says, and arithmetic wraps in the type. Texts are read into
//! the record, as for all filters on texts.

use super::integer::size;
use super::ranges::constant;
use super::text;
use crate::Error;
use crate::emit::record::Position;
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
    for position in texts(condition) {
        let input = input(hook, position)?;
        if input.kind.kind() != ValueKind::Text {
            let place = &hook.place.path;
            return Err(Error::Unsupported(format!("{place}: arg{position} is no text")));
        }
        e.text(Position::Argument(position), input, to.unknown)?;
    }
    let Targets { yes, no, unknown } = to;
    branch(&mut Compiler { e, hook, values, unknown }, condition, yes, no)
}

fn input(hook: &HookPlan, position: usize) -> Result<&Input, Error> {
    hook.args.get(position).ok_or_else(|| {
        Error::Unsupported(format!("{}: there is no arg{position}", hook.place.path))
    })
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
    if let Expression::Compare(position, _) = expression {
        named.insert(*position);
    }
    named
}

struct Compiler<'a, 'k> {
    e: &'a mut Emitter<'k>,
    hook: &'a HookPlan,
    values: BTreeMap<usize, Value>,
    unknown: Block,
}

/// An expression that is not of the type that its place wants; the policy's check does not make one.
fn mistyped(expression: &Expression) -> Error {
    Error::Unsupported(format!("in an expression: {expression:?}"))
}

/// Goes to `yes` or `no`, as the condition says.
fn branch(
    c: &mut Compiler<'_, '_>,
    condition: &Expression,
    yes: Block,
    no: Block,
) -> Result<(), Error> {
    match condition {
        Expression::Bool(true) => c.e.b.jump(yes, &[]),
        Expression::Bool(false) => c.e.b.jump(no, &[]),
        Expression::Not(operand) => branch(c, operand, no, yes)?,
        Expression::Choose(which, chosen, other) => {
            let (first, second) = (c.e.b.create_block(), c.e.b.create_block());
            branch(c, which, first, second)?;
            c.e.b.switch_to(first);
            branch(c, chosen, yes, no)?;
            c.e.b.switch_to(second);
            branch(c, other, yes, no)?;
        }
        Expression::Compare(position, comparison) => {
            let input = input(c.hook, *position)?;
            let read = c.e.text(Position::Argument(*position), input, c.unknown)?;
            let to = Targets { yes, no, unknown: c.unknown };
            text::compare(c.e, read, comparison, to)?;
        }
        Expression::Binary(operation, left, right) => match (operation, left.ty()) {
            (_, Type::Text) => return Err(mistyped(condition)),
            (_, Type::Integer(width)) => {
                let cond = comparison(*operation, width).ok_or_else(|| mistyped(condition))?;
                let left = number(c, left)?;
                let right = number(c, right)?;
                c.e.b.brif(cond, left, right, yes, no);
            }
            (Operation::And, Type::Bool) => {
                let both = c.e.b.create_block();
                branch(c, left, both, no)?;
                c.e.b.switch_to(both);
                branch(c, right, yes, no)?;
            }
            (Operation::Or, Type::Bool) => {
                let neither = c.e.b.create_block();
                branch(c, left, yes, neither)?;
                c.e.b.switch_to(neither);
                branch(c, right, yes, no)?;
            }
            (operation, Type::Bool) => {
                let (same, different) = match operation {
                    Operation::Equal => (yes, no),
                    Operation::NotEqual | Operation::Xor => (no, yes),
                    _ => return Err(mistyped(condition)),
                };
                let left = truth(c, left)?;
                let right = truth(c, right)?;
                c.e.b.brif(Cond::Eq, left, right, same, different);
            }
        },
        _ => return Err(mistyped(condition)),
    }
    Ok(())
}

/// The condition as 0 or 1.
fn truth(c: &mut Compiler<'_, '_>, condition: &Expression) -> Result<Value, Error> {
    let [yes, no, done] = [(); 3].map(|()| c.e.b.create_block());
    let truth = c.e.b.append_param(done);
    branch(c, condition, yes, no)?;
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

/// The number that an expression gives.
fn number(c: &mut Compiler<'_, '_>, expression: &Expression) -> Result<Value, Error> {
    let Type::Integer(width) = expression.ty() else { return Err(mistyped(expression)) };
    let wrap = |c: &mut Compiler<'_, '_>, value| extend(c.e, value, size(width), width.signed);
    Ok(match expression {
        Expression::Literal(value, _) => c.e.b.iconst(*value as i64),
        Expression::Argument(position, _) => {
            *c.values.get(position).ok_or_else(|| mistyped(expression))?
        }
        Expression::Convert(operand, _) => {
            let value = number(c, operand)?;
            wrap(c, value)
        }
        Expression::Choose(which, chosen, other) => {
            let [first, second, done] = [(); 3].map(|()| c.e.b.create_block());
            let given = c.e.b.append_param(done);
            branch(c, which, first, second)?;
            for (block, one) in [(first, chosen), (second, other)] {
                c.e.b.switch_to(block);
                let value = number(c, one)?;
                c.e.b.jump(done, &[value]);
            }
            c.e.b.switch_to(done);
            given
        }
        Expression::Negate(operand) => {
            let value = number(c, operand)?;
            let value = c.e.b.neg(value);
            wrap(c, value)
        }
        Expression::Binary(operation, left, right) => {
            let left = number(c, left)?;
            let right = match &**right {
                Expression::Literal(value, _) => constant(c.e, *value),
                right => number(c, right)?.into(),
            };
            let value = match operation {
                Operation::Add => c.e.b.add(left, right),
                Operation::Subtract => c.e.b.sub(left, right),
                _ => return Err(mistyped(expression)),
            };
            wrap(c, value)
        }
        _ => return Err(mistyped(expression)),
    })
}
