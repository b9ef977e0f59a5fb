//! Text of arguments and environment from the NUL-separated bytes in a process's memory, and of the
//! binary's path.
//!
//! Anything can stand in these bytes. Invalid UTF-8 becomes U+FFFD; the text of arguments cannot always
//! be split into arguments again, since quotes inside an argument are not escaped.

use std::collections::HashSet;

/// Arguments as events show them: without the first, joined with spaces, those that hold a space in
/// double quotes and always behind a space, even at the start. Empty ones at the end or the start
/// vanish, others leave two spaces in a row.
pub fn arguments(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(trim_nuls(raw));
    let mut out = String::with_capacity(text.len());
    for token in text.split('\0').skip(1) {
        if token.contains(' ') {
            out.push_str(" \"");
            out.push_str(token);
            out.push('"');
        } else {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(token);
        }
    }
    out
}

/// The variables of an environment that are wanted, each as its `NAME=value` text.
///
/// `only` names the variables to keep; none named keeps all.
pub fn environment(raw: &[u8], only: &HashSet<String>) -> Vec<String> {
    let text = String::from_utf8_lossy(trim_nuls(raw));
    text.split('\0')
        .filter(|entry| !entry.is_empty())
        .filter(|entry| only.is_empty() || only.contains(variable(entry).0))
        .map(str::to_owned)
        .collect()
}

/// Name and value of an environment entry; the name is `invalid` where there is no `=`.
pub fn variable(entry: &str) -> (&str, &str) {
    entry.split_once('=').unwrap_or(("invalid", entry))
}

/// The binary's path: `filename` itself when it is absolute, else joined with the directory, without
/// `.` and `..` components.
pub fn binary(filename: &str, cwd: &str) -> String {
    if filename.starts_with('/') || filename.is_empty() {
        return filename.to_owned();
    }
    let absolute = cwd.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in cwd.split('/').chain(filename.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if absolute { format!("/{joined}") } else { joined }
}

fn trim_nuls(raw: &[u8]) -> &[u8] {
    let end = raw.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &raw[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_table() {
        let cases: &[(&[u8], &str)] = &[
            (b"", ""),
            (b"\0", ""),
            (b"ls", ""),
            (b"ls\0", ""),
            (b"ls\0-l\0/tmp\0", "-l /tmp"),
            (b"ls\0-l\0/tmp", "-l /tmp"),
            (b"echo\0hello world\0", " \"hello world\""),
            (b"echo\0a\0hello world\0b\0", "a \"hello world\" b"),
            (b"sh\0-c\0echo \"x y\"\0", "-c \"echo \"x y\"\""),
            (b"sh\0\0\0x\0", "x"),
            (b"sh\0a\0\0b\0", "a  b"),
            (b"sh\0a\0\0\0", "a"),
            (b"sh\0 \0", " \" \""),
            (b"\0a\0b\0", "a b"),
            (b"sh\0a\tb\nc\0", "a\tb\nc"),
            (b"sh\0caf\xc3\xa9\0", "caf\u{e9}"),
            (b"sh\0\xff\xfe\0x\0", "\u{fffd}\u{fffd} x"),
            (b"\xff\0x\0", "x"),
            (b"sh\0cut\xe2\x82", "cut\u{fffd}"),
        ];
        for (raw, text) in cases {
            assert_eq!(arguments(raw), *text, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn megabytes_of_arguments_pass() {
        let mut raw = b"sh\0".to_vec();
        raw.extend(std::iter::repeat_n(b"x\0", 1 << 20).flatten());
        assert_eq!(arguments(&raw).len(), (2 << 20) - 1);
    }

    #[test]
    fn environment_keeps_what_the_filter_names() {
        let raw = b"PATH=/bin\0EMPTY=\0odd\0A=b=c\0\0";
        let all = environment(raw, &HashSet::new());
        assert_eq!(all, ["PATH=/bin", "EMPTY=", "odd", "A=b=c"]);
        let only = HashSet::from(["A".to_owned(), "PAT".to_owned()]);
        assert_eq!(environment(raw, &only), ["A=b=c"]);
        let only = HashSet::from(["invalid".to_owned()]);
        assert_eq!(environment(raw, &only), ["odd"]);
        assert_eq!(variable("A=b=c"), ("A", "b=c"));
        assert_eq!(variable("odd"), ("invalid", "odd"));
    }

    #[test]
    fn binary_table() {
        let cases = [
            ("/bin/ls", "/home", "/bin/ls"),
            ("/bin/../x", "/home", "/bin/../x"),
            ("ls", "/home/me", "/home/me/ls"),
            ("./ls", "/home/me", "/home/me/ls"),
            ("../ls", "/home/me", "/home/ls"),
            ("../../../ls", "/home/me", "/ls"),
            ("./a//b/./c", "/", "/a/b/c"),
            ("ls", "", "ls"),
            ("./ls", "", "ls"),
            ("../ls", "", "../ls"),
            ("", "/home", ""),
            ("/dev/fd/5", "/", "/dev/fd/5"),
        ];
        for (filename, cwd, path) in cases {
            assert_eq!(binary(filename, cwd), path, "{filename} in {cwd}");
        }
    }
}
