//! Paths with their flags, and permissions as `ls` writes them.

use compiler::observed::FilePath;

use super::text::text;

/// What `flags` says of a path whose upper part is missing.
const UNRESOLVED: &str = "unresolvedPathComponents";

/// Bits of a file's mode (include/uapi/linux/stat.h).
mod mode {
    pub(super) const TYPE: u16 = 0o170_000;
    pub(super) const SET_USER: u16 = 0o4000;
    pub(super) const SET_GROUP: u16 = 0o2000;
    pub(super) const STICKY: u16 = 0o1000;
}

/// A path as events show it.
pub(super) struct Shown {
    pub(super) path: String,
    pub(super) flags: String,
    pub(super) permission: String,
}

/// What has no path (an anonymous inode, a mount that is gone) is shown as `/`.
pub(super) fn shown(path: &FilePath) -> Shown {
    let flags = if path.complete { "" } else { UNRESOLVED };
    let text = text(&path.path);
    Shown {
        path: if text.is_empty() { "/".to_owned() } else { text },
        flags: flags.to_owned(),
        permission: permission(path.mode),
    }
}

/// Type letter and permissions, `-rwxr-xr-x`; nothing for mode 0, which no file has.
fn permission(mode: u16) -> String {
    if mode == 0 {
        return String::new();
    }
    let mut text = String::with_capacity(10);
    text.push(match mode & mode::TYPE {
        0o140_000 => 's',
        0o120_000 => 'l',
        0o100_000 => '-',
        0o060_000 => 'b',
        0o040_000 => 'd',
        0o020_000 => 'c',
        0o010_000 => 'p',
        _ => '?',
    });
    let classes = [(6, mode::SET_USER, 's'), (3, mode::SET_GROUP, 's'), (0, mode::STICKY, 't')];
    for (shift, special, letter) in classes {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions() {
        let cases = [
            (0o100_755, "-rwxr-xr-x"),
            (0o100_644, "-rw-r--r--"),
            (0o100_000, "----------"),
            (0o104_755, "-rwsr-xr-x"),
            (0o104_644, "-rwSr--r--"),
            (0o102_755, "-rwxr-sr-x"),
            (0o102_745, "-rwxr-Sr-x"),
            (0o041_777, "drwxrwxrwt"),
            (0o041_776, "drwxrwxrwT"),
            (0o120_777, "lrwxrwxrwx"),
            (0o140_755, "srwxr-xr-x"),
            (0o060_660, "brw-rw----"),
            (0o020_620, "crw--w----"),
            (0o010_644, "prw-r--r--"),
            (0o000_600, "?rw-------"),
            (0, ""),
        ];
        for (mode, expected) in cases {
            assert_eq!(permission(mode), expected, "{mode:o}");
        }
    }

    #[test]
    fn paths() {
        let of = |path: &[u8], complete| {
            let Shown { path, flags, .. } =
                shown(&FilePath { path: path.to_vec(), complete, mode: 0 });
            (path, flags)
        };
        let expect = |path: &str, flags: &str| (path.to_owned(), flags.to_owned());
        assert_eq!(of(b"/etc/passwd", true), expect("/etc/passwd", ""));
        assert_eq!(of(b"/deep/er", false), expect("/deep/er", "unresolvedPathComponents"));
        assert_eq!(of(b"", true), expect("/", ""));
        assert_eq!(of(b"/tmp/x (deleted)", true), expect("/tmp/x (deleted)", ""));
        assert_eq!(of(b"/tmp/\xff\xfe", true), expect("/tmp/\u{fffd}", ""));
    }
}
