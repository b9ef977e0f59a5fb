//! Regular expressions that say no more than the comparisons of texts do: characters, `\\` before one that
//! means something, groups of alternatives, `^` at the start and `$` at the end. They are taken apart into
//! the texts that they stand for; others are refused, for no program in the kernel could keep to them.

use crate::checked::comparison::Comparison;

/// Texts that one expression may stand for.
const TEXTS_MAX: usize = 1000;
/// Groups in groups.
const DEPTH_MAX: usize = 16;

/// What an expression asks of a text.
pub(super) fn comparison(pattern: &[u8]) -> Result<Comparison, String> {
    let starts = pattern.first() == Some(&b'^');
    let ends = pattern.last() == Some(&b'$') && !escaped(&pattern[..pattern.len() - 1]);
    let inner = &pattern[usize::from(starts)..pattern.len() - usize::from(ends)];
    let mut reader = Reader { rest: inner, depth: 0 };
    let texts = reader.alternatives()?;
    if !reader.rest.is_empty() {
        return Err("a regular expression closes a group that is not open".to_owned());
    }
    // `^a|b$` is `(^a)|(b$)`.
    if (starts || ends) && reader.top_level_alternatives(inner) {
        return Err(
            "write alternatives between ^ and $ in parentheses: ^ and $ are about one each \
                    otherwise"
                .to_owned(),
        );
    }
    if !(starts && ends) && texts.iter().any(Vec::is_empty) {
        return Err(
            "a regular expression that an empty text matches matches all: remove it".to_owned()
        );
    }
    Ok(match (starts, ends) {
        (true, true) => Comparison::Equal(texts),
        (true, false) => Comparison::Prefix(texts),
        (false, true) => Comparison::Postfix(texts),
        (false, false) => Comparison::Contains(texts),
    })
}

/// Whether what stands behind this is escaped.
fn escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

struct Reader<'p> {
    rest: &'p [u8],
    depth: usize,
}

impl Reader<'_> {
    /// Texts up to the end or a closing parenthesis.
    fn alternatives(&mut self) -> Result<Vec<Vec<u8>>, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("groups are nested more than {DEPTH_MAX} levels deep"));
        }
        let mut all = self.sequence()?;
        while let Some(rest) = self.rest.strip_prefix(b"|") {
            self.rest = rest;
            all.extend(self.sequence()?);
            bounded(all.len())?;
        }
        self.depth -= 1;
        Ok(all)
    }

    fn sequence(&mut self) -> Result<Vec<Vec<u8>>, String> {
        let mut texts = vec![Vec::new()];
        while let Some((first, rest)) = self.rest.split_first() {
            let next = match first {
                b'|' | b')' => break,
                b'(' => {
                    self.rest = rest.strip_prefix(b"?:").unwrap_or(rest);
                    let group = self.alternatives()?;
                    self.rest = self
                        .rest
                        .strip_prefix(b")")
                        .ok_or("a regular expression has a group that is not closed")?;
                    group
                }
                b'\\' => {
                    let (meant, rest) =
                        rest.split_first().ok_or("a regular expression ends with a backslash")?;
                    if meant.is_ascii_alphanumeric() {
                        return Err(refused(&format!("\\{}", char::from(*meant))));
                    }
                    self.rest = rest;
                    vec![vec![*meant]]
                }
                b'.' | b'*' | b'+' | b'?' | b'[' | b']' | b'{' | b'}' | b'^' | b'$' => {
                    return Err(refused(&char::from(*first).to_string()));
                }
                byte => {
                    self.rest = rest;
                    vec![vec![*byte]]
                }
            };
            bounded(texts.len() * next.len())?;
            let with = |text: &Vec<u8>| {
                let text = text.clone();
                next.iter().map(move |next| [&text[..], next].concat()).collect::<Vec<_>>()
            };
            texts = texts.iter().flat_map(with).collect();
        }
        Ok(texts)
    }

    /// Whether there are alternatives outside of groups.
    fn top_level_alternatives(&self, pattern: &[u8]) -> bool {
        let (mut depth, mut at) = (0_usize, 0);
        while let Some(byte) = pattern.get(at) {
            match byte {
                b'\\' => at += 1,
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b'|' if depth == 0 => return true,
                _ => {}
            }
            at += 1;
        }
        false
    }
}

fn bounded(texts: usize) -> Result<(), String> {
    match texts {
        0..=TEXTS_MAX => Ok(()),
        _ => Err(format!("a regular expression stands for more than {TEXTS_MAX} texts")),
    }
}

fn refused(what: &str) -> String {
    format!(
        "`{what}` in a regular expression cannot be compiled: of these, ^ at the start, $ at the end, | and \
         groups can"
    )
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
            ("a|b", Comparison::Contains(texts(&["a", "b"]))),
            ("^(a|b)c(?:d|)$", Comparison::Equal(texts(&["acd", "ac", "bcd", "bc"]))),
            (r"^a\.b\$", Comparison::Prefix(texts(&["a.b$"]))),
            (r"a\\$", Comparison::Postfix(texts(&[r"a\"]))),
            ("^((a|b)|c)$", Comparison::Equal(texts(&["a", "b", "c"]))),
        ] {
            assert_eq!(comparison(pattern.as_bytes()), Ok(expected), "{pattern}");
        }
    }

    #[test]
    fn what_they_do_not_stand_for_is_refused() {
        let deep = "(".repeat(100_000);
        let many = "(a|b)".repeat(100);
        for pattern in [
            "a.c", "a*", "a+", "a?", "[ab]", "a{2}", r"\d", "a^b", "a$b", "^a|b", "a|b$", "(a",
            "a)", "a|", "^", "$", "\\", &deep, &many,
        ] {
            assert!(comparison(pattern.as_bytes()).is_err(), "{pattern}");
        }
    }
}
