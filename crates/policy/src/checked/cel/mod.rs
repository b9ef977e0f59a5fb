//! The part of CEL that filters over arguments can use: typed expressions.
//!
//! - Integers and booleans: `== != < <= > >= + - && || !`, `and(a,b) or(a,b) xor(a,b) not(a)`, `a ? b : c`,
//!   `a in [b, c]`, `int32(int)`, `uint32(uint)`; both sides of an operator have one type; a literal (`5`,
//!   or `5u` for unsigned) takes the type of the other side when its value fits.
//! - Texts: `arg0 == "a"`, `!=`, `arg0 in ["a", "b"]`, `arg0.startsWith("a")`, `endsWith`, `contains`, and
//!   `matches` of regular expressions that say no more than these do ([`pattern`]). Texts are compared with
//!   literals only, and are bytes as for all operators on texts.
//! - `argN` is the argument at position N of `args`.

mod literal;
mod parser;
mod pattern;

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
    /// The second where the first holds, else the third; both of one type.
    Choose(Box<Expression>, Box<Expression>, Box<Expression>),
    /// Whether a comparison holds of the text at a position of `args`.
    Compare(usize, Box<Comparison>),
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

impl Expression {
    /// The expression's type.
    #[must_use]
    pub fn ty(&self) -> Type {
        match self {
            Self::Bool(_) | Self::Not(_) | Self::Compare(..) => Type::Bool,
            Self::Literal(_, width) | Self::Argument(_, width) | Self::Convert(_, width) => {
                Type::Integer(*width)
            }
            Self::Negate(operand) => operand.ty(),
            Self::Binary(Operation::Add | Operation::Subtract, left, _) => left.ty(),
            Self::Binary(..) => Type::Bool,
            Self::Choose(_, chosen, _) => chosen.ty(),
        }
    }

    /// Its parts.
    #[must_use]
    pub fn operands(&self) -> Vec<&Self> {
        match self {
            Self::Bool(_) | Self::Literal(..) | Self::Argument(..) | Self::Compare(..) => {
                Vec::new()
            }
            Self::Convert(operand, _) | Self::Not(operand) | Self::Negate(operand) => vec![operand],
            Self::Binary(_, left, right) => vec![left, right],
            Self::Choose(condition, chosen, other) => vec![condition, chosen, other],
        }
    }

    /// Reads a condition over arguments of these types.
    pub(crate) fn parse(text: &str, args: &[TypeName]) -> Result<Self, String> {
        parser::parse(text, args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: [TypeName; 6] = [
        TypeName::Int,
        TypeName::Uint32,
        TypeName::Int64,
        TypeName::Uint64,
        TypeName::String,
        TypeName::File,
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
            ("arg9 == 1", "there is no arg9: args has 6 elements"),
            ("arg4 == 1", "string and int64 do not go together: convert one"),
            (
                "arg5 == 1",
                "arg5 is of type file: expressions are over texts and integers of 32 and 64 bits",
            ),
            ("x == 1", "`x` is unknown: arguments are arg0, arg1, … by their position in args"),
            ("arg0 * 2 == 1", "this is not understood in an expression: `* 2 == 1`"),
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
                "arg4.size() == 1",
                "`size` is no function of texts: they have startsWith, endsWith, contains and matches",
            ),
            ("arg4.startsWith(arg4)", "startsWith takes a text in quotes"),
            ("arg4.contains('')", "every text contains an empty one: remove this"),
            ("arg0.startsWith('a')", "startsWith is for texts, not int32"),
            ("arg0 in 1", "this is not understood in an expression: `1`"),
            ("arg0 in []", "nothing is in an empty list: remove this"),
            ("arg4 in ['a', 1]", "string and int64 do not go together: convert one"),
            (
                "arg4.matches('a+')",
                "`+` in a regular expression cannot be compiled: of these, ^ at the start, $ at the end, | and groups can",
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
