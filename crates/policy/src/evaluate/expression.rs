//! CelExpr: conditions over integer arguments.
//!
//! Arithmetic wraps in the width of its type. Every argument that is named has to be known, also where
//! the rest of the expression decides already: `false && arg0 == 1` cannot be told without arg0.

use super::text;
use super::value::Value;
use crate::checked::{Expression, Operation, Type, Width};

/// What an expression gives.
#[derive(Clone, Copy)]
enum Given {
    Bool(bool),
    Integer(i128),
}

/// Whether the condition holds; `None` when one of its arguments could not be read.
pub(super) fn holds(condition: &Expression, args: &[Value]) -> Option<bool> {
    match evaluate(condition, args)? {
        Given::Bool(holds) => Some(holds),
        Given::Integer(_) => None,
    }
}

fn evaluate(expression: &Expression, args: &[Value]) -> Option<Given> {
    Some(match expression {
        Expression::Bool(value) => Given::Bool(*value),
        Expression::Literal(value, _) => Given::Integer(*value),
        Expression::Argument(position, width) => match args.get(*position)? {
            Value::Integer(value) => Given::Integer(wrap(*value, *width)),
            _ => return None,
        },
        Expression::Convert(operand, width) => {
            Given::Integer(wrap(integer(operand, args)?, *width))
        }
        Expression::Choose(condition, chosen, other) => {
            let (chosen, other) = (evaluate(chosen, args)?, evaluate(other, args)?);
            if holds(condition, args)? { chosen } else { other }
        }
        Expression::Compare(position, comparison) => {
            Given::Bool(text::compare(comparison, args.get(*position)?)?)
        }
        Expression::Not(operand) => Given::Bool(!holds(operand, args)?),
        Expression::Negate(operand) => {
            let value = integer(operand, args)?;
            Given::Integer(in_type(-value, operand))
        }
        Expression::Binary(operation, left, right) => {
            match (evaluate(left, args)?, evaluate(right, args)?) {
                (Given::Integer(a), Given::Integer(b)) => of_integers(*operation, a, b, left)?,
                (Given::Bool(a), Given::Bool(b)) => Given::Bool(of_conditions(*operation, a, b)?),
                _ => return None,
            }
        }
    })
}

fn integer(expression: &Expression, args: &[Value]) -> Option<i128> {
    match evaluate(expression, args)? {
        Given::Integer(value) => Some(value),
        Given::Bool(_) => None,
    }
}

/// `None` when the operation is none on integers.
fn of_integers(operation: Operation, a: i128, b: i128, operand: &Expression) -> Option<Given> {
    Some(match operation {
        Operation::Equal => Given::Bool(a == b),
        Operation::NotEqual => Given::Bool(a != b),
        Operation::Less => Given::Bool(a < b),
        Operation::LessOrEqual => Given::Bool(a <= b),
        Operation::Greater => Given::Bool(a > b),
        Operation::GreaterOrEqual => Given::Bool(a >= b),
        Operation::Add => Given::Integer(in_type(a + b, operand)),
        Operation::Subtract => Given::Integer(in_type(a - b, operand)),
        Operation::And | Operation::Or | Operation::Xor => return None,
    })
}

/// `None` when the operation is none on conditions.
fn of_conditions(operation: Operation, a: bool, b: bool) -> Option<bool> {
    Some(match operation {
        Operation::Equal => a == b,
        Operation::NotEqual | Operation::Xor => a != b,
        Operation::And => a && b,
        Operation::Or => a || b,
        _ => return None,
    })
}

/// The value as the operand's type has it.
fn in_type(value: i128, operand: &Expression) -> i128 {
    match operand.ty() {
        Type::Integer(width) => wrap(value, width),
        Type::Bool | Type::Text => value,
    }
}

/// The value of that width and sign with the same low bits.
fn wrap(value: i128, width: Width) -> i128 {
    let low = value & ((1 << width.bits) - 1);
    if width.signed && low >> (width.bits - 1) == 1 { low - (1 << width.bits) } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::TypeName;

    #[test]
    fn arithmetic_wraps_in_its_type() {
        let kinds = [TypeName::Int, TypeName::Uint32, TypeName::Int64, TypeName::Uint64];
        let args = [i128::from(i32::MAX), 0, -1, i128::from(u64::MAX)].map(Value::Integer);
        for (text, wanted) in [
            ("arg0 + 1 < 0", true),
            ("arg0 - -1 == -2147483648", true),
            ("arg1 - 1u == 4294967295u", true),
            ("arg2 + 1 == 0", true),
            ("arg3 + 1u == 0u", true),
            ("arg3 > 9223372036854775808u", true),
            ("int32(arg2) == -1", true),
            ("uint32(arg3) == 0xffffffffu", true),
            ("-(arg0 + 1) == -2147483648", true),
            ("arg0 != 2147483647", false),
            ("arg0 >= 2147483647 && arg0 <= 2147483647", true),
            ("xor(arg0 == 1, arg1 == 0u)", true),
            ("xor(true, true) || not(true)", false),
            ("!(arg2 < 0)", false),
        ] {
            let condition = Expression::parse(text, &kinds).unwrap();
            assert_eq!(holds(&condition, &args), Some(wanted), "{text}");
        }
    }

    #[test]
    fn every_named_argument_must_be_known() {
        let kinds = [TypeName::Int, TypeName::Int];
        let args = [Value::Integer(1), Value::Fault];
        for (text, wanted) in [
            ("arg0 == 1", Some(true)),
            ("arg0 == 1 || arg1 == 1", None),
            ("arg0 == 2 && arg1 == 1", None),
            ("false && arg1 == 1", None),
            ("!(arg1 == 1)", None),
        ] {
            let condition = Expression::parse(text, &kinds).unwrap();
            assert_eq!(holds(&condition, &args), wanted, "{text}");
        }
    }
}
