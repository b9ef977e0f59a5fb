//! Small executables made for tests, byte by byte: code and data at known addresses, symbols, sections.
//! What they are made of runs as it stands, without a linker or a library.

use std::io::Write as _;

use object::elf::{STT_FUNC, SymbolType};

use crate::{Contents, ProgramFile};

/// Kind of the symbols of functions that choose another.
pub const CHOOSER: SymbolType = object::elf::STT_GNU_IFUNC;
/// Address of the code.
pub const TEXT: u64 = 0x40_1000;
/// Address of the data, which can be written.
pub const DATA: u64 = 0x60_3000;
/// Where in the file the code is.
pub const TEXT_OFFSET: u64 = 0x1000;
/// Bytes of code or data, at most.
const PART: usize = 0x2000;
/// Where in the file the data is.
pub const DATA_OFFSET: u64 = TEXT_OFFSET + PART as u64;

/// An executable under construction.
#[derive(Debug, Default)]
pub struct Synthetic {
    text: Vec<u8>,
    data: Vec<u8>,
    symbols: Vec<Symbol>,
    sections: Vec<Section>,
    build_id: Option<Vec<u8>>,
}

/// A symbol.
#[derive(Debug, Clone)]
pub struct Symbol {
    /// Name.
    pub name: String,
    /// Address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Whether it is in another file.
    pub undefined: bool,
    /// Whether others do not see it.
    pub local: bool,
    /// `STT_*`
    pub kind: SymbolType,
}

/// A section that is not loaded.
#[derive(Debug, Clone)]
pub struct Section {
    name: String,
    kind: u32,
    address: u64,
    data: Vec<u8>,
}

const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const NOTE: u32 = 7;

impl Symbol {
    /// A function that others see.
    pub fn function(name: &str, address: u64, size: u64) -> Self {
        let (undefined, local) = (false, false);
        Self { name: name.to_owned(), address, size, undefined, local, kind: STT_FUNC }
    }
}

impl Section {
    /// With any bytes.
    pub fn data(name: &str, data: &[u8]) -> Self {
        Self { name: name.to_owned(), kind: PROGBITS, address: 0, data: data.to_vec() }
    }

    /// With notes.
    pub fn note(name: &str, data: &[u8]) -> Self {
        Self { kind: NOTE, ..Self::data(name, data) }
    }

    /// The same, said to be at an address.
    pub fn at(self, address: u64) -> Self {
        Self { address, ..self }
    }
}

/// A note of a static probe: where it is, where the file's base is, its counter, and its texts.
pub fn probe_note(at: u64, base: u64, counter: u64, texts: [&str; 3]) -> Vec<u8> {
    let mut about: Vec<u8> =
        [at, base, counter].iter().flat_map(|word| word.to_le_bytes()).collect();
    for text in texts {
        about.extend(text.as_bytes());
        about.push(0);
    }
    let mut note = Vec::new();
    for word in [8, about.len() as u32, 3] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"stapsdt\0");
    note.extend(&about);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

impl Synthetic {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the code, which begins at [`TEXT`]; execution does so there. Gives where in the file it is.
    pub fn text(&mut self, code: &[u8]) -> u64 {
        assert!(code.len() <= PART);
        self.text = code.to_vec();
        TEXT_OFFSET
    }

    /// Sets the data, which begins at [`DATA`].
    pub fn data(&mut self, data: &[u8]) {
        assert!(data.len() <= PART);
        self.data = data.to_vec();
    }

    /// Adds a symbol.
    pub fn symbol(&mut self, symbol: Symbol) {
        self.symbols.push(symbol);
    }

    /// Sets the build id: as a section, and where the kernel looks for it.
    pub fn build_id(&mut self, id: &[u8]) {
        let mut note = Vec::new();
        for word in [4, id.len() as u32, object::elf::NT_GNU_BUILD_ID.0] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"GNU\0");
        note.extend(id);
        note.resize(note.len().next_multiple_of(4), 0);
        self.section(Section::note(".note.gnu.build-id", &note));
        self.build_id = Some(note);
    }

    /// Adds a section.
    pub fn section(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = vec![0; DATA_OFFSET as usize];
        file[TEXT_OFFSET as usize..][..self.text.len()].copy_from_slice(&self.text);
        file.extend(&self.data);
        file.resize(DATA_OFFSET as usize + PART, 0);
        let (symbols, names) = self.symbol_table();
        let mut sections = vec![
            (Section { kind: 0, ..Section::data("", &[]) }, 0, 0),
            // Link and info of the symbol table: its names, and how many are local.
            (Section { kind: STRTAB, ..Section::data(".strtab", &names) }, 0, 0),
            (Section { kind: SYMTAB, ..Section::data(".symtab", &symbols) }, 1, 1),
        ];
        sections.extend(self.sections.iter().cloned().map(|section| (section, 0, 0)));
        let mut headers = Vec::new();
        let mut titles = Vec::new();
        let text = Section::data(".text", &[]).at(TEXT);
        sections.push((text, 0, 0));
        sections.push((Section { kind: STRTAB, ..Section::data(".shstrtab", &[]) }, 0, 0));
        let last = sections.len() - 1;
        let mut all = Vec::new();
        for (section, ..) in &sections {
            titles.extend(section.name.as_bytes());
            titles.push(0);
        }
        sections[last].0.data = titles;
        let mut title = 0_u32;
        for (section, link, info) in &sections {
            file.resize(file.len().next_multiple_of(8), 0);
            let of_text = section.name == ".text";
            let (at, size) = match of_text {
                true => (TEXT_OFFSET, self.text.len()),
                false => (file.len() as u64, section.data.len()),
            };
            let flags = if of_text { 6_u64 } else { 0 };
            file.extend(&section.data);
            let entry = if section.kind == SYMTAB { 24_u64 } else { 0 };
            headers.extend(title.to_le_bytes());
            headers.extend(section.kind.to_le_bytes());
            for word in [flags, section.address, at, size as u64] {
                headers.extend(word.to_le_bytes());
            }
            headers.extend(u32::to_le_bytes(*link));
            headers.extend(u32::to_le_bytes(*info));
            headers.extend(4_u64.to_le_bytes());
            headers.extend(entry.to_le_bytes());
            title += section.name.len() as u32 + 1;
            all.push(());
        }
        file.resize(file.len().next_multiple_of(8), 0);
        let table = file.len() as u64;
        file.extend(headers);
        let note = self.build_id.as_deref().unwrap_or_default();
        let header = header(table, all.len() as u16, note.len());
        file[..header.len()].copy_from_slice(&header);
        file[NOTE_OFFSET..][..note.len()].copy_from_slice(note);
        file
    }

    fn symbol_table(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut table, mut names) = (vec![0; 24], vec![0]);
        for symbol in &self.symbols {
            table.extend((names.len() as u32).to_le_bytes());
            let bind = if symbol.local { 0 } else { 1 << 4 };
            // Of no section that matters, or of none.
            let section = if symbol.undefined { 0_u16 } else { 1 };
            table.extend([bind | symbol.kind.0, 0]);
            table.extend(section.to_le_bytes());
            table.extend(symbol.address.to_le_bytes());
            table.extend(symbol.size.to_le_bytes());
            names.extend(symbol.name.as_bytes());
            names.push(0);
        }
        (table, names)
    }

    /// Writes it into a file that can be run.
    pub fn write(&self, path: &std::path::Path) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o755).open(path);
        let written = file.and_then(|mut file| file.write_all(&self.bytes()));
        assert!(written.is_ok(), "{}: {written:?}", path.display());
    }

    /// What is read of it.
    pub fn contents(&self) -> Contents {
        let path = std::env::temp_dir().join(format!(
            "elf-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let _ = std::fs::remove_file(&path);
        self.write(&path);
        let contents = ProgramFile::open(&path).and_then(|file| file.contents());
        let _ = std::fs::remove_file(&path);
        match contents {
            Ok(contents) => contents,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Where in the file the note with the build id is; the kernel looks in the first page only.
const NOTE_OFFSET: usize = 0x200;

/// The header and the program headers: two, and one for a note of this length.
fn header(sections_at: u64, sections: u16, note: usize) -> Vec<u8> {
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    for word in [TEXT, 64, sections_at] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    let segments = if note > 0 { 3 } else { 2 };
    for half in [64, 56, segments, 64, sections, sections - 1] {
        bytes.extend(u16::to_le_bytes(half));
    }
    let (readable, writable, executable) = (4, 2, 1);
    for (flags, offset, address) in
        [(readable | executable, TEXT_OFFSET, TEXT), (readable | writable, DATA_OFFSET, DATA)]
    {
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(u32::to_le_bytes(flags));
        for word in [offset, address, address, PART as u64, PART as u64, PART as u64] {
            bytes.extend(word.to_le_bytes());
        }
    }
    if note > 0 {
        bytes.extend(object::elf::PT_NOTE.0.to_le_bytes());
        bytes.extend(u32::to_le_bytes(readable));
        for word in [NOTE_OFFSET as u64, 0, 0, note as u64, note as u64, 4] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes
}
