//! What a regular expression asks of a text. Those that stand for a few texts are compared as texts are;
//! others become an [`Automaton`]. The syntax is what RE2, which CEL has, and the parser of the crate `regex`
//! read alike; the rest is refused.

use super::automaton::Automaton;
use crate::checked::comparison::Comparison;
use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Texts that one expression may stand for.
const TEXTS_MAX: usize = 1000;
/// Texts that are looked for at every place of a text; more are an automaton.
const SEARCHED_MAX: usize = 8;

/// What an expression asks of a text.
pub(super) fn comparison(pattern: &[u8]) -> Result<Comparison, String> {
    let pattern =
        std::str::from_utf8(pattern).map_err(|_| "a regular expression is UTF-8".to_owned())?;
    let parsed = ast::parse::Parser::new().parse(pattern).map_err(|error| {
        format!(
            "this is no regular expression: {} at `{}`",
            error.kind(),
            rest(pattern, error.span())
        )
    })?;
    ast::visit(&parsed, Shared { pattern })?;
    let automaton = Automaton::new(pattern)?;
    let mut translator =
        regex_syntax::hir::translate::TranslatorBuilder::new().unicode(false).utf8(false).build();
    let plain = translator.translate(pattern, &parsed).ok().and_then(|hir| plain(&hir));
    Ok(plain.unwrap_or(Comparison::Matches(automaton)))
}

/// The beginning of what stands at a place.
fn rest<'p>(pattern: &'p str, span: &ast::Span) -> &'p str {
    let rest = &pattern[span.start.offset..];
    rest.char_indices().nth(20).map_or(rest, |(end, _)| &rest[..end])
}

/// Refuses what RE2 reads otherwise, or not at all.
struct Shared<'p> {
    pattern: &'p str,
}

impl Shared<'_> {
    fn refuse(&self, span: &ast::Span, what: &str) -> Result<(), String> {
        let rest = rest(self.pattern, span);
        Err(format!("{what} is not what CEL means by it: write `{rest}` in another way"))
    }

    fn flags(&self, flags: &ast::Flags) -> Result<(), String> {
        use ast::Flag as F;
        for item in &flags.items {
            let ast::FlagsItemKind::Flag(flag) = &item.kind else { continue };
            if matches!(flag, F::Unicode | F::CRLF | F::IgnoreWhitespace) {
                return self.refuse(&item.span, "this flag");
            }
        }
        Ok(())
    }
}

impl ast::Visitor for Shared<'_> {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        use ast::AssertionKind as A;
        match ast {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => match &group.kind {
                ast::GroupKind::NonCapturing(flags) => self.flags(flags),
                _ => Ok(()),
            },
            Ast::Assertion(assertion) => match assertion.kind {
                A::StartLine
                | A::EndLine
                | A::StartText
                | A::EndText
                | A::WordBoundary
                | A::NotWordBoundary => Ok(()),
                _ => self.refuse(&assertion.span, "this boundary"),
            },
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), String> {
        match item {
            ast::ClassSetItem::Bracketed(class) => self.refuse(&class.span, "a class in a class"),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(
        &mut self,
        operation: &ast::ClassSetBinaryOp,
    ) -> Result<(), String> {
        self.refuse(&operation.span, "an operation on classes")
    }
}

/// The comparison that an expression comes down to, if it stands for texts.
fn plain(hir: &Hir) -> Option<Comparison> {
    let parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    let is =
        |part: Option<&Hir>, look| part.is_some_and(|part| *part.kind() == HirKind::Look(look));
    let starts = is(parts.first(), Look::Start);
    let parts = &parts[usize::from(starts)..];
    let ends = is(parts.last(), Look::End);
    let parts = &parts[..parts.len() - usize::from(ends)];
    let texts = sequence(parts)?;
    match (starts, ends) {
        (true, true) => Some(Comparison::Equal(texts)),
        // Others are about no part of a text, and refused.
        _ if texts.iter().any(Vec::is_empty) => None,
        (true, false) => Some(Comparison::Prefix(texts)),
        (false, true) => Some(Comparison::Postfix(texts)),
        (false, false) if texts.len() <= SEARCHED_MAX => Some(Comparison::Contains(texts)),
        (false, false) => None,
    }
}

/// The texts that parts of an expression stand for, one behind the other.
fn sequence<'h>(parts: impl IntoIterator<Item = &'h Hir>) -> Option<Vec<Vec<u8>>> {
    let mut texts = vec![Vec::new()];
    for part in parts {
        let next = self::texts(part)?;
        if texts.len() * next.len() > TEXTS_MAX {
            return None;
        }
        let with = |text: &Vec<u8>| {
            let text = text.clone();
            next.iter().map(move |next| [&text[..], next].concat()).collect::<Vec<_>>()
        };
        texts = texts.iter().flat_map(with).collect();
    }
    Some(texts)
}

/// The texts that an expression stands for; `None`: too many, or more than texts.
fn texts(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let all = match hir.kind() {
        HirKind::Empty => vec![Vec::new()],
        HirKind::Literal(literal) => vec![literal.0.to_vec()],
        HirKind::Class(Class::Bytes(class)) => {
            let bytes = class.iter().flat_map(|range| range.start()..=range.end());
            bytes.map(|byte| vec![byte]).collect()
        }
        HirKind::Capture(group) => texts(&group.sub)?,
        HirKind::Concat(parts) => sequence(parts)?,
        HirKind::Alternation(parts) => {
            let all: Option<Vec<_>> = parts.iter().map(texts).collect();
            all?.concat()
        }
        HirKind::Repetition(repetition) => {
            let mut all = Vec::new();
            for count in repetition.min..=repetition.max.filter(|most| *most <= 16)? {
                all.extend(sequence((0..count).map(|_| &*repetition.sub))?);
                if all.len() > TEXTS_MAX {
                    return None;
                }
            }
            all
        }
        HirKind::Look(_) | HirKind::Class(_) => return None,
    };
    (all.len() <= TEXTS_MAX).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_the_texts_that_they_stand_for() {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        for (pattern, expected) in [
            ("abc", Comparison::Contains(texts(&["abc"]))),
            ("^abc", Comparison::Prefix(texts(&["abc"]))),
            ("abc$", Comparison::Postfix(texts(&["abc"]))),
            ("^abc$", Comparison::Equal(texts(&["abc"]))),
            ("^$", Comparison::Equal(texts(&[""]))),
            ("ab|cd", Comparison::Contains(texts(&["ab", "cd"]))),
            ("^(ab|b)c(?:d|)$", Comparison::Equal(texts(&["abcd", "abc", "bcd", "bc"]))),
            ("^[ab]c?$", Comparison::Equal(texts(&["a", "ac", "b", "bc"]))),
            ("(?i)^a1$", Comparison::Equal(texts(&["A1", "a1"]))),
            (r"^a\.b\$", Comparison::Prefix(texts(&["a.b$"]))),
            (r"a\\$", Comparison::Postfix(texts(&[r"a\"]))),
            ("^\u{e9}", Comparison::Prefix(texts(&["\u{e9}"]))),
        ] {
            assert_eq!(comparison(pattern.as_bytes()), Ok(expected), "{pattern}");
        }
        for pattern in ["a.c", "ab*", "a+", r"\d", "^ab|cd", "^a|b$", "[a-z]x", r"\bab", "a{2,}"] {
            let given = comparison(pattern.as_bytes()).unwrap();
            assert!(matches!(&given, Comparison::Matches(_)), "{pattern}: {given:?}");
        }
    }

    #[test]
    fn what_is_read_otherwise_is_refused() {
        let deep = ["(".repeat(10_000), ")".repeat(10_000)].concat();
        for (pattern, wanted) in [
            ("a)", "unopened group at `)`"),
            ("a|", "every text matches"),
            ("a{2,1}", "invalid repetition count range"),
            ("[a&&b]", "an operation on classes"),
            ("[a[b]]", "a class in a class"),
            (r"\<a", "this boundary"),
            ("(?x)a b", "this flag"),
            (r"(a)\1", "backreferences are not supported"),
            ("(?=a)", "look-around"),
            (&deep, "nested parentheses"),
        ] {
            let error = comparison(pattern.as_bytes()).unwrap_err();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
    }
}
