//! Reading expressions, with their types. Parsing recurses, so the depth of an expression is bounded.

use super::typing::{self, Part, Typed};
use super::{Expression, INT64, Operation, Type, Wrong, literal};
use crate::checked::comparison::ValueKind;
use crate::checked::integer::Width;
use crate::document::TypeName;
use crate::problem::excerpt;

const DEPTH: usize = 64;

const UINT64: Width = Width { bits: 64, signed: false };

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
    args: &'t [TypeName],
    depth: usize,
}

type Parsed = Result<Part, Wrong>;

/// Reads a condition over arguments of these types.
pub(super) fn parse(text: &str, args: &[TypeName]) -> Result<Expression, Wrong> {
    let mut parser = Parser { text, rest: text, args, depth: 0 };
    let part = parser.choice()?;
    if parser.here() < text.len() {
        return Err(parser.unexpected());
    }
    let wrong = |what: &str| {
        let message = format!("the expression is a {what}: it has to be true or false");
        Err(Wrong { at: 0, message })
    };
    match (part.ty(), part) {
        (Type::Bool, Part::Expression(expression)) => Ok(expression),
        (Type::Text, _) => wrong("text"),
        _ => wrong("number"),
    }
}

impl<'t> Parser<'t> {
    /// Where the next token begins.
    fn here(&mut self) -> usize {
        self.rest = self.rest.trim_start();
        self.text.len() - self.rest.len()
    }

    fn eat(&mut self, token: &str) -> bool {
        self.here();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), Wrong> {
        if self.eat(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&mut self) -> Wrong {
        let at = self.here();
        let message = if self.rest.is_empty() {
            "the expression ends too early".to_owned()
        } else {
            format!("this is not understood in an expression: `{}`", excerpt(self.rest))
        };
        Wrong { at, message }
    }

    /// Words are not eaten in part.
    fn eat_word(&mut self, word: &str) -> bool {
        let before = self.rest;
        self.here();
        let found = self.word() == word;
        if !found {
            self.rest = before;
        }
        found
    }

    fn choice(&mut self) -> Parsed {
        let condition = self.or()?;
        let at = self.here();
        if !self.eat("?") {
            return Ok(condition);
        }
        self.deeper()?;
        let chosen = self.or()?;
        self.expect(":")?;
        let other = self.choice()?;
        self.depth -= 1;
        typing::choose(condition, chosen, other).map_err(wrong(at))
    }

    fn deeper(&mut self) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth > DEPTH {
            let message = format!("the expression is nested more than {DEPTH} levels deep");
            return Err(Wrong { at: self.here(), message });
        }
        Ok(())
    }

    /// Operands with operators between them that all bind alike, from the left.
    fn chain(
        &mut self,
        operators: &[(&str, Operation)],
        operand: fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let mut left = operand(self)?;
        loop {
            let at = self.here();
            let Some((_, operation)) = operators.iter().find(|(token, _)| self.eat(token)) else {
                return Ok(left);
            };
            left = typing::binary(*operation, left, operand(self)?).map_err(wrong(at))?;
        }
    }

    fn or(&mut self) -> Parsed {
        self.chain(&[("||", Operation::Or)], Self::and)
    }

    fn and(&mut self) -> Parsed {
        self.chain(&[("&&", Operation::And)], Self::relation)
    }

    fn relation(&mut self) -> Parsed {
        let left = self.sum()?;
        let at = self.here();
        for (token, operation) in [
            ("==", Operation::Equal),
            ("!=", Operation::NotEqual),
            ("<=", Operation::LessOrEqual),
            (">=", Operation::GreaterOrEqual),
            ("<", Operation::Less),
            (">", Operation::Greater),
        ] {
            if self.eat(token) {
                return typing::binary(operation, left, self.sum()?).map_err(wrong(at));
            }
        }
        if self.eat_word("in") {
            let list = self.list()?;
            return typing::among(left, list).map_err(wrong(at));
        }
        Ok(left)
    }

    fn list(&mut self) -> Result<Vec<Part>, Wrong> {
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
        self.chain(&[("+", Operation::Add), ("-", Operation::Subtract)], Self::product)
    }

    fn product(&mut self) -> Parsed {
        let operators =
            [("*", Operation::Multiply), ("/", Operation::Divide), ("%", Operation::Remainder)];
        self.chain(&operators, Self::unary)
    }

    fn unary(&mut self) -> Parsed {
        self.deeper()?;
        let at = self.here();
        let parsed = if self.rest.starts_with('!') && !self.rest.starts_with("!=") {
            self.expect("!")?;
            typing::not(self.unary()?).map_err(wrong(at))
        } else if self.eat("-") {
            self.here();
            if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
                self.literal(true)
            } else {
                typing::negate(self.unary()?).map_err(wrong(at))
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
            let at = self.here();
            let name = self.word();
            self.expect("(")?;
            let given = if self.eat(")") {
                None
            } else {
                let given = self.choice()?;
                self.expect(")")?;
                Some(given)
            };
            part = typing::function(part, name, given).map_err(wrong(at))?;
        }
        Ok(part)
    }

    fn primary(&mut self) -> Parsed {
        let at = self.here();
        if let Some((text, rest)) = literal::read(self.rest).map_err(wrong(at))? {
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
            "and" => self.two(Operation::And, at),
            "or" => self.two(Operation::Or, at),
            "xor" => self.two(Operation::Xor, at),
            "not" => self.one(at, typing::not),
            "size" => self.one(at, |text| typing::function(text, "size", None)),
            "int32" => self
                .one(at, |number| typing::convert(number, INT64, Width { bits: 32, signed: true })),
            "uint32" => self.one(at, |number| {
                typing::convert(number, UINT64, Width { bits: 32, signed: false })
            }),
            _ => self.argument(name).map_err(wrong(at)),
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
        let at = self.here();
        let word = self.word();
        let (digits, width) = match word.strip_suffix(['u', 'U']) {
            Some(digits) => (digits, UINT64),
            None => (word, INT64),
        };
        let value = match digits.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => digits.parse::<u64>(),
        };
        let wrong = |message| Wrong { at, message };
        let value = value.map_err(|_| wrong(format!("`{}` is no number", excerpt(word))))?;
        let value = if negative { -i128::from(value) } else { i128::from(value) };
        if !width.range().contains(&value) {
            let message = format!("{value} does not fit: write it as `{value}u` if it is unsigned");
            return Err(wrong(message));
        }
        Ok(Expression::Literal(value, width).into())
    }

    /// A function of one thing, whose name begins `at`.
    fn one(&mut self, at: usize, function: impl FnOnce(Part) -> Typed) -> Parsed {
        self.expect("(")?;
        let operand = self.choice()?;
        self.expect(")")?;
        function(operand).map_err(wrong(at))
    }

    fn two(&mut self, operation: Operation, at: usize) -> Parsed {
        self.expect("(")?;
        let left = self.choice()?;
        self.expect(",")?;
        let right = self.choice()?;
        self.expect(")")?;
        typing::binary(operation, left, right).map_err(wrong(at))
    }

    fn argument(&self, word: &str) -> Typed {
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
            ValueKind::Integer(width) => Ok(typing::argument(position, width)),
            kind if kind.is_text() => Ok(Part::TextArgument(position)),
            _ => Err(format!(
                "arg{position} is of type {kind}: expressions are over integers, texts and what has a path"
            )),
        }
    }
}

/// Puts a place to a message.
fn wrong(at: usize) -> impl Fn(String) -> Wrong {
    move |message| Wrong { at, message }
}
