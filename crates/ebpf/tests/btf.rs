//! BTF blobs, read back word by word, and the records that go with programs.

#![allow(clippy::unwrap_used)] // helpers of tests, outside test functions

use ebpf::btf::{BtfError, Builder, Encoding, Forward, TypeId, identifier};
use ebpf::{FunctionBuilder, Module, Options, Param, Program, ProgramBtf, Size};

/// A blob taken apart.
struct Blob {
    types: Vec<u32>,
    strings: Vec<u8>,
}

impl Blob {
    fn read(bytes: &[u8]) -> Self {
        assert_eq!(bytes[..4], [&0xeb9f_u16.to_ne_bytes()[..], &[1, 0]].concat());
        let header = words(&bytes[4..24]);
        let [length, type_off, type_len, str_off, str_len] = header[..] else { panic!() };
        assert_eq!((length, type_off, str_off), (24, 0, type_len));
        assert_eq!(bytes.len() as u32, 24 + type_len + str_len);
        let (types, strings) = bytes[24..].split_at(type_len as usize);
        assert_eq!((strings[0], strings[strings.len() - 1]), (0, 0));
        Self { types: words(types), strings: strings.to_vec() }
    }

    fn string(&self, offset: u32) -> &str {
        let rest = &self.strings[offset as usize..];
        std::str::from_utf8(rest.split(|&b| b == 0).next().unwrap()).unwrap()
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    assert_eq!(bytes.len() % 4, 0);
    bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect()
}

#[test]
fn types_are_laid_out_as_the_format_says() {
    let mut b = Builder::new();
    let int = b.int("int", 4, Encoding::Signed).unwrap();
    let state = b.structure("state", 8, &[("low", int, 0), ("high", int, 32)]).unwrap();
    let ptr = b.ptr(state).unwrap();
    let array = b.array(ptr, int, 3).unwrap();
    let typedef = b.typedef("states", array).unwrap();
    let fwd = b.fwd("other", Forward::Union).unwrap();
    let void = b.ptr(TypeId::VOID).unwrap();
    assert_eq!(
        [int, state, ptr, array, typedef, fwd, void].map(TypeId::raw),
        [1, 2, 3, 4, 5, 6, 7]
    );
    let blob = Blob::read(&b.finish());
    let name = |text: &str| {
        let at = blob.strings.windows(text.len() + 2).position(|window| {
            window[0] == 0 && &window[1..=text.len()] == text.as_bytes() && window.ends_with(&[0])
        });
        at.unwrap() as u32 + 1
    };
    #[rustfmt::skip]
    let expected = [
        name("int"), 1 << 24, 4, (1 << 24) | 32,
        name("state"), (4 << 24) | 2, 8, name("low"), 1, 0, name("high"), 1, 32,
        0, 2 << 24, 2,
        0, 3 << 24, 0, 3, 1, 3,
        name("states"), 8 << 24, 4,
        name("other"), (1 << 31) | (7 << 24), 0,
        0, 2 << 24, 0,
    ];
    assert_eq!(blob.types, expected);
}

#[test]
fn what_cannot_be_described_is_refused() {
    let mut b = Builder::new();
    let int = b.int("int", 4, Encoding::Signed).unwrap();
    let later = {
        let mut other = Builder::new();
        other.int("a", 4, Encoding::Signed).unwrap();
        other.int("b", 4, Encoding::Signed).unwrap()
    };
    assert_eq!(
        b.typedef("t", later),
        Err(BtfError::UnknownType { name: String::from("t"), id: 2 })
    );
    assert!(matches!(b.int("odd", 3, Encoding::Signed), Err(BtfError::IntSize { size: 3, .. })));
    assert_eq!(b.string("a\0b"), Err(BtfError::Nul(String::from("a\0b"))));
    let members = vec![("m", int, 0); 65_536];
    assert!(matches!(b.structure("s", 4, &members), Err(BtfError::TooMany { count: 65_536, .. })));
    assert_eq!(b.string(&"x".repeat(1 << 24)), Err(BtfError::Strings));
    // Nothing of all that is in the blob.
    assert_eq!(Blob::read(&b.finish()).types.len(), 4);
}

#[test]
fn names_become_identifiers() {
    assert_eq!(identifier("main"), "main");
    assert_eq!(identifier("policy one/kprobe"), "policy_one_kprobe");
    assert_eq!(identifier("0day"), "_0day");
    assert_eq!(identifier(""), "_");
}

/// A program of three functions: the entry without lines, the second with two, the third with none.
fn program(with_lines: bool) -> Program {
    let mut module = Module::new("three");
    let main = module.declare("main of policy", 1);
    let (one, two) = (module.declare("one", 1), module.declare("two", 0));
    let lines = [
        module.line("policy.yaml", 3, 5, "  first:"),
        module.line("policy.yaml", 5_000_000, 2_000, "  second:"),
    ];
    let mut b = FunctionBuilder::new("main", 1);
    let v = b.param(0);
    let v = b.call_func(one, &[v]);
    let w = b.call_func(two, &[]);
    let v = b.add(v, w);
    b.ret(v);
    module.define(main, b.finish().unwrap());
    let mut b = FunctionBuilder::new("one", 1);
    let v = b.param(0);
    if with_lines {
        b.set_line(Some(lines[0]));
    }
    let v = b.add(v, 1);
    if with_lines {
        b.set_line(Some(lines[1]));
    }
    let v = b.mul(v, 3);
    b.ret(v);
    module.define(one, b.finish().unwrap());
    let mut b = FunctionBuilder::new("two", 0);
    b.ret(2);
    module.define(two, b.finish().unwrap());
    module.compile(&Options::default()).unwrap()
}

fn program_btf(with_lines: bool) -> (Vec<usize>, ProgramBtf) {
    let program = program(with_lines);
    (program.functions.iter().map(|f| f.slot).collect(), program.btf().unwrap())
}

#[test]
fn every_function_has_a_type_and_a_line() {
    let (slots, btf) = program_btf(true);
    let blob = Blob::read(&btf.blob);
    let info = words(&btf.func_info);
    assert_eq!((btf.func_info_rec_size, btf.func_info_cnt as usize), (8, slots.len()));
    assert_eq!(info.iter().step_by(2).map(|&s| s as usize).collect::<Vec<_>>(), slots);
    assert!(slots.len() == 3 && slots[0] == 0);

    // The function records: kind 12, linkage 1 for the entry, 0 for the others.
    let functions: Vec<(&str, u32)> = (0..blob.types.len() - 2)
        .filter(|&at| blob.types[at + 1] >> 24 == 12)
        .map(|at| (blob.string(blob.types[at]), blob.types[at + 1] & 0xffff))
        .collect();
    assert_eq!(functions[0], ("main_of_policy", 1));
    assert!(functions[1..].iter().all(|&(_, linkage)| linkage == 0));

    let lines = words(&btf.line_info);
    assert_eq!((btf.line_info_rec_size, btf.line_info_cnt as usize), (16, lines.len() / 4));
    let lines: Vec<(u32, &str, u32, u32)> = lines
        .chunks(4)
        .map(|line| (line[0], blob.string(line[2]), line[3] >> 10, line[3] & 1023))
        .collect();
    assert!(lines.is_sorted_by(|a, b| a.0 < b.0), "{lines:?}");
    for slot in slots {
        assert!(lines.iter().any(|line| line.0 == slot as u32), "{slot} has no line: {lines:?}");
    }
    let texts: Vec<&str> =
        lines.iter().map(|line| line.1).filter(|text| !text.is_empty()).collect();
    assert_eq!(texts, ["  first:", "  second:"]);
    assert!(lines.iter().any(|line| (line.2, line.3) == (3, 5)));
    // More than the kernel's fields hold.
    assert!(lines.iter().any(|line| (line.2, line.3) == ((1 << 22) - 1, 1023)));
}

#[test]
fn without_lines_there_is_no_line_info() {
    let (slots, btf) = program_btf(false);
    assert_eq!((btf.line_info.len(), btf.line_info_cnt), (0, 0));
    assert_eq!(btf.func_info_cnt as usize, slots.len());
}

#[test]
fn instructions_belong_to_lines_of_their_own_function() {
    let program = program(true);
    let starts: Vec<usize> = program.functions.iter().map(|function| function.slot).collect();
    let line = |slot| program.line_at(slot).map(|line| line.text.as_str());
    let one = program.functions.iter().find(|function| function.name == "one").unwrap().slot;
    let end = starts.iter().copied().filter(|&start| start > one).min();
    let end = end.unwrap_or_else(|| program.slots());
    assert_eq!(line(0), None);
    assert!((one..end).all(|slot| line(slot).is_some()));
    assert_eq!((line(one), line(end - 1)), (Some("  first:"), Some("  second:")));
    assert!(
        (0..program.slots()).filter(|slot| !(one..end).contains(slot)).all(|s| line(s).is_none())
    );
}

/// A function that is verified once says what it takes; its memory is a structure of that size.
#[test]
fn functions_that_are_verified_once_say_what_they_take() {
    let mut module = Module::new("once");
    let main = module.declare("main", 1);
    let once = module.declare_once("once", &[Param::Memory(24), Param::Word]);
    let mut b = FunctionBuilder::new("main", 1);
    let slot = b.slot(24, 8);
    for at in [0, 8, 16] {
        b.slot_store(Size::U64, slot, at, 0);
    }
    let address = b.slot_addr(slot, 0);
    let number = b.iconst(1);
    let result = b.call_func(once, &[address, number]);
    b.ret(result);
    module.define(main, b.finish().unwrap());
    let mut b = FunctionBuilder::new("once", 2);
    let number = b.param(1);
    b.ret(number);
    module.define(once, b.finish().unwrap());
    let btf = module.compile(&Options::default()).unwrap().btf().unwrap();
    let blob = Blob::read(&btf.blob);
    let at = |kind: u32, name: &str| {
        (0..blob.types.len() - 2).find(|&at| {
            blob.types[at + 1] >> 24 & 31 == kind && blob.string(blob.types[at]) == name
        })
    };
    // Kind 12 is a function, with its linkage in the lower half; kind 4 a structure, with its size.
    assert_eq!(blob.types[at(12, "once").unwrap() + 1] & 0xffff, 1);
    assert_eq!(blob.types[at(4, "memory_24").unwrap() + 2], 24);
}
