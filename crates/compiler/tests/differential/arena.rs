//! Memory of the kernel with what a test puts there: the value of an array, whose address a program of
//! five instructions tells.

use kernel::btf::Btf;
use kernel::map::{Map, MapFlags, MapSpec, MapType, Update};
use kernel::program::{Program, ProgramSpec, ProgramType, TestRun};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// Bytes of it: more than the structures and texts of a call.
const SIZE: usize = 256 << 10;

pub(crate) struct Arena {
    pub(crate) btf: Arc<Btf>,
    map: Map,
    /// Where it begins.
    address: u64,
    bytes: Vec<u8>,
    used: usize,
}

/// A structure in it.
pub(crate) struct Made {
    /// Its name.
    name: &'static str,
    /// Where it begins, from the start of the memory.
    at: usize,
    /// Its address.
    pub(crate) address: u64,
}

impl Arena {
    pub(crate) fn new(btf: &Arc<Btf>) -> Self {
        let map = Map::create(&MapSpec {
            name: "tested_memory",
            map_type: MapType::ARRAY,
            key_size: 4,
            value_size: SIZE as u32,
            max_entries: 1,
            flags: MapFlags::empty(),
            ..MapSpec::default()
        })
        .unwrap();
        let [a, b, c, d] = map.as_fd().as_raw_fd().to_ne_bytes();
        let program = [
            // r1 = address of the value (BPF_PSEUDO_MAP_VALUE)
            [0x18, 0x21, 0, 0, a, b, c, d],
            [0; 8],
            // *(u64 *)r1 = r1
            [0x7b, 0x11, 0, 0, 0, 0, 0, 0],
            // r0 = 0; exit
            [0xb7, 0, 0, 0, 0, 0, 0, 0],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        let program = Program::load(&ProgramSpec {
            name: "tested_address",
            program_type: ProgramType::RAW_TRACEPOINT,
            instructions: &program.concat(),
            ..ProgramSpec::default()
        })
        .unwrap();
        program.test_run(&TestRun::default()).unwrap();
        let value = map.lookup(&0_u32.to_ne_bytes()).unwrap().unwrap();
        let address = u64::from_ne_bytes(*value.first_chunk().unwrap());
        Self { btf: btf.clone(), map, address, bytes: vec![0; SIZE], used: 0 }
    }

    /// Forgets what was put there.
    pub(crate) fn clear(&mut self) {
        self.bytes[..self.used].fill(0);
        self.used = 0;
    }

    /// Lets the kernel have it all.
    pub(crate) fn flush(&self) {
        if self.used > 0 {
            self.map.update(&0_u32.to_ne_bytes(), &self.bytes, Update::Any).unwrap();
        }
    }

    /// Room of so many bytes; where it begins.
    fn room(&mut self, size: usize) -> usize {
        let at = self.used;
        self.used = (at + size).next_multiple_of(16);
        assert!(self.used <= SIZE, "{} bytes are not enough", SIZE);
        at
    }

    /// The address of bytes.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> u64 {
        let at = self.room(bytes.len());
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.address + at as u64
    }

    /// The address of a text.
    pub(crate) fn text(&mut self, text: &[u8]) -> u64 {
        self.keep(&[text, b"\0"].concat())
    }

    /// The word at an address in it.
    pub(crate) fn word(&self, address: u64) -> u64 {
        let at = (address - self.address) as usize;
        u64::from_ne_bytes(*self.bytes[at..].first_chunk().unwrap())
    }

    /// A structure of zeros.
    pub(crate) fn structure(&mut self, name: &'static str) -> Made {
        let size = self.btf.size_of(self.btf.find_struct(name).unwrap()).unwrap();
        let at = self.room(size as usize);
        Made { name, at, address: self.address + at as u64 }
    }

    /// Sets as many bytes of a member as are given.
    pub(crate) fn put(&mut self, made: &Made, member: &str, bytes: &[u8]) {
        let structure = self.btf.find_struct(made.name).unwrap();
        let field = self.btf.field(structure, member).unwrap();
        assert!(field.bits.is_none(), "{}.{member} is a part of a number", made.name);
        self.bytes[made.at + field.offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Sets a number, of as many bytes as the member has.
    pub(crate) fn number(&mut self, made: &Made, member: &str, number: u64) {
        let structure = self.btf.find_struct(made.name).unwrap();
        let size = self.btf.field(structure, member).unwrap().size as usize;
        self.put(made, member, &number.to_le_bytes()[..size]);
    }

    /// Sets a member whose name depends on the kernel: the first of them that there is.
    pub(crate) fn number_of(&mut self, made: &Made, members: &[&str], number: u64) {
        let structure = self.btf.find_struct(made.name).unwrap();
        let member = members.iter().find(|member| self.btf.member_exists(structure, member));
        self.number(made, member.unwrap(), number);
    }
}
