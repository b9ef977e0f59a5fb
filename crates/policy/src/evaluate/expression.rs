//! CelExpr: conditions over arguments.
//!
//! `+` and `-` wrap in the width of their type. Every argument that is named has to be known, also where the
//! rest of the expression decides already: `false && arg0 == 1` cannot be told without arg0. What has no
//! value although they are known (a product that does not fit, a quotient by 0) is unknown, and what is made
//! of it; but one side of `&&` that does not hold decides, as does one of `||` that holds.

use super::text;
use super::value::Value;
use crate::checked::{Expression, Operation, Type, Width};

/// What an expression gives.
#[derive(Clone, Copy)]
enum Given {
    Bool(bool),
    Integer(i128),
}

/// Whether the condition holds; `None` when one of its arguments could not be read, or it has no value.
pub(super) fn holds(condition: &Expression, args: &[Value]) -> Option<bool> {
    known(condition, args)?;
    truth(condition, args)
}

/// `None` when an argument that is named is not known.
fn known(expression: &Expression, args: &[Value]) -> Option<()> {
    match expression {
        Expression::Argument(position, _) => {
            matches!(args.get(*position)?, Value::Integer(_)).then_some(())?;
        }
        Expression::Size(position) | Expression::Compare(position, _) => {
            text::size(args.get(*position)?)?;
        }
        _ => {}
    }
    expression.operands().into_iter().try_for_each(|operand| known(operand, args))
}

fn truth(condition: &Expression, args: &[Value]) -> Option<bool> {
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
        Expression::Size(position) => Given::Integer(text::size(args.get(*position)?)?),
        Expression::Convert(operand, width) => {
            Given::Integer(wrap(integer(operand, args)?, *width))
        }
        Expression::Choose(condition, chosen, other) => {
            let chosen = if truth(condition, args)? { chosen } else { other };
            evaluate(chosen, args)?
        }
        Expression::Compare(position, comparison) => {
            Given::Bool(text::compare(comparison, args.get(*position)?)?)
        }
        Expression::Not(operand) => Given::Bool(!truth(operand, args)?),
        Expression::Negate(operand) => {
            let value = integer(operand, args)?;
            Given::Integer(in_type(-value, operand))
        }
        Expression::Binary(operation @ (Operation::And | Operation::Or), left, right) => {
            let decides = *operation == Operation::Or;
            match (truth(left, args), truth(right, args)) {
                (Some(one), _) | (_, Some(one)) if one == decides => Given::Bool(decides),
                (Some(_), Some(_)) => Given::Bool(!decides),
                _ => return None,
            }
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

/// `None` when there is no result, or the operation is none on integers.
fn of_integers(operation: Operation, a: i128, b: i128, operand: &Expression) -> Option<Given> {
    let Type::Integer(width) = operand.ty() else { return None };
    let fitting = |value: i128| width.range().contains(&value).then_some(Given::Integer(value));
    Some(match operation {
        Operation::Equal => Given::Bool(a == b),
        Operation::NotEqual => Given::Bool(a != b),
        Operation::Less => Given::Bool(a < b),
        Operation::LessOrEqual => Given::Bool(a <= b),
        Operation::Greater => Given::Bool(a > b),
        Operation::GreaterOrEqual => Given::Bool(a >= b),
        Operation::Add => Given::Integer(wrap(a + b, width)),
        Operation::Subtract => Given::Integer(wrap(a - b, width)),
        Operation::Multiply => fitting(a.checked_mul(b)?)?,
        Operation::Divide => fitting(a.checked_div(b)?)?,
        Operation::Remainder => {
            // Where the quotient does not fit there is no remainder either.
            fitting(a.checked_div(b)?)?;
            Given::Integer(a % b)
        }
        Operation::And | Operation::Or | Operation::Xor => return None,
    })
}

/// `None` when the operation is none on conditions.
fn of_conditions(operation: Operation, a: bool, b: bool) -> Option<bool> {
    Some(match operation {
        Operation::Equal => a == b,
        Operation::NotEqual | Operation::Xor => a != b,
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
            ("true ? arg0 == 1 : arg1 == 1", None),
        ] {
            let condition = Expression::parse(text, &kinds).unwrap();
            assert_eq!(holds(&condition, &args), wanted, "{text}");
        }
    }

    #[test]
    fn what_has_no_value_is_unknown_unless_the_rest_decides() {
        let kinds = [TypeName::Int, TypeName::Uint64, TypeName::Int64, TypeName::Int8];
        let given = [i128::from(i32::MIN), i128::from(u64::MAX), i128::from(i64::MIN), -3];
        let args = given.map(Value::Integer);
        for (text, wanted) in [
            ("arg0 * 1 == -2147483648", Some(true)),
            ("arg0 * -1 == 0", None),
            ("arg0 * 2 == 0", None),
            ("arg0 / -1 == 0", None),
            ("arg0 % -1 == 0", None),
            ("arg0 / 2 == -1073741824", Some(true)),
            ("arg1 * 1u == arg1", Some(true)),
            ("arg1 * 2u != arg1", None),
            ("arg2 / (arg2 - arg2) == 1", None),
            ("arg2 % 7 == -1", Some(true)),
            ("arg2 % 7 == -8", Some(false)),
            ("arg3 * arg3 == 9", Some(true)),
            ("arg3 / 2 == -1 && arg3 % 2 == -1", Some(true)),
            ("arg0 / 0x7fffffff == -1", Some(true)),
            ("arg0 * 2 == 0 || arg1 > 1u", Some(true)),
            ("arg1 > 1u || arg0 * 2 == 0", Some(true)),
            ("arg0 * 2 == 0 || arg1 == 1u", None),
            ("arg0 * 2 == 0 && arg1 == 1u", Some(false)),
            ("!(arg0 * 2 == 0 && arg1 == 1u)", Some(true)),
            ("arg0 * 2 == 0 && arg1 > 1u", None),
            ("arg1 > 1u ? arg2 < 0 : arg0 * 2 == 0", Some(true)),
            ("arg0 * 2 == 0 ? true : true", None),
            ("xor(arg0 * 2 == 0, true)", None),
        ] {
            let condition = Expression::parse(text, &kinds).unwrap();
            assert_eq!(holds(&condition, &args), wanted, "{text}");
        }
    }
}
