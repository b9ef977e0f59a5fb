//! Making calls real: the words that a program gets for the values of an event, and what is at their
//! addresses.

use crate::arena::Arena;
use crate::objects;
use compiler::observed::{End, Fault, FilePath, Observed, SocketAddress};
use compiler::trial;
use kernel::btf::Btf;
use policy::checked::{SyscallAbi, ValueKind, Width};
use policy::document::TypeName;
use policy::evaluate::generate::Call;
use policy::evaluate::{Event, Value};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

/// Whether values of a type can be made up: numbers, and what is in memory of the process.
pub(crate) fn can_be_made(kind: TypeName) -> bool {
    use TypeName as T;
    matches!(kind.kind(), ValueKind::Integer(_) | ValueKind::Capability)
        || matches!(
            kind,
            T::String | T::DataLoc | T::CharBuf | T::CharIovec | T::Sockaddr | T::SockaddrUn
        )
}

/// Stands for the position of what is not an argument.
const LONG: usize = 100;
const PLACE: usize = 101;

/// The words for the argument at a position.
fn at(seed: u64, position: usize) -> Words {
    Words::new(seed ^ (position as u64) << 56)
}

/// Whether a type is nothing but a number.
pub(crate) fn is_number(kind: TypeName) -> bool {
    matches!(kind.kind(), ValueKind::Integer(_))
}

/// Random words, the same ones for the same seed (SplitMix64).
#[derive(Clone)]
pub(crate) struct Words(u64);

impl Words {
    pub(crate) fn new(seed: u64) -> Self {
        // Not those of the generator.
        Self(!seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A call: the event as the evaluator has it, and how it is made real.
#[derive(Clone, Default)]
pub(crate) struct Given {
    pub(crate) event: Event,
    /// What stands in words above the bits of narrower types.
    pub(crate) above: u64,
    /// How many bytes there are in buffers behind those that fit.
    pub(crate) beyond: usize,
    /// The address of what cannot be read.
    pub(crate) nowhere: u64,
    /// What made-up structures are made of.
    pub(crate) seed: u64,
    /// The files of arguments that have paths.
    pub(crate) files: Vec<Option<Opened>>,
}

/// An open file.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) file: Rc<OwnedFd>,
    /// Type and permissions.
    pub(crate) mode: u16,
}

/// Memory of another process: what is in it from an address on.
pub(crate) struct Image {
    pub(crate) start: u64,
    pub(crate) bytes: Vec<u8>,
}

/// What calls point to, for as long as they are made.
pub(crate) struct Memory {
    /// Where it all goes, when another process makes the calls.
    pub(crate) image: Option<Image>,
    bytes: Vec<Vec<u8>>,
    /// What is in memory of the kernel.
    pub(crate) arena: Arena,
    /// The addresses of `struct file` of `args`, where structures are made that point to them.
    pub(crate) files: Vec<u64>,
    /// The words that the program gets for `args`.
    given: Vec<u64>,
    /// Descriptors whose numbers programs know, one for each argument.
    slots: Vec<OwnedFd>,
}

impl Memory {
    pub(crate) fn new(btf: &Arc<Btf>) -> Self {
        let null = std::fs::File::open("/dev/null").unwrap();
        let slot = |_| rustix::io::fcntl_dupfd_cloexec(&null, 500).unwrap();
        let slots = (0..trial::ARGUMENTS).map(slot).collect();
        let (arena, bytes) = (Arena::new(btf), Vec::new());
        Self { image: None, bytes, arena, files: Vec::new(), given: Vec::new(), slots }
    }

    /// Opens a file where programs find that of an argument.
    pub(crate) fn open(&mut self, index: u32, opened: &Opened) {
        rustix::io::dup2(&opened.file, &mut self.slots[index as usize]).unwrap();
    }

    /// Where programs find the file of an argument that is a pointer to one.
    pub(crate) fn slot(&self, index: u32) -> i32 {
        self.slots[index as usize].as_raw_fd()
    }
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, value) in self.event.args.iter().enumerate() {
            match value {
                Value::Text(text) => {
                    writeln!(f, "arg{index}: {} bytes: {}", text.len(), short(text))?;
                }
                Value::Path { path, file_type } => {
                    writeln!(
                        f,
                        "arg{index}: {} bytes: {}, {file_type:?}",
                        path.len(),
                        short(path)
                    )?;
                }
                Value::Fault => writeln!(f, "arg{index}: at {:#x}", self.nowhere)?,
                value => writeln!(f, "arg{index}: {value:?}")?,
            }
        }
        if let Some(value) = &self.event.returned {
            writeln!(f, "returned: {value:?}")?;
        }
        writeln!(f, "bits above: {:#x}", self.above)
    }
}

/// Addresses where nothing can be read: of the null page, behind all memory of processes, of no memory
/// at all, of the kernel's last page.
const NOWHERE: [u64; 6] = [0, 1, 0xfff, 0x7fff_ffff_f000, 0xdead_0000_0000_0000, u64::MAX];

/// AF_UNIX
const UNIX: u16 = 1;

/// Longest text that is captured.
const TEXT_MAX: usize = 4096;
/// Longest buffer that is captured whole, with maxData.
const WHOLE_MAX: usize = 327_360;
/// What is longer is in memory of the process.
const KERNEL_MAX: usize = 20_000;

impl Given {
    pub(crate) fn new(words: &mut Words, call: &Call, mut event: Event) -> Self {
        let mut beyond = 0;
        let seed = words.next();
        for (index, (kind, value)) in call.args.iter().zip(&mut event.args).enumerate() {
            objects::fit(*kind, value, &mut at(seed, index));
            match value {
                // What is longer is cut, for filters too.
                Value::Text(text) => {
                    let more = &mut at(seed, LONG);
                    // One of them: the ring holds no more.
                    let first = call.args.iter().position(|kind| *kind == TypeName::CharBuf);
                    if first == Some(index) && call.max_data && more.below(6) == 0 {
                        let bound = more.of(&[5000, 20_000, 400_000]);
                        text.resize(TEXT_MAX + more.below(bound), b'+');
                    }
                    if kind.is_buffer() && text.len() > TEXT_MAX {
                        beyond = text.len() - TEXT_MAX;
                    }
                    text.truncate(TEXT_MAX);
                }
                // `sun_path` ends there, and an abstract name of unknown length at a NUL.
                Value::UnixAddress { path, .. } => {
                    path.truncate(108);
                    if path == &[0] {
                        path.clear();
                    }
                }
                // What calls is a program of 64 bits.
                Value::Syscall { abi, .. } => *abi = SyscallAbi::X64,
                _ => {}
            }
        }
        let random = words.next();
        let above = words.of(&[0, u64::MAX, random]);
        let nowhere = words.of(&NOWHERE);
        Self { event, above, nowhere, seed, beyond, files: Vec::new() }
    }

    /// The call as it is tried. `memory` keeps what it points to.
    pub(crate) fn call(&self, call: &Call, memory: &mut Memory) -> trial::Call {
        memory.bytes.clear();
        memory.arena.clear();
        memory.given.clear();
        let mut arguments = [0; trial::ARGUMENTS];
        for (index, opened) in call.indices().iter().zip(&self.files) {
            if let Some(opened) = opened {
                memory.open(*index, opened);
            }
        }
        let values = call.args.iter().zip(&self.event.args).enumerate();
        for (index, (position, (kind, value))) in call.indices().iter().zip(values) {
            arguments[*index as usize] = match (kind, value) {
                (TypeName::Fd, Value::Path { .. }) => {
                    let number = memory.slot(*index) as u64;
                    number | self.above << 32
                }
                // More than a process can have open.
                (TypeName::Fd, _) => 0x7fff_ffff | self.above << 32,
                (TypeName::File | TypeName::Path | TypeName::Dentry, _) => 0,
                (TypeName::Kiocb | TypeName::LinuxBinprm, Value::Fault) => 0,
                (TypeName::Kiocb, _) => {
                    let file = memory.files[position];
                    let made = memory.arena.structure("kiocb");
                    memory.arena.number(&made, "ki_filp", file);
                    made.address
                }
                (TypeName::LinuxBinprm, _) => {
                    let file = memory.files[position];
                    let made = memory.arena.structure("linux_binprm");
                    memory.arena.number(&made, "file", file);
                    made.address
                }
                _ if objects::can_be_made(*kind, &memory.arena.btf) => {
                    let beyond = match value {
                        Value::Text(text) => self.length(text) - text.len(),
                        _ => 0,
                    };
                    let words = &mut at(self.seed, position);
                    objects::make(memory, *kind, value, words, beyond)
                }
                _ => self.word(*kind, value, memory),
            };
            memory.given.push(arguments[*index as usize]);
            if matches!(kind, TypeName::CharBuf | TypeName::CharIovec) {
                arguments[*index as usize + 1] = match value {
                    Value::Text(bytes) if *kind == TypeName::CharIovec => {
                        self.pieces(self.length(bytes)).len() as u64
                    }
                    Value::Text(bytes) => self.length(bytes) as u64,
                    // Nothing of nowhere can be read.
                    _ => 1 + self.above % 5000,
                };
            }
        }
        let returned = match (call.returned, &self.event.returned) {
            (Some(kind), Some(value)) => self.word(kind, value, memory),
            _ => self.above,
        };
        memory.arena.flush();
        trial::Call { arguments, returned }
    }

    fn word(&self, kind: TypeName, value: &Value, memory: &mut Memory) -> u64 {
        match (value, kind.kind()) {
            (Value::Integer(value), ValueKind::Integer(Width { bits, .. })) => {
                let mask = u64::MAX >> (64 - bits);
                *value as u64 & mask | self.above & !mask
            }
            (Value::Capability(number), _) => u64::from(*number),
            (Value::Syscall { number, .. }, _) => u64::from(*number) | self.above << 32,
            (Value::Text(bytes), ValueKind::Text) if kind == TypeName::CharBuf => {
                let mut whole = bytes.clone();
                whole.resize(self.length(bytes), b'+');
                self.keep(memory, whole)
            }
            (Value::Text(bytes), ValueKind::Text) if kind == TypeName::CharIovec => {
                let mut whole = bytes.clone();
                whole.resize(self.length(bytes), b'+');
                let mut segments = Vec::new();
                for length in self.pieces(whole.len()) {
                    let rest = whole.split_off(length);
                    let piece = std::mem::replace(&mut whole, rest);
                    segments.extend(self.keep(memory, piece).to_ne_bytes());
                    segments.extend((length as u64).to_ne_bytes());
                }
                self.keep(memory, segments)
            }
            (Value::UnixAddress { family, path }, _) => {
                let mut bytes = family.to_ne_bytes().to_vec();
                bytes.extend(path);
                // A path that fills its room needs no NUL behind it.
                bytes.resize(if self.above == 0 { 110 } else { 111 }, 0);
                self.keep(memory, bytes)
            }
            (Value::Socket(socket), ValueKind::SocketAddress) => {
                let mut bytes = socket.family.to_ne_bytes().to_vec();
                bytes.extend(socket.source.port.unwrap_or(0).to_be_bytes());
                match socket.source.address {
                    Some(IpAddr::V4(address)) => bytes.extend(address.octets()),
                    Some(IpAddr::V6(address)) => {
                        bytes.extend(self.above.to_ne_bytes().first_chunk::<4>().unwrap());
                        bytes.extend(address.octets());
                    }
                    None => bytes.resize(28, 0xaa),
                }
                self.keep(memory, bytes)
            }
            (Value::Text(text), _) => {
                let mut text = text.clone();
                text.push(0);
                // Text that is longer than what is captured goes on behind it.
                if text.len() > TEXT_MAX {
                    text.insert(TEXT_MAX, b'+');
                }
                self.keep(memory, text)
            }
            (Value::Fault, _) => self.nowhere,
            (value, _) => panic!("{value:?} of type {kind} cannot be made up"),
        }
    }

    /// The address of bytes, which of pointers that no type says more of may be the process's memory or
    /// the kernel's.
    fn keep(&self, memory: &mut Memory, bytes: Vec<u8>) -> u64 {
        if memory.image.is_none() && bytes.len() < KERNEL_MAX && at(self.seed, PLACE).below(3) == 0
        {
            return memory.arena.keep(&bytes);
        }
        keep(memory, bytes)
    }

    /// The lengths of the segments that so many bytes are in; some are empty.
    fn pieces(&self, length: usize) -> Vec<usize> {
        let mut words = Words::new(self.above ^ length as u64);
        let mut left = length;
        let mut pieces = Vec::new();
        while left > 0 {
            let bound = words.of(&[1, 4, 100, 5000]);
            let piece = words.below(bound + 1).min(left);
            // No more segments than a call can have.
            let piece = if pieces.len() < 1000 { piece } else { left };
            pieces.push(piece);
            left -= piece;
        }
        pieces
    }

    /// How long a buffer is of which these bytes fit.
    fn length(&self, bytes: &[u8]) -> usize {
        bytes.len() + if bytes.len() == TEXT_MAX { self.beyond } else { 0 }
    }

    /// What is to be captured: arguments and return value.
    pub(crate) fn captured(
        &self,
        call: &Call,
        memory: &Memory,
    ) -> (Vec<Option<Observed>>, Option<Observed>) {
        let args =
            call.args.iter().zip(&self.event.args).enumerate().map(|(index, (kind, value))| {
                let opened = self.files.get(index).and_then(Option::as_ref);
                Some(match (value, opened) {
                    (Value::Path { path, .. }, Some(opened)) => {
                        let path = path.clone();
                        let path = FilePath { path, complete: true, mode: opened.mode };
                        match kind {
                            TypeName::Path | TypeName::Dentry => Observed::Path(path),
                            TypeName::LinuxBinprm => Observed::Binprm(path),
                            _ => Observed::File(path),
                        }
                    }
                    _ => {
                        let words = &mut at(self.seed, index);
                        let address = objects::sock(&memory.arena, *kind, memory.given[index]);
                        objects::observed(&memory.arena.btf, *kind, value, words, address)
                            .unwrap_or_else(|| self.observed(*kind, value, call.max_data))
                    }
                })
            });
        let args = args.collect();
        let returned = call.returned.zip(self.event.returned.as_ref());
        (args, returned.map(|(kind, value)| self.observed(kind, value, false)))
    }

    fn observed(&self, kind: TypeName, value: &Value, max_data: bool) -> Observed {
        match (value, kind.kind()) {
            (Value::Integer(value), ValueKind::Integer(Width { bits, signed })) => {
                match (bits, signed) {
                    (64, true) => Observed::Long(*value as i64),
                    (64, false) => Observed::Size(*value as u64),
                    (_, true) => Observed::Int(*value as i32),
                    (_, false) => Observed::Uint(*value as u32),
                }
            }
            (Value::Capability(number), _) => Observed::Int(number.cast_signed()),
            (Value::Syscall { number, .. }, _) => {
                Observed::Syscall { number: *number, compat: false }
            }
            (Value::Text(bytes), _) if kind.is_buffer() => {
                let (length, mut bytes) = (self.length(bytes), bytes.clone());
                if kind == TypeName::CharBuf && max_data {
                    bytes.resize(length.min(WHOLE_MAX), b'+');
                }
                let original = (length > bytes.len()).then_some(length as u64);
                Observed::Bytes { bytes, original }
            }
            (Value::Text(text), _) => Observed::Text(text.clone()),
            (Value::Socket(socket), _) => Observed::Address(SocketAddress {
                family: socket.family,
                end: End { address: socket.source.address, port: socket.source.port.unwrap_or(0) },
            }),
            (Value::UnixAddress { family, path }, _) => Observed::UnixAddress {
                family: *family,
                path: if *family == UNIX { path.clone() } else { Vec::new() },
            },
            (Value::Fault, _) => Observed::Fault(Fault::Address),
            (value, _) => panic!("{value:?} of type {kind} cannot be made up"),
        }
    }

    /// Calls with one thing less.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        if self.above != 0 {
            all.push(Self { above: 0, ..self.clone() });
        }
        let mut with = |change: &dyn Fn(&mut Event)| {
            let mut smaller = self.clone();
            change(&mut smaller.event);
            all.push(smaller);
        };
        for (index, value) in self.event.args.iter().enumerate() {
            for value in smaller(value) {
                with(&|event| event.args[index] = value.clone());
            }
        }
        for value in self.event.returned.iter().flat_map(smaller) {
            with(&|event| event.returned = Some(value.clone()));
        }
        all
    }
}

/// Bytes as a line, the first and the last of them.
fn short(bytes: &[u8]) -> String {
    if bytes.len() <= 400 {
        return bytes.escape_ascii().to_string();
    }
    let (first, last) = (&bytes[..200], &bytes[bytes.len() - 200..]);
    format!("{}…{}", first.escape_ascii(), last.escape_ascii())
}

/// The address of bytes that stay there.
pub(crate) fn keep(memory: &mut Memory, bytes: Vec<u8>) -> u64 {
    if let Some(image) = &mut memory.image {
        let address = image.start + image.bytes.len() as u64;
        image.bytes.extend(bytes);
        return address;
    }
    let address = bytes.as_ptr() as u64;
    memory.bytes.push(bytes);
    address
}

fn smaller(value: &Value) -> Vec<Value> {
    match value {
        Value::Integer(0) => Vec::new(),
        Value::Integer(number) => {
            [0, number / 2, number - number.signum()].map(Value::Integer).to_vec()
        }
        Value::Text(text) => {
            let mut all = Vec::new();
            if text.len() > 3 {
                let (left, right) = text.split_at(text.len() / 2);
                all.extend([left, right].map(|half| Value::Text(half.to_vec())));
            }
            if text.len() < 40 {
                for index in 0..text.len() {
                    let mut rest = text.clone();
                    rest.remove(index);
                    all.push(Value::Text(rest));
                }
            }
            all
        }
        _ => Vec::new(),
    }
}
