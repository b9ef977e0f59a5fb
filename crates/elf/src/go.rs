//! Functions of a Go program from `.gopclntab`, the table by which its runtime knows them: it stays when
//! symbols are stripped. Four layouts are in use, told by a magic number: those of Go 1.2, 1.16, 1.18
//! and 1.20 (`runtime/symtab.go`, `debug/gosym/pclntab.go`). Words have the machine's size and order.

use object::{Object as _, ObjectSection as _};

use crate::contents::{Contents, Elf};
use crate::{Function, FunctionKind};

const GO_1_2: u32 = 0xffff_fffb;
const GO_1_16: u32 = 0xffff_fffa;
const GO_1_18: u32 = 0xffff_fff0;
const GO_1_20: u32 = 0xffff_fff1;

/// Its sections; the second of programs that are loaded anywhere (PIE).
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// The functions of a Go program; `None`: it is none. A table that does not read as one has none.
pub(crate) fn functions(elf: &Elf<'_>, contents: &Contents) -> Option<Vec<Function>> {
    let section = SECTIONS.iter().find_map(|name| elf.section_by_name(name))?;
    let data = section.data().ok()?;
    let text = elf.section_by_name(".text").map_or(0, |text| text.address());
    let table = Table { data, little: elf.is_little_endian() };
    let mut entries = table.entries(text).unwrap_or_default();
    entries.sort();
    let ends: Vec<u64> = entries.iter().skip(1).map(|(start, _)| *start).collect();
    let functions = entries.into_iter().enumerate().map(|(index, (start, name))| Function {
        offset: contents.code_offset(start),
        kind: FunctionKind::Code,
        global: true,
        size: ends.get(index).map_or(0, |end| end - start),
        name,
    });
    Some(functions.filter(|function| function.offset.is_some()).collect())
}

/// The bytes of a table.
struct Table<'a> {
    data: &'a [u8],
    little: bool,
}

impl Table<'_> {
    /// Address and name of each function. `text`: where the code begins, for tables that do not say.
    fn entries(&self, text: u64) -> Option<Vec<(u64, String)>> {
        let word = u64::from(*self.data.get(7)?);
        if word != 8 && word != 4 {
            return None;
        }
        // Words of the header behind its first eight bytes.
        let header = |index: u64| self.number(8 + index * word, word);
        let count = header(0)?;
        // Each takes four bytes at least.
        if count > self.data.len() as u64 {
            return None;
        }
        let (names, functions, start) = match self.number(0, 4)? as u32 {
            GO_1_2 => (0, 0, None),
            GO_1_16 => (header(2)?, header(6)?, None),
            GO_1_18 | GO_1_20 => {
                // Not filled in where the loader is to do so.
                let start = header(2)?;
                (header(3)?, header(7)?, Some(if start == 0 { text } else { start }))
            }
            _ => return None,
        };
        let old = self.number(0, 4)? as u32 == GO_1_2;
        let index = if old { 8 + word } else { functions };
        let mut entries = Vec::new();
        for at in 0..count {
            let (address, about, name) = match start {
                // Offsets of four bytes, from the code's start and from the index.
                Some(start) => {
                    let entry = index + at * 8;
                    let address = start.checked_add(self.number(entry, 4)?)?;
                    (address, functions + self.number(entry + 4, 4)?, 4)
                }
                None => {
                    let entry = index + at * 2 * word;
                    (self.number(entry, word)?, functions + self.number(entry + word, word)?, word)
                }
            };
            let name = names.checked_add(self.number(about.checked_add(name)?, 4)?)?;
            entries.push((address, self.text(name)?));
        }
        Some(entries)
    }

    fn number(&self, at: u64, size: u64) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.data.get(at..at.checked_add(size as usize)?)?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match self.little {
            true => bytes.iter().rev().fold(0, fold),
            false => bytes.iter().fold(0, fold),
        })
    }

    fn text(&self, at: u64) -> Option<String> {
        let bytes = self.data.get(usize::try_from(at).ok()?..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Section, Synthetic, TEXT};

    /// A table of `main.main` at 0 and `main.work` at 32 of the code, as Go lays it out.
    fn table(magic: u32, start: u64) -> Vec<u8> {
        let names = b"main.main\0main.work\0";
        let functions = [(0_u64, 0_u32), (32, 10)];
        let mut data = magic.to_le_bytes().to_vec();
        data.extend([0, 0, 1, 8]);
        let mut words =
            |words: &[u64]| words.iter().for_each(|word| data.extend(word.to_le_bytes()));
        match magic {
            GO_1_2 => {
                // Header 16, index 2 * 16 + 16, entries 2 * 12.
                let (entries, text) = (16 + 48, 16 + 48 + 24);
                words(&[2]);
                for (index, (at, _)) in functions.iter().enumerate() {
                    words(&[TEXT + at, entries + 12 * index as u64]);
                }
                words(&[TEXT + 64, 0]);
                for (at, name) in functions {
                    data.extend((TEXT + at).to_le_bytes());
                    data.extend((text as u32 + name).to_le_bytes());
                }
                data.extend(names);
            }
            GO_1_16 => {
                let (text, index) = (64, 64 + names.len() as u64);
                words(&[2, 0, text, 0, 0, 0, index]);
                data.extend(names);
                let mut words =
                    |words: &[u64]| words.iter().for_each(|word| data.extend(word.to_le_bytes()));
                for (at, (from, _)) in functions.iter().enumerate() {
                    words(&[TEXT + from, 48 + 12 * at as u64]);
                }
                words(&[TEXT + 64, 0]);
                for (at, name) in functions {
                    data.extend((TEXT + at).to_le_bytes());
                    data.extend(name.to_le_bytes());
                }
            }
            _ => {
                let (text, index) = (72, 72 + names.len() as u64);
                words(&[2, 0, start, text, 0, 0, 0, index]);
                data.extend(names);
                for (at, (from, _)) in functions.iter().enumerate() {
                    data.extend((*from as u32).to_le_bytes());
                    data.extend((20 + 8 * at as u32).to_le_bytes());
                }
                data.extend(64_u32.to_le_bytes());
                for (from, name) in functions {
                    data.extend((from as u32).to_le_bytes());
                    data.extend(name.to_le_bytes());
                }
            }
        }
        data
    }

    #[test]
    fn all_layouts_are_read() {
        let cases = [(GO_1_2, 0), (GO_1_16, 0), (GO_1_18, TEXT), (GO_1_20, TEXT), (GO_1_20, 0)];
        for (magic, start) in cases {
            let mut made = Synthetic::new();
            let text = made.text(&[0xc3; 64]);
            made.section(Section::data(".gopclntab", &table(magic, start)));
            let contents = made.contents();
            assert!(contents.is_go && contents.from_go, "{magic:#x}");
            let found: Vec<_> = contents
                .functions
                .iter()
                .map(|function| (function.name.as_str(), function.offset))
                .collect();
            let expected = [("main.main", Some(text)), ("main.work", Some(text + 32))];
            assert_eq!(found, expected, "{magic:#x} {start:#x}");
        }
    }

    #[test]
    fn broken_tables_have_no_functions() {
        let whole = table(GO_1_20, TEXT);
        for length in 0..whole.len() {
            let mut made = Synthetic::new();
            made.text(&[0xc3; 64]);
            made.section(Section::data(".gopclntab", &whole[..length]));
            let contents = made.contents();
            let complete = length + 1 >= whole.len();
            assert!(contents.is_go && (contents.functions.is_empty() || complete), "{length}");
        }
    }
}
