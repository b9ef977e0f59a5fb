//! What an ELF file says of itself: for which machine it is, and which of its bytes become which
//! addresses.

use std::io;
use std::ops::Range;

use object::read::{ReadCache, ReadRef};
use object::{Object as _, ObjectSection as _, ObjectSegment as _, SegmentFlags};

use crate::file::Reader;
use crate::{Error, Function, ProgramFile, StaticProbe, function, static_probe};

/// The machine that code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// x86, 64 bits.
    X86_64,
    /// ARM, 64 bits.
    Aarch64,
    /// Another, or one with 32 bits.
    Other,
}

/// An ELF file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The machine that its code is for.
    pub architecture: Architecture,
    /// The linker's build id.
    pub build_id: Option<Vec<u8>>,
    /// Its functions by all tables that there are; sorted by name.
    pub functions: Vec<Function>,
    /// Whether that is Go's own table, for want of another.
    pub from_go: bool,
    /// Whether Go's linker made it.
    pub is_go: bool,
    /// Its static probes, in the file's order; or why their notes cannot be read.
    pub probes: Result<Vec<StaticProbe>, String>,
    /// Its own BTF, if it has some.
    pub btf: Option<Vec<u8>>,
    segments: Vec<Segment>,
}

/// Bytes of the file that become memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    address: u64,
    offset: u64,
    /// Bytes in the file.
    size: u64,
    executable: bool,
}

/// The file as its tables are read.
pub(crate) type Elf<'a> = object::File<'a, Bytes<'a>>;

/// Bytes of a block of names.
const BLOCK: u64 = 256 << 10;

/// Bytes of a file, of which not too many are read at once: what a file says is where its tables are may be
/// made up, and memory is taken for them before they are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a> {
    /// What was read of it.
    pub(crate) cache: &'a ReadCache<Reader<'a>>,
    /// Bytes at once, at most.
    pub(crate) most: u64,
}

impl<'a> ReadRef<'a> for Bytes<'a> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > self.most {
            return Err(());
        }
        self.cache.read_bytes_at(offset, size)
    }

    /// Names are read by the block that they stand in, not each for itself.
    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let Range { start, end } = range;
        let block = start - start % BLOCK;
        let bytes = self.cache.read_bytes_at(block, BLOCK.min(end.saturating_sub(block)))?;
        let bytes = bytes.get((start - block) as usize..).unwrap_or_default();
        match bytes.iter().position(|byte| *byte == delimiter) {
            Some(length) => Ok(&bytes[..length]),
            // It goes on in the next one.
            None => self.cache.read_bytes_at_until(start..end, delimiter),
        }
    }
}

impl Contents {
    pub(crate) fn read(file: &ProgramFile) -> Result<Self, Error> {
        let cache = ReadCache::new(file.reader());
        let elf = parse(file, Bytes { cache: &cache, most: u64::MAX })?;
        let mut contents = Self::with_segments(&elf);
        // Notes that cannot be read have none; a digest that asks for it then says so.
        let build_id = elf.build_id().unwrap_or_default();
        let btf = elf.section_by_name(".BTF").and_then(|section| section.uncompressed_data().ok());
        contents.build_id = build_id.map(<[u8]>::to_vec);
        contents.btf = btf.map(|data| data.into_owned());
        function::read(&elf, &mut contents);
        contents.probes = static_probe::read(&elf, &contents);
        Ok(contents)
    }

    /// What is to be filled in yet, of a file whose segments are these.
    pub(crate) fn with_segments(elf: &Elf<'_>) -> Self {
        let mut segments = Vec::new();
        for segment in elf.segments() {
            let (offset, size) = segment.file_range();
            let executable = matches!(
                segment.flags(),
                SegmentFlags::Elf { p_flags, .. } if p_flags.0 & object::elf::PF_X.0 != 0
            );
            segments.push(Segment { address: segment.address(), offset, size, executable });
        }
        let architecture = match elf.architecture() {
            object::Architecture::X86_64 => Architecture::X86_64,
            object::Architecture::Aarch64 => Architecture::Aarch64,
            _ => Architecture::Other,
        };
        Self {
            architecture,
            build_id: None,
            functions: Vec::new(),
            from_go: false,
            is_go: false,
            probes: Ok(Vec::new()),
            btf: None,
            segments,
        }
    }

    /// Where in the file the code of an address is; `None` where no code is.
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        self.offset(address, |segment| segment.executable)
    }

    /// Where in the file the data of an address is; `None` where none is.
    pub(crate) fn data_offset(&self, address: u64) -> Option<u64> {
        self.offset(address, |segment| !segment.executable)
    }

    /// Whether code is at an offset in the file.
    pub fn is_code(&self, offset: u64) -> bool {
        self.segments.iter().any(|segment| {
            let inside = offset.checked_sub(segment.offset);
            segment.executable && inside.is_some_and(|inside| inside < segment.size)
        })
    }

    /// The functions of a name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Function> {
        let start = self.functions.partition_point(|function| function.name.as_str() < name);
        self.functions[start..].iter().take_while(move |function| function.name == name)
    }

    /// The function whose code an offset in the file is in, by the symbols' sizes.
    pub fn containing(&self, offset: u64) -> Option<&Function> {
        self.functions.iter().find(|function| {
            let start = function.offset;
            start.is_some_and(|start| {
                offset == start || (offset > start && offset - start < function.size)
            })
        })
    }

    fn offset(&self, address: u64, wanted: impl Fn(&Segment) -> bool) -> Option<u64> {
        self.segments.iter().filter(|segment| wanted(segment)).find_map(|segment| {
            let inside = address.checked_sub(segment.address)?;
            (inside < segment.size).then(|| segment.offset + inside)
        })
    }
}

/// Takes a file apart.
pub(crate) fn parse<'a>(file: &ProgramFile, bytes: Bytes<'a>) -> Result<Elf<'a>, Error> {
    object::File::parse(bytes).map_err(|error| not_elf(file, &error))
}

fn not_elf(file: &ProgramFile, error: &object::Error) -> Error {
    let mut magic = [0; 4];
    let read = io::Read::read_exact(&mut file.reader(), &mut magic);
    match read {
        Ok(()) if magic == *b"\x7fELF" => {
            Error::Broken { path: file.path().to_owned(), why: error.to_string() }
        }
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => file.failed(error),
        _ => Error::NotElf(file.path().to_owned()),
    }
}
