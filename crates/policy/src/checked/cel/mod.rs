//! The part of CEL that filters over arguments can use: typed expressions.
//!
//! - Integers and booleans: `== != < <= > >= + - * / % && || !`, `and(a,b) or(a,b) xor(a,b) not(a)`,
//!   `a ? b : c`, `a in [b, c]`, `int32(int)`, `uint32(uint)`; both sides of an operator have one type; a
//!   literal (`5`, or `5u` for unsigned) takes the type of the other side when its value fits. Arguments of 8
//!   and 16 bits are numbers of 32.
//! - Texts, and what has a path: `arg0 == "a"`, `!=`, `arg0 in ["a", "b"]`, `arg0.startsWith("a")`,
//!   `endsWith`, `contains`, `matches` with a regular expression ([`Automaton`]), `size(arg0)`. Texts are
//!   compared with literals only, and are bytes as for all operators on texts.
//! - `argN` is the argument at position N of `args`.
//!
//! `+` and `-` wrap in their type. `*`, `/` and `%` have no value where the result does not fit, or nothing
//! can be divided; what needs that value is unknown then, but `&&` and `||` may be decided by their other side.

mod automaton;
mod literal;
mod parser;
mod pattern;
mod typing;

pub use automaton::Automaton;

use super::comparison::Comparison;
use super::integer::Width;
use crate::document::TypeName;

/// Type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// Boolean.
    Bool,
    /// Integer.
    Integer(Width),
    /// Text; no condition has a part of this type.
    Text,
}

/// The type of sizes and of literals without suffix.
pub(super) const INT64: Width = Width { bits: 64, signed: true };

/// A typed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A boolean constant.
    Bool(bool),
    /// An integer constant, within the type.
    Literal(i128, Width),
    /// The argument at a position of `args`.
    Argument(usize, Width),
    /// How many bytes the text at a position of `args` has.
    Size(usize),
    /// The value in another width: cut, or extended by its own sign.
    Convert(Box<Expression>, Width),
    /// Logical negation.
    Not(Box<Expression>),
    /// Arithmetic negation, wrapping.
    Negate(Box<Expression>),
    /// Two operands of one type.
    Binary(Operation, Box<Expression>, Box<Expression>),
    /// The second where the first holds, else the third; both of one type.
    Choose(Box<Expression>, Box<Expression>, Box<Expression>),
    /// Whether a comparison holds of the text at a position of `args`.
    Compare(usize, Box<Comparison>),
}

/// Operation on two operands.
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
    /// `+`, wrapping
    Add,
    /// `-`, wrapping
    Subtract,
    /// `*`; unknown where it overflows
    Multiply,
    /// `/`, rounded to zero; unknown where it overflows, or the divisor is 0
    Divide,
    /// `%`, with the sign of the dividend; unknown where `/` is
    Remainder,
    /// `&&`: no where one side says so, else unknown where one side is
    And,
    /// `||`: yes where one side says so, else unknown where one side is
    Or,
    /// `xor(a, b)`
    Xor,
}

impl Operation {
    /// Whether it makes a number of two numbers.
    #[must_use]
    pub fn is_arithmetic(self) -> bool {
        matches!(self, Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Remainder)
    }
}

impl Expression {
    /// The expression's type.
    #[must_use]
    pub fn ty(&self) -> Type {
        match self {
            Self::Bool(_) | Self::Not(_) | Self::Compare(..) => Type::Bool,
            Self::Literal(_, width) | Self::Argument(_, width) | Self::Convert(_, width) => {
                Type::Integer(*width)
            }
            Self::Size(_) => Type::Integer(INT64),
            Self::Negate(operand) => operand.ty(),
            Self::Binary(operation, left, _) if operation.is_arithmetic() => left.ty(),
            Self::Binary(..) => Type::Bool,
            Self::Choose(_, chosen, _) => chosen.ty(),
        }
    }

    /// Its parts.
    #[must_use]
    pub fn operands(&self) -> Vec<&Self> {
        match self {
            Self::Bool(_)
            | Self::Literal(..)
            | Self::Argument(..)
            | Self::Size(_)
            | Self::Compare(..) => Vec::new(),
            Self::Convert(operand, _) | Self::Not(operand) | Self::Negate(operand) => vec![operand],
            Self::Binary(_, left, right) => vec![left, right],
            Self::Choose(condition, chosen, other) => vec![condition, chosen, other],
        }
    }

    /// Whether it can be without a value although all arguments are known.
    #[must_use]
    pub fn can_fail(&self) -> bool {
        use Operation as O;
        let fails = matches!(self, Self::Binary(O::Multiply | O::Divide | O::Remainder, ..));
        fails || self.operands().into_iter().any(Self::can_fail)
    }

    /// Reads a condition over arguments of these types.
    pub(crate) fn parse(text: &str, args: &[TypeName]) -> Result<Self, Wrong> {
        parser::parse(text, args)
    }
}

/// What is wrong with an expression, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Bytes before the place.
    pub(crate) at: usize,
    /// What is wrong there.
    pub(crate) message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: [TypeName; 8] = [
        TypeName::Int,
        TypeName::Uint32,
        TypeName::Int64,
        TypeName::Uint64,
        TypeName::String,
        TypeName::File,
        TypeName::Int8,
        TypeName::Cred,
    ];

    #[test]
    fn conditions_are_typed() {
        for good in [
            "arg0 == int32(5)",
            "arg0 == 5",
            "-1 < arg0 && arg1 != 0x10u",
            "arg1 == uint32(arg3)",
            "or(arg2 >= 3, not(arg3 == 7u)) || xor(true, false)",
            "!(arg0 + 1 - arg0 > -arg0)",
            "arg0 > 1 ? arg1 == 2u : arg2 == 3",
            "(arg0 > 1 ? arg0 : 5) == 6",
            "arg0 in [1, 2, arg0] && !(arg1 in [3u])",
            "arg4 in ['a', \"b\"] || 'c' != arg4",
            "arg4.startsWith('/etc/') && arg4.endsWith(r'\\x') && arg4.contains('a\\x41')",
            "true ? false : true ? false : true",
            "arg0 * 2 + arg0 / 3 % 4 > -arg0 * 5",
            "1 + 2 * 3 == 7 && arg6 == -1 && arg6 + arg0 == int32(arg2)",
            "size(arg4) == 3 && arg5.size() > 4",
            "arg5.startsWith('/etc/') || arg4.matches('^[a-z]+$')",
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
    fn texts_are_compared_as_operators_compare_them() {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let not = |expression| Expression::Not(Box::new(expression));
        let compare = |comparison| Expression::Compare(4, Box::new(comparison));
        let equal = |given: &[&str]| compare(Comparison::Equal(texts(given)));
        for (text, expected) in [
            ("arg4 == 'a'", equal(&["a"])),
            (r"'a\n\x41' == arg4", equal(&["a\nA"])),
            ("arg4 != 'a'", not(equal(&["a"]))),
            ("arg4 in ['a', 'b']", equal(&["a", "b"])),
            ("arg4.startsWith('a')", compare(Comparison::Prefix(texts(&["a"])))),
            ("arg4.endsWith('a')", compare(Comparison::Postfix(texts(&["a"])))),
            ("arg4.contains('a')", compare(Comparison::Contains(texts(&["a"])))),
            (
                r"arg4.matches(r'^/etc/(passwd|shadow\.bak)')",
                compare(Comparison::Prefix(texts(&["/etc/passwd", "/etc/shadow.bak"]))),
            ),
        ] {
            assert_eq!(Expression::parse(text, &ARGS), Ok(expected), "{text}");
        }
    }

    #[test]
    fn long_lists_are_not_deep() {
        fn depth(expression: &Expression) -> usize {
            1 + expression.operands().into_iter().map(depth).max().unwrap_or(0)
        }
        let list = (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        let parsed = Expression::parse(&format!("arg0 in [{list}]"), &ARGS).unwrap();
        assert!(depth(&parsed) < 20);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, wanted) in [
            ("", "the expression ends too early"),
            ("arg0", "the expression is a number: it has to be true or false"),
            ("arg0 == arg1", "int32 and uint32 do not go together: convert one"),
            ("arg9 == 1", "there is no arg9: args has 8 elements"),
            ("arg4 == 1", "string and int64 do not go together: convert one"),
            (
                "arg7 == 1",
                "arg7 is of type cred: expressions are over integers, texts and what has a path",
            ),
            ("x == 1", "`x` is unknown: arguments are arg0, arg1, … by their position in args"),
            ("arg0 ** 2 == 1", "this is not understood in an expression: `* 2 == 1`"),
            ("arg0 == 1 ? true", "the expression ends too early"),
            ("arg0 == 1 ? 1 : true", "int64 and bool do not go together: convert one"),
            ("arg0 ? true : false", "what decides between two has to be a condition, not int32"),
            ("arg4", "the expression is a text: it has to be true or false"),
            ("arg4 == arg4", "texts are compared with a text in quotes"),
            (
                "'a' == 'a'",
                "texts are compared with a text in quotes: one side has to be an argument",
            ),
            ("arg4 < 'a'", "this operation does not apply to string"),
            ("arg4 == 'a", "the text that begins here has no end: `'a`"),
            ("arg4 == '\\q'", "`\\q` is no escape in a text"),
            (
                "arg4.trim() == 1",
                "`trim` is no function of texts: they have startsWith, endsWith, contains, matches and size",
            ),
            ("size(arg0) == 1", "size is for texts, not int32"),
            ("arg4.size('a') == 1", "size takes nothing but the text"),
            ("arg0 % 0 == 1", "nothing can be divided by 0"),
            ("arg0 * arg1 == 1", "int32 and uint32 do not go together: convert one"),
            ("arg4.startsWith(arg4)", "startsWith takes a text in quotes"),
            ("arg4.contains('')", "every text contains an empty one: remove this"),
            ("arg0.startsWith('a')", "startsWith is for texts, not int32"),
            ("arg0 in 1", "this is not understood in an expression: `1`"),
            ("arg0 in []", "nothing is in an empty list: remove this"),
            ("arg4 in ['a', 1]", "string and int64 do not go together: convert one"),
            (
                "arg4.matches('a*')",
                "a regular expression that every text matches does nothing: remove it",
            ),
            ("true < false", "this operation does not apply to bool"),
            ("arg0 && true", "int32 and bool do not go together: convert one"),
            ("int32(arg1) == 1", "int32 is converted from int64, not from uint32"),
        ] {
            assert_eq!(Expression::parse(text, &ARGS).unwrap_err().message, wanted, "{text}");
        }
        let deep = "(".repeat(100_000);
        assert!(Expression::parse(&deep, &ARGS).unwrap_err().message.contains("nested"));
        let deep = "!".repeat(100_000);
        assert!(Expression::parse(&deep, &ARGS).unwrap_err().message.contains("nested"));
    }

    #[test]
    fn says_where_it_is_wrong() {
        for (text, at) in [
            ("arg0 == arg1", 5),
            ("arg0 == 1 &&  arg9 == 1", 14),
            ("arg0 == 1 && arg4.trim()", 18),
            ("arg0 == 'a", 8),
            ("(arg0 == 1 && arg1) == true", 11),
            ("arg4.matches('a*') || true", 5),
            ("arg0 == 99999999999999999999", 8),
            ("arg0 == 1 )", 10),
            ("arg0", 0),
            ("arg0 == ", 8),
            ("true ? 1 : false", 5),
            ("size(arg0) == 1", 0),
        ] {
            assert_eq!(Expression::parse(text, &ARGS).unwrap_err().at, at, "{text}");
        }
    }
}
