//! Words and lines: how lists, sizes and paragraphs are written.

/// Columns of a paragraph.
const WIDTH: usize = 110;

/// `a, b and c`
pub(super) fn joined(all: &[String], last: &str) -> String {
    match all {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

/// Words with a capital letter at their beginning.
pub(super) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// A paragraph in lines, the first with `lead` and the others indented as much.
pub(super) fn wrapped(lead: &str, words: &str) -> String {
    let indent = " ".repeat(lead.chars().count());
    let mut text = String::new();
    let mut line = lead.to_owned();
    let mut empty = true;
    for word in words.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = indent.clone();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(&line);
    text.push('\n');
    text
}

/// Bytes for people, in powers of 1000.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Bytes of a path or text; quoted where that makes them clear.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, ',' | '"' | '`'));
    if plain { text.into_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(joined(&words(&[]), "or"), "nothing");
        assert_eq!(joined(&words(&["a"]), "or"), "a");
        assert_eq!(joined(&words(&["a", "b", "c"]), "or"), "a, b or c");
    }

    #[test]
    fn paragraphs_are_indented_and_no_line_is_too_long() {
        let text = wrapped("  - ", &"word ".repeat(60));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(
            text.starts_with("  - word") && text.lines().nth(1).unwrap().starts_with("    word")
        );
        assert_eq!(text.split_whitespace().filter(|word| *word == "word").count(), 60);
    }

    #[test]
    fn texts_that_do_not_print_are_quoted() {
        assert_eq!(quoted(b"/etc/passwd"), "/etc/passwd");
        assert_eq!(quoted(b"a b\n"), "\"a b\\n\"");
        assert_eq!(quoted(b""), "\"\"");
    }
}
