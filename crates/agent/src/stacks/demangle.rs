//! Names as they were written: those of Rust and C++ are encoded in symbols.
//!
//! Names come from files that belong to whoever is observed. Decoding can make much of little, so it ends
//! where a name is long enough for anybody.

use std::fmt::{self, Write};

/// Bytes of a name, at most.
const NAME_MAX: usize = 1024;

/// Text that takes no more than [`NAME_MAX`].
#[derive(Default)]
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = NAME_MAX - self.0.len();
        let end = text.floor_char_boundary(room);
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The name that a symbol stands for; the symbol itself where it is not encoded.
pub(super) fn demangle(symbol: &str) -> String {
    let mut name = Bounded::default();
    // An error says that the name was cut.
    if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        let _ = write!(name, "{rust:#}");
    } else if let Some(parsed) = cpp(symbol) {
        let options = cpp_demangle::DemangleOptions::default();
        let cut = parsed.structured_demangle(&mut name, &options).is_err();
        if cut && name.0.len() + 4 < NAME_MAX {
            name.0.clear(); // not the length, but what it is
        }
    }
    if name.0.is_empty() {
        let _ = name.write_str(symbol);
    }
    name.0
}

fn cpp(symbol: &str) -> Option<cpp_demangle::BorrowedSymbol<'_>> {
    symbol.starts_with("_Z").then(|| cpp_demangle::BorrowedSymbol::new(symbol.as_bytes()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded() {
        let cases = [
            ("main", "main"),
            ("__libc_start_main", "__libc_start_main"),
            ("main.(*server).run", "main.(*server).run"),
            ("_ZN3std2rt10lang_start17h0123456789abcdefE", "std::rt::lang_start"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backEOi",
                "std::vector<int, std::allocator<int> >::push_back(int&&)",
            ),
            ("_Znonsense", "_Znonsense"),
            ("", ""),
        ];
        for (symbol, expected) in cases {
            assert_eq!(demangle(symbol), expected);
        }
    }

    #[test]
    fn names_have_an_end() {
        assert_eq!(demangle(&"x".repeat(5000)).len(), NAME_MAX);
        assert_eq!(demangle(&"ö".repeat(1023).replacen('ö', "x", 1)).len(), NAME_MAX - 1);
        // Each substitution is twice the one before.
        let mut deep = String::from("_Z1fSt4pairIiiE");
        for number in 0..30 {
            let before = if number == 0 {
                "_".to_owned()
            } else {
                format!("{}_", char::from_digit(number - 1, 36).unwrap().to_ascii_uppercase())
            };
            deep.push_str(&format!("St4pairIS{before}S{before}E"));
        }
        assert!(demangle(&deep).len() <= NAME_MAX);
    }
}
