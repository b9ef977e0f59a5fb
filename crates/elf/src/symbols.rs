//! Names for places in code, as stacks show them.
//!
//! What is read here belongs to whoever is observed, not to whoever administers the machine: a file may be
//! huge, broken on purpose, or change while it is read. It is read, never mapped: a mapping of a file that
//! is cut meanwhile ends the process that looks at it (SIGBUS). How much is read is bounded.

use object::Object as _;
use object::read::ReadCache;

use crate::contents::{Bytes, Contents, parse};
use crate::{Error, FunctionKind, ProgramFile, function};

/// Bytes of one file that are read at most.
const READ_MAX: u64 = 256 << 20;
/// Bytes of a table at most; that of a large browser has 20 MB.
const TABLE_MAX: u64 = 64 << 20;

/// Functions of a file by where their code is.
#[derive(Debug, Clone, Default)]
pub struct Symbols {
    /// The linker's build id.
    pub build_id: Option<Vec<u8>>,
    names: Box<str>,
    /// Sorted by offset; one for each.
    entries: Box<[Entry]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where in the file its code begins.
    offset: u64,
    /// Bytes of its code; where that is not known, up to the next.
    size: u64,
    /// Where in the names, and their length.
    name: (u32, u32),
}

impl Symbols {
    /// Reads the functions of a file.
    ///
    /// # Errors
    /// It is no ELF file, a broken one, cannot be read, or has more symbols than are read.
    pub fn read(file: &ProgramFile) -> Result<Self, Error> {
        let cache = ReadCache::new(file.bounded_reader(READ_MAX));
        let elf = parse(file, Bytes { cache: &cache, most: TABLE_MAX })?;
        let mut contents = Contents::with_segments(&elf);
        function::read(&elf, &mut contents);
        let build_id = elf.build_id().unwrap_or_default().map(<[u8]>::to_vec);
        Ok(Self { build_id, ..Self::of(&contents) })
    }

    fn of(contents: &Contents) -> Self {
        let code = |kind| matches!(kind, FunctionKind::Code | FunctionKind::Chooser);
        let functions = contents.functions.iter().filter(|function| code(function.kind));
        let mut sorted: Vec<_> = functions.filter_map(|one| Some((one.offset?, one))).collect();
        // Of several at one place, that which people know it by.
        sorted.sort_by_key(|(offset, function)| {
            let underscores = function.name.bytes().take_while(|byte| *byte == b'_').count();
            (*offset, function.size == 0, !function.global, underscores, &function.name)
        });
        sorted.dedup_by_key(|(offset, _)| *offset);
        let mut names = String::new();
        let mut entries: Vec<Entry> = Vec::with_capacity(sorted.len());
        for (offset, function) in sorted {
            let (Ok(start), Ok(length)) = (names.len().try_into(), function.name.len().try_into())
            else {
                break;
            };
            if let Some(before) = entries.last_mut().filter(|before| before.size == 0) {
                before.size = offset - before.offset;
            }
            names.push_str(&function.name);
            entries.push(Entry { offset, size: function.size, name: (start, length) });
        }
        Self { build_id: None, names: names.into(), entries: entries.into() }
    }

    /// The function whose code an offset in the file is in, and how far behind its start.
    pub fn find(&self, offset: u64) -> Option<(&str, u64)> {
        let behind = self.entries.partition_point(|entry| entry.offset <= offset);
        let entry = self.entries.get(behind.checked_sub(1)?)?;
        let inside = offset - entry.offset;
        let (start, length) = (entry.name.0 as usize, entry.name.1 as usize);
        (inside < entry.size).then(|| (&self.names[start..start + length], inside))
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.names.len() + size_of_val(&*self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Section, Symbol, Synthetic, TEXT};
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;

    fn made(change: impl FnOnce(&mut Synthetic)) -> (tempfile::TempDir, ProgramFile) {
        let mut made = Synthetic::new();
        made.text(&[0xc3; 64]);
        change(&mut made);
        let directory = tempfile::tempdir().unwrap();
        made.write(&directory.path().join("file"));
        let file = ProgramFile::open(&directory.path().join("file")).unwrap();
        (directory, file)
    }

    #[test]
    fn places_are_named() {
        let (_directory, file) = made(|made| {
            made.symbol(Symbol::function("first", TEXT, 16));
            made.symbol(Symbol::function("__second", TEXT + 16, 8));
            made.symbol(Symbol::function("second", TEXT + 16, 8));
            made.symbol(Symbol { local: true, ..Symbol::function("a", TEXT + 16, 8) });
            made.symbol(Symbol::function("open", TEXT + 32, 0));
            made.symbol(Symbol::function("last", TEXT + 40, 8));
            made.build_id(b"id");
        });
        let symbols = Symbols::read(&file).unwrap();
        assert_eq!(symbols.build_id.as_deref(), Some(&b"id"[..]));
        let find = |at: u64| symbols.find(0x1000 + at);
        assert_eq!(find(0), Some(("first", 0)));
        assert_eq!(find(15), Some(("first", 15)));
        assert_eq!(find(16), Some(("second", 0)));
        assert_eq!(find(23), Some(("second", 7)));
        assert_eq!(find(24), None, "behind its end");
        assert_eq!(find(39), Some(("open", 7)), "up to the next");
        assert_eq!(find(47), Some(("last", 7)));
        assert_eq!(find(48), None);
        assert_eq!(symbols.find(0xfff), None);
        assert!(symbols.bytes() > 0 && symbols.bytes() < 1000);
    }

    #[test]
    fn a_file_that_changes_is_an_error_and_no_end() {
        let (directory, file) = made(|made| {
            made.symbol(Symbol::function("first", TEXT, 16));
            made.section(Section::data(".gopclntab", &[0; 64]));
        });
        let other = OpenOptions::new().write(true).open(directory.path().join("file")).unwrap();
        let length = other.metadata().unwrap().len();
        for cut in (0..length).rev().step_by(61) {
            other.set_len(cut).unwrap();
            // Where what is left still reads as ELF it has no names.
            let _ = Symbols::read(&file).map(|symbols| assert_eq!(symbols.find(0x1000), None));
        }
        assert!(matches!(Symbols::read(&file), Err(Error::NotElf(_) | Error::Broken { .. })));
    }

    #[test]
    fn files_that_claim_to_be_huge_are_not_read() {
        let (directory, file) = made(|made| made.symbol(Symbol::function("first", TEXT, 16)));
        let path = directory.path().join("file");
        let other = OpenOptions::new().write(true).open(path).unwrap();
        let table = u64::from_le_bytes(made_header(&file));
        other.set_len(1 << 40).unwrap();
        // The third section is the symbol table; its size is in the fifth word of its header.
        for size in [TABLE_MAX + 1, 1 << 32, 1 << 39] {
            other.write_all_at(&u64::to_le_bytes(size), table + 2 * 64 + 32).unwrap();
            let symbols = Symbols::read(&file).unwrap_or_default();
            assert_eq!(symbols.find(0x1000), None, "{size:#x}");
        }
    }

    fn made_header(file: &ProgramFile) -> [u8; 8] {
        let mut table = [0; 8];
        std::fs::File::open(file.path()).unwrap().read_exact_at(&mut table, 40).unwrap();
        table
    }
}
