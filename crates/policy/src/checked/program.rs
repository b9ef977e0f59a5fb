//! Places in programs and libraries, for uprobes.

use super::checker::{Checker, Place};
use super::hook::not_empty;

use crate::document::Uprobe;
use crate::problem::{Path, excerpt, hint};
use crate::text::integer;

/// Places in one ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Path of the file, as the agent sees it.
    pub path: String,
    /// BTF file for the types of the program.
    pub btf_path: Option<String>,
    /// Where in the file; never empty.
    pub locations: Locations,
    /// Where each of them stands in the policy.
    pub places: Vec<Place>,
    /// Offsets of reference counters in the file: none, or one for each location.
    pub reference_counters: Vec<u64>,
    /// Digests of which the file must have one; empty: any file.
    pub digests: Vec<Digest>,
    /// Whether the hook is left out when the file has none of them.
    pub ignore_digest_failure: bool,
}

/// Places in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locations {
    /// By symbol.
    Symbols(Vec<Symbol>),
    /// By offset in the file.
    Offsets(Vec<u64>),
    /// By virtual address.
    Addresses(Vec<u64>),
}

/// A symbol with an offset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Bytes from it on.
    pub offset: u64,
}

/// A digest of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest {
    /// How it is computed.
    pub algorithm: DigestAlgorithm,
    /// The digest.
    pub bytes: Vec<u8>,
}

/// How a digest is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// The linker's build id, of any length.
    BuildId,
}

impl DigestAlgorithm {
    /// Bytes of a digest, if all have one length.
    #[must_use]
    pub fn length(self) -> Option<usize> {
        match self {
            Self::Sha1 => Some(20),
            Self::Sha256 => Some(32),
            Self::Sha384 => Some(48),
            Self::Sha512 => Some(64),
            Self::BuildId => None,
        }
    }
}

impl Symbol {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no symbol: write NAME or NAME+0x10", excerpt(text));
        // C++ names may hold a plus (`operator+`), so only a number after it is an offset.
        let split = text.rsplit_once('+').and_then(|(name, offset)| {
            let offset =
                integer(offset.trim()).filter(|_| !offset.trim().starts_with(['+', '-']))?;
            Some((name.trim(), u64::try_from(offset).ok()?))
        });
        let (name, offset) = split.unwrap_or((text, 0));
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), offset })
    }
}

impl Digest {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (algorithm, hex) = text.split_once(':').ok_or_else(|| {
            format!("`{}` is no digest: write ALGORITHM:HEX, e.g. sha256:…", excerpt(text))
        })?;
        let algorithm = match algorithm.trim().to_ascii_lowercase().as_str() {
            "sha1" => DigestAlgorithm::Sha1,
            "sha256" => DigestAlgorithm::Sha256,
            "sha384" => DigestAlgorithm::Sha384,
            "sha512" => DigestAlgorithm::Sha512,
            "build-id" => DigestAlgorithm::BuildId,
            other => {
                let known = ["sha1", "sha256", "sha384", "sha512", "build-id"];
                let hint = hint(other, &known);
                return Err(format!("`{}` is no algorithm: {hint}", excerpt(other)));
            }
        };
        let hex = hex.trim();
        let wrong = || format!("`{}` is not hexadecimal", excerpt(hex));
        if hex.is_empty() || hex.len() % 2 != 0 || !hex.bytes().all(|d| d.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong());
        let bytes = (0..hex.len()).step_by(2).map(byte).collect::<Result<Vec<u8>, _>>()?;
        if let Some(length) = algorithm.length()
            && bytes.len() != length
        {
            return Err(format!(
                "the digest has {} bytes, but this algorithm's have {length}",
                bytes.len()
            ));
        }
        Ok(Self { algorithm, bytes })
    }
}

pub(crate) fn check(
    written: &Uprobe,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<Program> {
    not_empty(&written.path, "path", path, checker);
    let locations = if !written.symbols.is_empty() {
        let symbols = checker.each(&written.symbols, &path.key("symbols"), Symbol::parse);
        Locations::Symbols(symbols)
    } else if !written.offsets.is_empty() {
        Locations::Offsets(written.offsets.clone())
    } else if !written.addrs.is_empty() {
        Locations::Addresses(written.addrs.clone())
    } else {
        checker.error(path, "a uprobe needs symbols, offsets or addrs");
        return None;
    };
    let (key, count) = match &locations {
        Locations::Symbols(_) => ("symbols", written.symbols.len()),
        Locations::Offsets(offsets) => ("offsets", offsets.len()),
        Locations::Addresses(addresses) => ("addrs", addresses.len()),
    };
    let list = path.key(key);
    let places = (0..count).map(|index| checker.place(&list.index(index))).collect();
    let counters = &written.ref_ctr_offsets;
    if !counters.is_empty() && counters.len() != count {
        let message =
            format!("{} reference counters for {count} places: give one for each", counters.len());
        checker.error(&path.key("refCtrOffsets"), message);
    }
    let digests = checker.each(&written.binary_digests, &path.key("binaryDigests"), Digest::parse);
    let ignore = written.ignore.as_ref();
    Some(Program {
        path: written.path.clone(),
        btf_path: written.btf_path.clone().filter(|path| !path.is_empty()),
        locations,
        places,
        reference_counters: counters.clone(),
        digests,
        ignore_digest_failure: ignore.is_some_and(|ignore| ignore.digest_verification_failure),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_have_offsets() {
        let symbol = |text: &str| {
            let Symbol { name, offset } = Symbol::parse(text).unwrap();
            (name, offset)
        };
        assert_eq!(symbol("main"), ("main".to_owned(), 0));
        assert_eq!(symbol("main+0x10"), ("main".to_owned(), 16));
        assert_eq!(symbol("main+8"), ("main".to_owned(), 8));
        assert_eq!(symbol("operator+"), ("operator+".to_owned(), 0));
        assert!(Symbol::parse("").is_err());
        assert!(Symbol::parse("+8").is_err());
    }

    #[test]
    fn digests_have_an_algorithm_and_its_length() {
        let sha1 = "Sha1 :  ".to_owned() + &"aB".repeat(20);
        assert_eq!(Digest::parse(&sha1).unwrap().bytes, [0xab; 20]);
        assert_eq!(Digest::parse("build-id:00ff").unwrap().bytes, [0, 255]);
        for (text, wanted) in [
            ("abc", "`abc` is no digest: write ALGORITHM:HEX, e.g. sha256:…"),
            ("md5:00", "`md5` is no algorithm: it can be sha1, sha256, sha384, sha512 or build-id"),
            ("sha265:00", "`sha265` is no algorithm: did you mean `sha256`?"),
            ("sha1:00", "the digest has 1 bytes, but this algorithm's have 20"),
            ("build-id:0", "`0` is not hexadecimal"),
            ("build-id:é0", "`é0` is not hexadecimal"),
        ] {
            assert_eq!(Digest::parse(text).unwrap_err(), wanted);
        }
    }
}
