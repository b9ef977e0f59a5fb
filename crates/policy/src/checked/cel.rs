//! The part of CEL that filters over arguments can use.
//!
//! Integers and booleans only: `== != < <= > >= + - && || !`, `and(a,b) or(a,b) xor(a,b) not(a)`,
//! `int32(int)`, `uint32(uint)`, `argN` for the argument at position N of `args`. Both sides of an
//! operator have one type; a literal (`5`, or `5u` for unsigned) takes the type of the other side
//! when its value fits. Parsing recurses, so the depth of an expression is bounded.

use super::comparison::ValueKind;
use super::integer::Width;
use crate::document::TypeName;
use crate::problem::excerpt;

const DEPTH: usize = 64;

/// Type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// Boolean.
    Bool,
    /// Integer.
    Integer(Width),
}

/// A typed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A boolean constant.
    Bool(bool),
    /// An integer constant, within the type.
    Literal(i128, Width),
    /// The argument at a position of `args`.
    Argument(usize, Width),
    /// The value in another width: cut, or extended by its own sign.
    Convert(Box<Expression>, Width),
    /// Logical negation.
    Not(Box<Expression>),
    /// Arithmetic negation, wrapping.
    Negate(Box<Expression>),
    /// Two operands of one type.
    Binary(Operation, Box<Expression>, Box<Expression>),
}

/// Operation on two operands. Arithmetic wraps; both sides of And and Or are always evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `xor(a, b)`
    Xor,
}

const INT64: Width = Width { bits: 64, signed: true };
const UINT64: Width = Width { bits: 64, signed: false };

impl Expression {
    /// The expression's type.
    #[must_use]
    pub fn ty(&self) -> Type {
        match self {
            Self::Bool(_) | Self::Not(_) => Type::Bool,
            Self::Literal(_, width) | Self::Argument(_, width) | Self::Convert(_, width) => {
                Type::Integer(*width)
            }
            Self::Negate(operand) => operand.ty(),
            Self::Binary(Operation::Add | Operation::Subtract, left, _) => left.ty(),
            Self::Binary(..) => Type::Bool,
        }
    }

    /// Reads a condition over arguments of these types.
    pub(crate) fn parse(text: &str, args: &[TypeName]) -> Result<Self, String> {
        let mut parser = Parser { rest: text, args, depth: 0 };
        let expression = parser.or()?;
        parser.skip_blanks();
        if !parser.rest.is_empty() {
            return Err(parser.unexpected());
        }
        match expression.ty() {
            Type::Bool => Ok(expression),
            Type::Integer(_) => {
                Err("the expression is a number: it has to be true or false".to_owned())
            }
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
    args: &'t [TypeName],
    depth: usize,
}

type Parsed = Result<Expression, String>;

impl<'t> Parser<'t> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> String {
        if self.rest.is_empty() {
            "the expression ends too early".to_owned()
        } else {
            format!("this is not understood in an expression: `{}`", excerpt(self.rest))
        }
    }

    fn or(&mut self) -> Parsed {
        let mut left = self.and()?;
        while self.eat("||") {
            left = binary(Operation::Or, left, self.and()?)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let mut left = self.relation()?;
        while self.eat("&&") {
            left = binary(Operation::And, left, self.relation()?)?;
        }
        Ok(left)
    }

    fn relation(&mut self) -> Parsed {
        let left = self.sum()?;
        for (token, operation) in [
            ("==", Operation::Equal),
            ("!=", Operation::NotEqual),
            ("<=", Operation::LessOrEqual),
            (">=", Operation::GreaterOrEqual),
            ("<", Operation::Less),
            (">", Operation::Greater),
        ] {
            if self.eat(token) {
                return binary(operation, left, self.sum()?);
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            if self.eat("+") {
                left = binary(Operation::Add, left, self.unary()?)?;
            } else if self.eat("-") {
                left = binary(Operation::Subtract, left, self.unary()?)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn unary(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("the expression is nested more than {DEPTH} levels deep"));
        }
        self.skip_blanks();
        let parsed = if self.rest.starts_with('!') && !self.rest.starts_with("!=") {
            self.expect("!")?;
            not(self.unary()?)
        } else if self.eat("-") {
            self.skip_blanks();
            if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
                self.literal(true)
            } else {
                match self.unary()? {
                    operand if matches!(operand.ty(), Type::Integer(width) if width.signed) => {
                        Ok(Expression::Negate(Box::new(operand)))
                    }
                    _ => Err("only signed numbers can be negated".to_owned()),
                }
            }
        } else {
            self.primary()
        };
        self.depth -= 1;
        parsed
    }

    fn primary(&mut self) -> Parsed {
        self.skip_blanks();
        if self.eat("(") {
            let inner = self.or()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.literal(false);
        }
        let name = self.word();
        match name {
            "" => Err(self.unexpected()),
            "true" => Ok(Expression::Bool(true)),
            "false" => Ok(Expression::Bool(false)),
            "and" => self.two(Operation::And),
            "or" => self.two(Operation::Or),
            "xor" => self.two(Operation::Xor),
            "not" => {
                self.expect("(")?;
                let operand = self.or()?;
                self.expect(")")?;
                not(operand)
            }
            "int32" => self.convert(INT64, Width { bits: 32, signed: true }),
            "uint32" => self.convert(UINT64, Width { bits: 32, signed: false }),
            _ => self.argument(name),
        }
    }

    fn word(&mut self) -> &'t str {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn literal(&mut self, negative: bool) -> Parsed {
        let word = self.word();
        let (digits, width) = match word.strip_suffix(['u', 'U']) {
            Some(digits) => (digits, UINT64),
            None => (word, INT64),
        };
        let value = match digits.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => digits.parse::<u64>(),
        };
        let value = value.map_err(|_| format!("`{}` is no number", excerpt(word)))?;
        let value = if negative { -i128::from(value) } else { i128::from(value) };
        if !width.range().contains(&value) {
            return Err(format!("{value} does not fit: write it as `{value}u` if it is unsigned"));
        }
        Ok(Expression::Literal(value, width))
    }

    fn two(&mut self, operation: Operation) -> Parsed {
        self.expect("(")?;
        let left = self.or()?;
        self.expect(",")?;
        let right = self.or()?;
        self.expect(")")?;
        binary(operation, left, right)
    }

    fn convert(&mut self, from: Width, to: Width) -> Parsed {
        self.expect("(")?;
        let operand = self.or()?;
        self.expect(")")?;
        match operand {
            Expression::Literal(value, _) if to.range().contains(&value) => {
                Ok(Expression::Literal(value, to))
            }
            Expression::Literal(value, _) => {
                Err(format!("{value} does not fit into {} bits", to.bits))
            }
            operand if operand.ty() == Type::Integer(from) => {
                Ok(Expression::Convert(Box::new(operand), to))
            }
            operand => Err(format!(
                "{} is converted from {}, not from {}",
                name(Type::Integer(to)),
                name(Type::Integer(from)),
                name(operand.ty())
            )),
        }
    }

    fn argument(&self, word: &str) -> Parsed {
        let position = word
            .strip_prefix("arg")
            .and_then(|digits| digits.parse::<usize>().ok())
            .ok_or_else(|| {
                format!(
                    "`{}` is unknown: arguments are arg0, arg1, … by their position in args",
                    excerpt(word)
                )
            })?;
        let kind = self.args.get(position).ok_or_else(|| {
            format!("there is no arg{position}: args has {} elements", self.args.len())
        })?;
        match kind.kind() {
            ValueKind::Integer(width) if width.bits >= 32 => {
                Ok(Expression::Argument(position, width))
            }
            _ => Err(format!(
                "arg{position} is of type {kind}: expressions are over integers of 32 and 64 bits"
            )),
        }
    }
}

fn not(operand: Expression) -> Parsed {
    match operand.ty() {
        Type::Bool => Ok(Expression::Not(Box::new(operand))),
        Type::Integer(_) => Err("only a condition can be negated by `!` or not()".to_owned()),
    }
}

fn binary(operation: Operation, left: Expression, right: Expression) -> Parsed {
    use Operation as O;
    // A literal takes the other side's type.
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
    if a != b {
        return Err(format!("{} and {} do not go together: convert one", name(a), name(b)));
    }
    let fits = match operation {
        O::Equal | O::NotEqual => true,
        O::And | O::Or | O::Xor => a == Type::Bool,
        _ => a != Type::Bool,
    };
    if !fits {
        return Err(format!("this operation does not apply to {}", name(a)));
    }
    Ok(Expression::Binary(operation, Box::new(left), Box::new(right)))
}

fn adapt(value: i128, own: Width, other: Type) -> Expression {
    match other {
        Type::Integer(width) if width.range().contains(&value) => Expression::Literal(value, width),
        _ => Expression::Literal(value, own),
    }
}

fn name(ty: Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Integer(Width { bits, signed }) => {
            format!("{}int{bits}", if signed { "" } else { "u" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: [TypeName; 5] =
        [TypeName::Int, TypeName::Uint32, TypeName::Int64, TypeName::Uint64, TypeName::String];

    #[test]
    fn conditions_are_typed() {
        for good in [
            "arg0 == int32(5)",
            "arg0 == 5",
            "-1 < arg0 && arg1 != 0x10u",
            "arg1 == uint32(arg3)",
            "or(arg2 >= 3, not(arg3 == 7u)) || xor(true, false)",
            "!(arg0 + 1 - arg0 > -arg0)",
        ] {
            assert!(Expression::parse(good, &ARGS).is_ok(), "{good}");
        }
        let int = Width { bits: 32, signed: true };
        assert_eq!(
            Expression::parse("arg0 == 5", &ARGS),
            Ok(Expression::Binary(
                Operation::Equal,
                Box::new(Expression::Argument(0, int)),
                Box::new(Expression::Literal(5, int))
            ))
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, wanted) in [
            ("", "the expression ends too early"),
            ("arg0", "the expression is a number: it has to be true or false"),
            ("arg0 == arg1", "int32 and uint32 do not go together: convert one"),
            ("arg9 == 1", "there is no arg9: args has 5 elements"),
            (
                "arg4 == 1",
                "arg4 is of type string: expressions are over integers of 32 and 64 bits",
            ),
            ("x == 1", "`x` is unknown: arguments are arg0, arg1, … by their position in args"),
            ("arg0 * 2 == 1", "this is not understood in an expression: `* 2 == 1`"),
            (
                "arg0 == 1 ? true : false",
                "this is not understood in an expression: `? true : false`",
            ),
            ("true < false", "this operation does not apply to bool"),
            ("arg0 && true", "int32 and bool do not go together: convert one"),
            ("int32(arg1) == 1", "int32 is converted from int64, not from uint32"),
        ] {
            assert_eq!(Expression::parse(text, &ARGS).unwrap_err(), wanted, "{text}");
        }
        let deep = "(".repeat(100_000);
        assert!(Expression::parse(&deep, &ARGS).unwrap_err().contains("nested"));
        let deep = "!".repeat(100_000);
        assert!(Expression::parse(&deep, &ARGS).unwrap_err().contains("nested"));
    }
}
