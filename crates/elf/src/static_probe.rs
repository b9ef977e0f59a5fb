//! Static probes (USDT): instructions that do nothing, with notes that name them and say where their
//! arguments are. Notes are of type 3 and owner `stapsdt`, in sections `.note.stapsdt`.
//!
//! A linker may move the code after the notes were written: the section `.stapsdt.base`, whose address
//! each note holds as it was, tells by how much (prelink).

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::contents::{Contents, Elf};
use crate::operand::{Operand, Place, split};

const SECTION: &str = ".note.stapsdt";
const BASE: &str = ".stapsdt.base";
const OWNER: &[u8] = b"stapsdt";
/// `NT_STAPSDT`, <sys/sdt.h>
const TYPE: u32 = 3;

/// A static probe at one place; inlined code has one of a name at several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticProbe {
    /// Who provides it.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// Where in the file its instruction is; `None`: its address is not in code.
    pub offset: Option<u64>,
    /// The address of its instruction, as the file is linked.
    pub address: u64,
    /// Where in the file the counter is that says whether somebody looks; 0: it has none.
    pub counter: u64,
    /// The texts that say where its arguments are ([`crate::Operand::parse`]).
    pub arguments: Vec<String>,
    /// Addresses, as the file is linked, of symbols that those texts name.
    pub symbols: Vec<(String, u64)>,
}

/// The static probes of a file, in its order.
pub(crate) fn read(elf: &Elf<'_>, contents: &Contents) -> Result<Vec<StaticProbe>, String> {
    let base = elf.section_by_name(BASE).map(|section| section.address());
    let mut probes = Vec::new();
    for section in elf.sections() {
        if section.name() != Ok(SECTION) {
            continue;
        }
        let data = section.data().map_err(|error| format!("{SECTION}: {error}"))?;
        let word = if elf.is_64() { 8 } else { 4 };
        let mut notes = Bytes { rest: data, word, little: elf.is_little_endian() };
        while !notes.rest.is_empty() {
            let cut = || format!("{SECTION}: a note ends before it should");
            let Some(about) = notes.note().ok_or_else(cut)? else { continue };
            probes.push(probe(about, base, contents)?);
        }
    }
    name_symbols(elf, contents, &mut probes);
    Ok(probes)
}

fn probe(
    mut about: Bytes<'_>,
    base: Option<u64>,
    contents: &Contents,
) -> Result<StaticProbe, String> {
    let words =
        (|| Some((about.word()?, about.word()?, about.word()?, about.text()?, about.text()?)))();
    let cut = || format!("{SECTION}: what a note says ends before it should");
    let (address, linked, counter, provider, name) = words.ok_or_else(cut)?;
    // Without a base nothing was moved.
    let moved = base.map_or(0, |base| base.wrapping_sub(linked));
    let address = address.wrapping_add(moved);
    let counter = match counter {
        0 => 0,
        counter => {
            let address = counter.wrapping_add(moved);
            let wrong =
                || format!("the counter of {provider}:{name} at {address:#x} is not in data");
            contents.data_offset(address).ok_or_else(wrong)?
        }
    };
    // Some tools leave the last one out where there are no arguments.
    let arguments = about.text().unwrap_or_default();
    let arguments = split(&arguments).into_iter().map(str::to_owned).collect();
    let offset = contents.code_offset(address);
    let symbols = Vec::new();
    Ok(StaticProbe { provider, name, offset, address, counter, arguments, symbols })
}

/// Looks up the symbols that texts of arguments name.
fn name_symbols(elf: &Elf<'_>, contents: &Contents, probes: &mut [StaticProbe]) {
    for probe in probes {
        let symbol = |text: &String| match Operand::parse(text, contents.architecture).ok()?.place {
            Place::Memory { symbol, .. } => symbol,
            _ => None,
        };
        let wanted: Vec<String> = probe.arguments.iter().filter_map(symbol).collect();
        if wanted.is_empty() {
            continue;
        }
        for symbol in elf.symbols().chain(elf.dynamic_symbols()) {
            let Ok(name) = symbol.name() else { continue };
            let known = probe.symbols.iter().any(|(known, _)| known == name);
            if !symbol.is_undefined() && !known && wanted.iter().any(|wanted| wanted == name) {
                probe.symbols.push((name.to_owned(), symbol.address()));
            }
        }
    }
}

/// Bytes of notes.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    rest: &'a [u8],
    word: usize,
    little: bool,
}

impl<'a> Bytes<'a> {
    /// What the next note is about, if it is a static probe. `None`: it is cut off.
    fn note(&mut self) -> Option<Option<Self>> {
        let (owner, about, kind) = (self.number(4)?, self.number(4)?, self.number(4)?);
        let owner = self.padded(owner)?;
        let about = self.padded(about)?;
        let is_probe = kind == u64::from(TYPE) && owner.strip_suffix(b"\0") == Some(OWNER);
        Some(is_probe.then_some(Bytes { rest: about, ..*self }))
    }

    fn word(&mut self) -> Option<u64> {
        self.number(self.word)
    }

    fn number(&mut self, size: usize) -> Option<u64> {
        let (bytes, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match self.little {
            true => bytes.iter().rev().fold(0, fold),
            false => bytes.iter().fold(0, fold),
        })
    }

    /// So many bytes, and those up to a multiple of four.
    fn padded(&mut self, size: u64) -> Option<&'a [u8]> {
        let size = usize::try_from(size).ok()?;
        let bytes = self.rest.get(..size)?;
        self.rest = self.rest.get(size.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest = &self.rest[end + 1..];
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{DATA, DATA_OFFSET, Section, Symbol, Synthetic, TEXT, probe_note};

    #[test]
    fn probes_are_found_where_they_were_moved_to() {
        let mut made = Synthetic::new();
        let text = made.text(&[0x90; 64]);
        let mut notes = probe_note(TEXT, 0x7000, 0, ["app", "start", ""]);
        // Of another owner.
        notes.extend([4, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0]);
        notes.extend(b"abc\0wxyz");
        let texts = ["app", "stop", "-4@%edi 8@count+8(%rip)"];
        notes.extend(probe_note(TEXT + 8, 0x7000, DATA + 6, texts));
        made.section(Section::note(SECTION, &notes));
        made.symbol(Symbol { local: true, ..Symbol::function("count", DATA + 16, 8) });
        let contents = made.contents();
        let start = StaticProbe {
            provider: "app".into(),
            name: "start".into(),
            offset: Some(text),
            address: TEXT,
            counter: 0,
            arguments: Vec::new(),
            symbols: Vec::new(),
        };
        let stop = StaticProbe {
            name: "stop".into(),
            offset: Some(text + 8),
            address: TEXT + 8,
            counter: DATA_OFFSET + 6,
            arguments: vec!["-4@%edi".into(), "8@count+8(%rip)".into()],
            symbols: vec![("count".into(), DATA + 16)],
            ..start.clone()
        };
        assert_eq!(contents.probes, Ok(vec![start, stop]));

        made.section(Section::data(BASE, &[0]).at(0x7010));
        let moved: Vec<_> = made
            .contents()
            .probes
            .unwrap()
            .iter()
            .map(|probe| (probe.offset, probe.counter))
            .collect();
        assert_eq!(moved, [(Some(text + 16), 0), (Some(text + 24), DATA_OFFSET + 22)]);
    }

    #[test]
    fn notes_that_are_cut_off_are_told() {
        let whole = probe_note(TEXT, 0, 0, ["app", "start", "8@%rax"]);
        let read = |note: &[u8]| {
            let mut made = Synthetic::new();
            made.text(&[0x90]);
            made.section(Section::note(SECTION, note));
            made.contents().probes
        };
        for length in 1..whole.len() - 4 {
            let message = read(&whole[..length]).unwrap_err();
            assert!(message.ends_with("a note ends before it should"), "{length}: {message}");
        }
        let mut short = whole;
        short[4..8].copy_from_slice(&26_u32.to_le_bytes());
        let message = read(&short[..48]).unwrap_err();
        assert_eq!(message, ".note.stapsdt: what a note says ends before it should");
        let lost = read(&probe_note(TEXT, 0, 8, ["app", "start", ""])).unwrap_err();
        assert_eq!(lost, "the counter of app:start at 0x8 is not in data");
    }
}
