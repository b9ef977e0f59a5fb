//! Whether a process is a container's health check.

/// Whether a process, by its binary and its arguments as events have them, is what a probe executes.
///
/// A probe with a relative path is found by the name of the binary alone. Where a script is executed, the
/// kernel puts its path before the arguments: that is left out. Arguments that cannot be taken apart are
/// those of no probe.
#[must_use]
pub fn is_probe(command: &[String], binary: &str, arguments: &str) -> bool {
    let Some((program, expected)) = command.split_first() else { return false };
    let Some(words) = split(arguments) else { return false };
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let same = |path: &str| match program.starts_with('/') {
        true => path == program,
        false => base(path) == base(program),
    };
    let words = match words.split_first() {
        // A script: the binary is its interpreter or itself, and its path comes first.
        Some((first, rest)) if same(first) => rest,
        _ => &words[..],
    };
    same(binary) && words == expected
}

/// Takes arguments apart as a shell does, without expanding anything; nothing for an open quote.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => match letters.next()? {
                            letter @ ('"' | '\\' | '$' | '`') => word.push(letter),
                            letter => word.extend(['\\', letter]),
                        },
                        letter => word.push(letter),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(letters.next()?),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_and_others() {
        for (command, binary, arguments, expected) in [
            (&["/bin/check"][..], "/bin/check", "", true),
            (&["check"], "/usr/bin/check", "", true),
            (&["bin/check"], "/usr/bin/check", "", true),
            (&["/bin/check"], "/usr/bin/check", "", false),
            (&["check", "-a", "b c"], "/bin/check", "-a \"b c\"", true),
            (&["check", "-a", "b c"], "/bin/check", "-a b c", false),
            (&["check", "-a"], "/bin/check", "", false),
            (&["check"], "/bin/check", "-a", false),
            (&["/check.sh", "x"], "/check.sh", "/check.sh x", true),
            (&["check"], "/bin/check", "\"open", false),
            (&[], "/bin/check", "", false),
            (&["sh", "-c", "a 'b'"], "/bin/sh", "-c \"a 'b'\"", true),
        ] {
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(is_probe(&command, binary, arguments), expected, "{command:?} {arguments}");
        }
    }

    #[test]
    fn words() {
        let split = |text| split(text).map(|words| words.join("|"));
        assert_eq!(split(r#"a  'b c' "d\"e" f\ g ''"#).as_deref(), Some("a|b c|d\"e|f g|"));
        assert_eq!(split(""), Some(String::new()));
        assert_eq!((split("'a"), split("\"a"), split("a\\")), (None, None, None));
    }
}
