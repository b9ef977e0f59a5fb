//! Putting parts of an expression together: which types go with which.

use super::{Expression, Operation, Type, pattern};
use crate::checked::comparison::Comparison;
use crate::checked::integer::Width;
use crate::problem::excerpt;

/// A part of an expression.
#[derive(Debug)]
pub(super) enum Part {
    /// A number or condition.
    Expression(Expression),
    /// A text in quotes.
    Text(Vec<u8>),
    /// The text at a position of `args`.
    TextArgument(usize),
}

/// A part, or what is wrong with those that it is made of.
pub(super) type Typed = Result<Part, String>;

impl From<Expression> for Part {
    fn from(expression: Expression) -> Self {
        Self::Expression(expression)
    }
}

impl Part {
    pub(super) fn ty(&self) -> Type {
        match self {
            Self::Expression(expression) => expression.ty(),
            Self::Text(_) | Self::TextArgument(_) => Type::Text,
        }
    }

    /// What is no text.
    fn plain(self, other: Type) -> Result<Expression, String> {
        match self {
            Self::Expression(expression) => Ok(expression),
            text => Err(apart(text.ty(), other)),
        }
    }
}

pub(super) fn not(operand: Part) -> Typed {
    match operand {
        Part::Expression(operand) if operand.ty() == Type::Bool => {
            Ok(Expression::Not(Box::new(operand)).into())
        }
        _ => Err("only a condition can be negated by `!` or not()".to_owned()),
    }
}

/// What is said of two types that should be one.
fn apart(a: Type, b: Type) -> String {
    match (a, b) {
        (Type::Text, Type::Text) => "texts are compared with a text in quotes".to_owned(),
        _ => format!("{} and {} do not go together: convert one", name(a), name(b)),
    }
}

/// Two of one type: a literal takes the other side's.
fn alike(left: Expression, right: Expression) -> Result<(Expression, Expression), String> {
    let (left, right) = match (left, right) {
        (Expression::Literal(value, own), right) if right.ty() != Type::Integer(own) => {
            (adapt(value, own, right.ty()), right)
        }
        (left, Expression::Literal(value, own)) => {
            let right = adapt(value, own, left.ty());
            (left, right)
        }
        sides => sides,
    };
    let (a, b) = (left.ty(), right.ty());
    if a == b { Ok((left, right)) } else { Err(apart(a, b)) }
}

pub(super) fn binary(operation: Operation, left: Part, right: Part) -> Typed {
    use Operation as O;
    let (left, right) = match (left, right) {
        (Part::TextArgument(position), Part::Text(text))
        | (Part::Text(text), Part::TextArgument(position)) => {
            let equal = compare(position, Comparison::Equal(vec![text]));
            return match operation {
                O::Equal => Ok(equal.into()),
                O::NotEqual => Ok(Expression::Not(Box::new(equal)).into()),
                _ => Err(format!("this operation does not apply to {}", name(Type::Text))),
            };
        }
        (Part::Text(_), Part::Text(_)) => {
            return Err(format!(
                "{}: one side has to be an argument",
                apart(Type::Text, Type::Text)
            ));
        }
        (left, right) => {
            let (a, b) = (left.ty(), right.ty());
            alike(left.plain(b)?, right.plain(a)?)?
        }
    };
    let ty = left.ty();
    let fits = match operation {
        O::Equal | O::NotEqual => true,
        O::And | O::Or | O::Xor => ty == Type::Bool,
        _ => ty != Type::Bool,
    };
    if !fits {
        return Err(format!("this operation does not apply to {}", name(ty)));
    }
    if matches!((operation, &right), (O::Divide | O::Remainder, Expression::Literal(0, _))) {
        return Err("nothing can be divided by 0".to_owned());
    }
    Ok(Expression::Binary(operation, Box::new(left), Box::new(right)).into())
}

fn compare(position: usize, comparison: Comparison) -> Expression {
    Expression::Compare(position, Box::new(comparison))
}

pub(super) fn choose(condition: Part, chosen: Part, other: Part) -> Typed {
    if condition.ty() != Type::Bool {
        let ty = name(condition.ty());
        return Err(format!("what decides between two has to be a condition, not {ty}"));
    }
    let (a, b) = (chosen.ty(), other.ty());
    let condition = condition.plain(Type::Bool)?;
    let (chosen, other) = alike(chosen.plain(b)?, other.plain(a)?)?;
    Ok(Expression::Choose(Box::new(condition), Box::new(chosen), Box::new(other)).into())
}

/// Whether a value is one of a list.
pub(super) fn among(value: Part, list: Vec<Part>) -> Typed {
    if list.is_empty() {
        return Err("nothing is in an empty list: remove this".to_owned());
    }
    let value = match value {
        Part::Expression(value) => value,
        Part::Text(_) => return Err("only arguments are looked for in a list".to_owned()),
        Part::TextArgument(position) => {
            let text = |part| match part {
                Part::Text(text) => Ok(text),
                part => Err(apart(Type::Text, part.ty())),
            };
            let texts = list.into_iter().map(text).collect::<Result<_, _>>()?;
            return Ok(compare(position, Comparison::Equal(texts)).into());
        }
    };
    let equal = |part: Part| {
        let ty = value.ty();
        let (left, right) = alike(value.clone(), part.plain(ty)?)?;
        Ok(Expression::Binary(Operation::Equal, Box::new(left), Box::new(right)))
    };
    let tests = list.into_iter().map(equal).collect::<Result<Vec<_>, String>>()?;
    Ok(any(tests).into())
}

/// Whether one of some conditions holds, as a tree that is no deeper than it must be.
fn any(mut conditions: Vec<Expression>) -> Expression {
    match conditions.len() {
        0 => Expression::Bool(false),
        1 => conditions.remove(0),
        count => {
            let right = conditions.split_off(count / 2);
            let (left, right) = (any(conditions), any(right));
            Expression::Binary(Operation::Or, Box::new(left), Box::new(right))
        }
    }
}

/// A function of a text.
pub(super) fn function(text: Part, called: &str, given: Option<Part>) -> Typed {
    if !matches!(called, "startsWith" | "endsWith" | "contains" | "matches" | "size") {
        return Err(format!(
            "`{}` is no function of texts: they have startsWith, endsWith, contains, matches and size",
            excerpt(called)
        ));
    }
    let position = match text {
        Part::TextArgument(position) => position,
        Part::Text(_) => {
            return Err(format!("{called} is for arguments, not for a text in quotes"));
        }
        other => return Err(format!("{called} is for texts, not {}", name(other.ty()))),
    };
    if called == "size" {
        return match given {
            None => Ok(Expression::Size(position).into()),
            Some(_) => Err("size takes nothing but the text".to_owned()),
        };
    }
    let Some(Part::Text(given)) = given else {
        return Err(format!("{called} takes a text in quotes"));
    };
    if given.is_empty() {
        return Err("every text contains an empty one: remove this".to_owned());
    }
    let comparison = match called {
        "startsWith" => Comparison::Prefix(vec![given]),
        "endsWith" => Comparison::Postfix(vec![given]),
        "contains" => Comparison::Contains(vec![given]),
        _ => pattern::comparison(&given)?,
    };
    Ok(compare(position, comparison).into())
}

/// The number at a position of `args`: of 32 bits at least.
pub(super) fn argument(position: usize, width: Width) -> Part {
    let argument = Expression::Argument(position, width);
    match width.bits {
        32.. => argument.into(),
        _ => Expression::Convert(Box::new(argument), Width { bits: 32, ..width }).into(),
    }
}

/// A number cut to another type.
pub(super) fn convert(operand: Part, from: Width, to: Width) -> Typed {
    match operand {
        Part::Expression(Expression::Literal(value, _)) if to.range().contains(&value) => {
            Ok(Expression::Literal(value, to).into())
        }
        Part::Expression(Expression::Literal(value, _)) => {
            Err(format!("{value} does not fit into {} bits", to.bits))
        }
        Part::Expression(operand) if operand.ty() == Type::Integer(from) => {
            Ok(Expression::Convert(Box::new(operand), to).into())
        }
        operand => Err(format!(
            "{} is converted from {}, not from {}",
            name(Type::Integer(to)),
            name(Type::Integer(from)),
            name(operand.ty())
        )),
    }
}

/// A number below zero.
pub(super) fn negate(operand: Part) -> Typed {
    match operand {
        Part::Expression(operand) if matches!(operand.ty(), Type::Integer(width) if width.signed) => {
            Ok(Expression::Negate(Box::new(operand)).into())
        }
        _ => Err("only signed numbers can be negated".to_owned()),
    }
}

fn adapt(value: i128, own: Width, other: Type) -> Expression {
    match other {
        Type::Integer(width) if width.range().contains(&value) => Expression::Literal(value, width),
        _ => Expression::Literal(value, own),
    }
}

pub(super) fn name(ty: Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Text => "string".to_owned(),
        Type::Integer(Width { bits, signed }) => {
            format!("{}int{bits}", if signed { "" } else { "u" })
        }
    }
}
