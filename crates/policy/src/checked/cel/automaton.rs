//! Regular expressions as deterministic automata: tables that a program in the kernel follows, one entry for
//! each byte of a text.
//!
//! An automaton says whether an expression matches some part of a text, as `matches` of CEL does. Expressions
//! are about bytes, as all that is asked of texts: `.` is any byte but a newline, `\d`, `\w`, `\s`, `\b` and
//! `(?i)` are about ASCII. Those whose table would be too large are refused, and so is the little that the
//! syntax of CEL (RE2) and that of the parser here do not have in common.

use regex_automata::Anchored;
use regex_automata::MatchKind;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::{primitives::StateID, start, syntax};
use std::collections::HashMap;

/// Entries of a table at most: 64 KiB.
const ENTRIES_MAX: usize = 1 << 15;
/// States before those that say the same are made one.
const STATES_MAX: usize = 2048;
/// Bytes that may be taken while one is made.
const MEMORY_MAX: usize = 16 << 20;

/// The state from which nothing matches any more.
const FAILED: u16 = 0;
/// The state in which something has matched.
const MATCHED: u16 = 1;
/// Where it begins.
const START: u16 = 2;

/// A regular expression and its automaton.
#[derive(Debug, Clone)]
pub struct Automaton {
    pattern: String,
    regex: regex::bytes::Regex,
    classes: Vec<u8>,
    columns: usize,
    next: Vec<u16>,
}

// The rest follows from the pattern.
impl PartialEq for Automaton {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for Automaton {}

impl Automaton {
    /// The automaton of an expression.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let last = last.strip_prefix("error: ").unwrap_or(last);
            format!("this is no regular expression over bytes: {last}")
        };
        let regex = regex::bytes::RegexBuilder::new(pattern)
            .unicode(false)
            .size_limit(MEMORY_MAX)
            .build()
            .map_err(|error| wrong(&error))?;
        let config = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .match_kind(MatchKind::All)
            .dfa_size_limit(Some(MEMORY_MAX))
            .determinize_size_limit(Some(MEMORY_MAX));
        let nfa = thompson::Config::new().utf8(false).nfa_size_limit(Some(MEMORY_MAX));
        let dfa = dense::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(nfa)
            .build(pattern)
            .map_err(|error| match error.is_size_limit_exceeded() {
                true => too_large(),
                false => wrong(&error),
            })?;
        let rows = explore(&dfa)?;
        let (classes, columns, rows) = join_columns(&rows);
        let (start, next) = join_states(&rows, columns);
        match start {
            MATCHED => {
                Err("a regular expression that every text matches does nothing: remove it"
                    .to_owned())
            }
            FAILED => Err("no text matches this regular expression".to_owned()),
            _ if next.len() > ENTRIES_MAX => Err(too_large()),
            _ => Ok(Self { pattern: pattern.to_owned(), regex, classes, columns, next }),
        }
    }

    /// The expression.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether it matches a part of the text. This does not look at the table.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// The column of each byte in a row of the table: 256 of them.
    #[must_use]
    pub fn classes(&self) -> &[u8] {
        &self.classes
    }

    /// Entries in a row. The last one is for the end of the text.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The table: for each state a row with the state that follows each class of bytes. Nothing leads out
    /// of state 0, in which nothing can match, and state 1, in which something has matched, as it has
    /// where the end of the text leads there. It begins in state 2.
    #[must_use]
    pub fn next(&self) -> &[u16] {
        &self.next
    }
}

fn too_large() -> String {
    format!(
        "the automaton of this regular expression is too large for a program in the kernel: more than \
         {ENTRIES_MAX} entries; shorter repetitions and fewer alternatives make smaller ones"
    )
}

/// What follows a state: for each byte and, last, the end of the text.
type Row = Vec<u16>;

/// The states that can be reached, with those that match made one, and those that cannot match.
fn explore(dfa: &dense::DFA<Vec<u32>>) -> Result<Vec<Row>, String> {
    let config = start::Config::new().anchored(Anchored::No);
    let first = dfa.start_state(&config).map_err(|error| error.to_string())?;
    let mut numbers: HashMap<StateID, u16> = HashMap::from([(first, START)]);
    let mut found = vec![first];
    let mut rows = vec![vec![FAILED; 257], vec![MATCHED; 257]];
    while let Some(state) = found.get(rows.len() - usize::from(START)).copied() {
        let mut number = |next: StateID| {
            if dfa.is_dead_state(next) {
                return FAILED;
            }
            if dfa.is_match_state(next) {
                return MATCHED;
            }
            *numbers.entry(next).or_insert_with(|| {
                found.push(next);
                (found.len() - 1) as u16 + START
            })
        };
        let mut row: Row = (0..=u8::MAX).map(|byte| number(dfa.next_state(state, byte))).collect();
        row.push(number(dfa.next_eoi_state(state)));
        // The end of the text decides.
        if row[256] != MATCHED {
            row[256] = FAILED;
        }
        rows.push(row);
        if found.len() > STATES_MAX {
            return Err(too_large());
        }
    }
    Ok(rows)
}

/// Bytes after which all states go on alike share a column. Gives the column of each byte, how many
/// columns there are, and the rows with these. The end of the text has the last one.
fn join_columns(rows: &[Row]) -> (Vec<u8>, usize, Vec<Row>) {
    let mut columns: Vec<Vec<u16>> = Vec::new();
    let mut numbers: HashMap<Vec<u16>, u8> = HashMap::new();
    let mut classes = Vec::with_capacity(256);
    for byte in 0..256 {
        let column: Vec<u16> = rows.iter().map(|row| row[byte]).collect();
        let number = *numbers.entry(column.clone()).or_insert_with(|| {
            columns.push(column);
            (columns.len() - 1) as u8
        });
        classes.push(number);
    }
    columns.push(rows.iter().map(|row| row[256]).collect());
    let joined = (0..rows.len()).map(|state| columns.iter().map(|column| column[state]).collect());
    (classes, columns.len(), joined.collect())
}

/// States that no text tells apart are one (Moore's algorithm). Gives the state where it begins, which
/// may be one of the first two, and the table.
fn join_states(rows: &[Row], columns: usize) -> (u16, Vec<u16>) {
    let end = columns - 1;
    // The group of each state, numbered in the order of their first states: those of the first two stay.
    let mut groups: Vec<u16> = rows.iter().map(|row| u16::from(row[end] == MATCHED)).collect();
    loop {
        let mut numbers: HashMap<(u16, Row), u16> = HashMap::new();
        let split: Vec<u16> = rows
            .iter()
            .zip(&groups)
            .map(|(row, group)| {
                let follows = row.iter().map(|next| groups[usize::from(*next)]).collect();
                let count = numbers.len() as u16;
                *numbers.entry((*group, follows)).or_insert(count)
            })
            .collect();
        if split == groups {
            break;
        }
        groups = split;
    }
    let count = groups.iter().max().map_or(0, |last| usize::from(*last) + 1);
    let mut next = vec![FAILED; count * columns];
    for (row, group) in rows.iter().zip(&groups) {
        let from = usize::from(*group) * columns;
        for (to, follows) in next[from..from + columns].iter_mut().zip(row) {
            *to = groups[usize::from(*follows)];
        }
    }
    (groups[usize::from(START)], next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the table says.
    fn follow(automaton: &Automaton, text: &[u8]) -> bool {
        let row = |state: u16| &automaton.next()[usize::from(state) * automaton.columns()..];
        let mut state = START;
        for byte in text {
            state = row(state)[usize::from(automaton.classes()[usize::from(*byte)])];
        }
        row(state)[automaton.columns() - 1] == MATCHED
    }

    #[test]
    fn tables_say_what_the_expression_does() {
        let texts: Vec<Vec<u8>> = (0..6_u32)
            .flat_map(|length| {
                (0..5_u32.pow(length)).map(move |number| {
                    (0..length)
                        .map(|at| b"abA\n\xff"[(number / 5_u32.pow(at) % 5) as usize])
                        .collect()
                })
            })
            .collect();
        for pattern in [
            "a+b",
            "^a",
            "b$",
            "^a|b$",
            "^(a|b)*$",
            "a{2,3}b?",
            "[^a]a",
            "(?i)ab",
            ".b",
            "(?s).b",
            "^$",
            r"\bab?\b",
            r"\w\W",
            "(?m)^b$",
            "(a|ab)(b|A)$",
            "a??b",
            r"\xff",
            "^.{3}$",
            r"^[\x80-\xff]+$",
        ] {
            let automaton = Automaton::new(pattern).unwrap();
            let (mut matching, mut other) = (0, 0);
            for text in &texts {
                let matches = follow(&automaton, text);
                assert_eq!(matches, automaton.is_match(text), "{pattern} {text:?}");
                if matches { matching += 1 } else { other += 1 }
            }
            assert!(matching > 0 && other > 0, "{pattern}");
        }
    }

    #[test]
    fn states_are_few() {
        for (pattern, states) in
            [("ab", 4), ("^ab", 4), ("a|b|c", 3), ("^(a|b)$", 4), ("(a|b)c", 4)]
        {
            let automaton = Automaton::new(pattern).unwrap();
            assert_eq!(automaton.next().len() / automaton.columns(), states, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for (pattern, wanted) in [
            ("a*", "every text matches"),
            ("a^b", "no text matches"),
            ("(a|b)*a(a|b){12}", "too large"),
            (".{5000}", "too large"),
            ("(a", "unclosed group"),
            (r"\p{Greek}", "Unicode not allowed here"),
            ("[\u{e9}]", "Unicode not allowed here"),
        ] {
            let error = Automaton::new(pattern).unwrap_err();
            assert!(error.contains(wanted), "{pattern}: {error}");
        }
    }
}
