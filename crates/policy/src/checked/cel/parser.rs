//! Reading expressions, with their types. Parsing recurses, so the depth of an expression is bounded.

use super::{Expression, Operation, Type, literal, pattern};
use crate::checked::comparison::{Comparison, ValueKind};
use crate::checked::integer::Width;
use crate::document::TypeName;
use crate::problem::excerpt;

const DEPTH: usize = 64;

const INT64: Width = Width { bits: 64, signed: true };
const UINT64: Width = Width { bits: 64, signed: false };

struct Parser<'t> {
    rest: &'t str,
    args: &'t [TypeName],
    depth: usize,
}

/// A part of an expression.
#[derive(Debug)]
enum Part {
    /// A number or condition.
    Expression(Expression),
    /// A text in quotes.
    Text(Vec<u8>),
    /// The text at a position of `args`.
    TextArgument(usize),
}

type Parsed = Result<Part, String>;

impl From<Expression> for Part {
    fn from(expression: Expression) -> Self {
        Self::Expression(expression)
    }
}

impl Part {
    fn ty(&self) -> Type {
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

/// Reads a condition over arguments of these types.
pub(super) fn parse(text: &str, args: &[TypeName]) -> Result<Expression, String> {
    let mut parser = Parser { rest: text, args, depth: 0 };
    let part = parser.choice()?;
    parser.skip_blanks();
    if !parser.rest.is_empty() {
        return Err(parser.unexpected());
    }
    match (part.ty(), part) {
        (Type::Bool, Part::Expression(expression)) => Ok(expression),
        (Type::Text, _) => Err("the expression is a text: it has to be true or false".to_owned()),
        _ => Err("the expression is a number: it has to be true or false".to_owned()),
    }
}

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

    /// Words are not eaten in part.
    fn eat_word(&mut self, word: &str) -> bool {
        let before = self.rest;
        self.skip_blanks();
        let found = self.word() == word;
        if !found {
            self.rest = before;
        }
        found
    }

    fn choice(&mut self) -> Parsed {
        let condition = self.or()?;
        if !self.eat("?") {
            return Ok(condition);
        }
        self.deeper()?;
        let chosen = self.or()?;
        self.expect(":")?;
        let other = self.choice()?;
        self.depth -= 1;
        choose(condition, chosen, other)
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("the expression is nested more than {DEPTH} levels deep"));
        }
        Ok(())
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
        if self.eat_word("in") {
            let list = self.list()?;
            return among(left, list);
        }
        Ok(left)
    }

    fn list(&mut self) -> Result<Vec<Part>, String> {
        self.expect("[")?;
        let mut list = Vec::new();
        if self.eat("]") {
            return Ok(list);
        }
        loop {
            list.push(self.choice()?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect("]")?;
        Ok(list)
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
        self.deeper()?;
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
                    Part::Expression(operand) if matches!(operand.ty(), Type::Integer(width) if width.signed) => {
                        Ok(Expression::Negate(Box::new(operand)).into())
                    }
                    _ => Err("only signed numbers can be negated".to_owned()),
                }
            }
        } else {
            self.member()
        };
        self.depth -= 1;
        parsed
    }

    /// What stands before a dot, and the function behind it.
    fn member(&mut self) -> Parsed {
        let mut part = self.primary()?;
        while self.eat(".") {
            let name = self.word();
            self.expect("(")?;
            let given = if self.eat(")") {
                None
            } else {
                let given = self.choice()?;
                self.expect(")")?;
                Some(given)
            };
            part = function(part, name, given)?;
        }
        Ok(part)
    }

    fn primary(&mut self) -> Parsed {
        self.skip_blanks();
        if let Some((text, rest)) = literal::read(self.rest)? {
            self.rest = rest;
            return Ok(Part::Text(text));
        }
        if self.eat("(") {
            let inner = self.choice()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.literal(false);
        }
        let name = self.word();
        match name {
            "" => Err(self.unexpected()),
            "true" => Ok(Expression::Bool(true).into()),
            "false" => Ok(Expression::Bool(false).into()),
            "and" => self.two(Operation::And),
            "or" => self.two(Operation::Or),
            "xor" => self.two(Operation::Xor),
            "not" => {
                self.expect("(")?;
                let operand = self.choice()?;
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
        Ok(Expression::Literal(value, width).into())
    }

    fn two(&mut self, operation: Operation) -> Parsed {
        self.expect("(")?;
        let left = self.choice()?;
        self.expect(",")?;
        let right = self.choice()?;
        self.expect(")")?;
        binary(operation, left, right)
    }

    fn convert(&mut self, from: Width, to: Width) -> Parsed {
        self.expect("(")?;
        let operand = self.choice()?;
        self.expect(")")?;
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
                Ok(Expression::Argument(position, width).into())
            }
            ValueKind::Text => Ok(Part::TextArgument(position)),
            _ => Err(format!(
                "arg{position} is of type {kind}: expressions are over texts and integers of 32 and 64 \
                 bits"
            )),
        }
    }
}

fn not(operand: Part) -> Parsed {
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

fn binary(operation: Operation, left: Part, right: Part) -> Parsed {
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
    Ok(Expression::Binary(operation, Box::new(left), Box::new(right)).into())
}

fn compare(position: usize, comparison: Comparison) -> Expression {
    Expression::Compare(position, Box::new(comparison))
}

fn choose(condition: Part, chosen: Part, other: Part) -> Parsed {
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
fn among(value: Part, list: Vec<Part>) -> Parsed {
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
fn function(text: Part, called: &str, given: Option<Part>) -> Parsed {
    if !matches!(called, "startsWith" | "endsWith" | "contains" | "matches") {
        return Err(format!(
            "`{}` is no function of texts: they have startsWith, endsWith, contains and matches",
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

fn adapt(value: i128, own: Width, other: Type) -> Expression {
    match other {
        Type::Integer(width) if width.range().contains(&value) => Expression::Literal(value, width),
        _ => Expression::Literal(value, own),
    }
}

fn name(ty: Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Text => "string".to_owned(),
        Type::Integer(Width { bits, signed }) => {
            format!("{}int{bits}", if signed { "" } else { "u" })
        }
    }
}
