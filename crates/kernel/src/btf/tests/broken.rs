//! BTF that is wrong: each way in which it can be gives an error of its own, and nothing loops.

use std::sync::Arc;

use super::super::*;
use super::blob::Blob;

fn malformed(bytes: Vec<u8>) -> String {
    match Btf::from_bytes(bytes) {
        Err(BtfError::Malformed { what, .. }) => what.into(),
        Err(other) => other.to_string(),
        Ok(btf) => panic!("read as sound: {btf:?}"),
    }
}

/// A sound blob, with one word of the header replaced.
fn with_header(index: usize, word: u32) -> Vec<u8> {
    let mut blob = Blob::new();
    blob.int("int", 4);
    let mut bytes = blob.bytes();
    bytes[4 * index..4 * index + 4].copy_from_slice(&word.to_ne_bytes());
    bytes
}

#[test]
fn refuses_a_wrong_header() {
    assert_eq!(malformed(Vec::new()), "shorter than its header");
    assert_eq!(malformed(with_header(0, 0)[..2].into()), "not BTF: starts with 0x0000, not 0xeb9f");
    assert_eq!(malformed(Blob::new().bytes()[..23].into()), "shorter than its header");
    let mut bytes = Blob::new().bytes();
    bytes[2] = 2;
    assert_eq!(malformed(bytes), "BTF version 2 is not known, only version 1");
    let mut bytes = Blob::new().bytes();
    bytes[..2].reverse();
    assert!(matches!(Btf::from_bytes(bytes), Err(BtfError::ForeignEndian)));
    assert_eq!(malformed(with_header(1, 23)), "impossible header length");
    assert_eq!(malformed(with_header(1, u32::MAX)), "impossible header length");
    assert_eq!(malformed(with_header(2, u32::MAX)), "types beyond the end of the data");
    assert_eq!(malformed(with_header(3, 1000)), "types beyond the end of the data");
    assert_eq!(malformed(with_header(5, 1000)), "strings beyond the end of the data");
    assert_eq!(malformed(with_header(3, 15)), "record cut off");
    assert_eq!(malformed(with_header(3, 7)), "record cut off");
    assert_eq!(malformed(with_header(5, 4)), "does not end with NUL");
    assert_eq!(malformed(with_header(5, 0)), "does not end with NUL");
    let mut bytes = Blob::new().bytes();
    bytes[24] = b'x';
    assert_eq!(malformed(bytes), "does not start with the empty string");
    let mut blob = Blob::new();
    blob.string("\u{e9}");
    let mut bytes = blob.bytes();
    bytes[25] = 0xff;
    assert_eq!(malformed(bytes), "not UTF-8");
}

#[test]
fn refuses_references_to_nowhere() {
    let dangling = "refers to a type that does not exist";
    let nowhere = TypeId(77);
    type Add = fn(&mut Blob, TypeId) -> TypeId;
    let cases: [(&str, Add); 8] = [
        ("pointer", |blob, to| blob.pointer(to)),
        ("array", |blob, to| blob.array(to, 1)),
        ("member", |blob, to| blob.structure("s", 8, &[("m", to, 0)])),
        ("result", |blob, to| blob.prototype(to, &[])),
        ("parameter", |blob, to| blob.prototype(TypeId::VOID, &[("p", to)])),
        ("typedef", |blob, to| blob.typedef("t", to)),
        ("variable", |blob, to| blob.raw("v", 14, false, 0, to.0, &[0])),
        ("section", |blob, to| blob.raw(".data", 15, false, 1, 8, &[to.0, 0, 8])),
    ];
    for (what, add) in cases {
        let mut blob = Blob::new();
        blob.int("int", 4);
        add(&mut blob, nowhere);
        assert_eq!(malformed(blob.bytes()), dangling, "{what}");
        let mut blob = Blob::new();
        blob.int("int", 4);
        add(&mut blob, TypeId(1));
        assert!(Btf::from_bytes(blob.bytes()).is_ok(), "{what}");
    }
}

#[test]
fn refuses_names_and_kinds_that_do_not_exist() {
    let mut blob = Blob::new();
    blob.raw("", 20, false, 0, 0, &[]);
    assert_eq!(malformed(blob.bytes()), "kind is not known");
    let mut blob = Blob::new();
    blob.raw("", 0, false, 0, 0, &[]);
    assert_eq!(malformed(blob.bytes()), "kind is not known");

    let mut blob = Blob::new();
    blob.int("int", 4);
    let mut bytes = blob.bytes();
    bytes[24..28].copy_from_slice(&5_u32.to_ne_bytes());
    assert_eq!(malformed(bytes), "name beyond the strings");
    for (kind, tail, what) in [
        (4, [99, 0, 0], "member name beyond the strings"),
        (19, [99, 0, 0], "enumerator name beyond the strings"),
    ] {
        let mut blob = Blob::new();
        blob.raw("", kind, false, 1, 0, &tail);
        assert_eq!(malformed(blob.bytes()), what);
    }
    let mut blob = Blob::new();
    blob.raw("", 13, false, 1, 0, &[99, 0]);
    assert_eq!(malformed(blob.bytes()), "parameter name beyond the strings");
}

#[test]
fn refuses_types_defined_by_themselves() {
    let itself = "type is defined by itself";
    let mut blob = Blob::new();
    let next = blob.next();
    blob.typedef("t", next);
    assert_eq!(malformed(blob.bytes()), itself);

    let mut blob = Blob::new();
    blob.int("int", 4);
    blob.typedef("a", TypeId(3));
    blob.constant(TypeId(4));
    blob.type_tag("rcu", TypeId(2));
    assert_eq!(malformed(blob.bytes()), itself);

    // Several ways into one sound chain are no circle.
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let alias = blob.typedef("a", int);
    blob.constant(alias);
    blob.volatile(alias);
    assert!(Btf::from_bytes(blob.bytes()).is_ok());
}

#[test]
fn structs_that_contain_themselves_end_in_errors() {
    let mut blob = Blob::new();
    let next = blob.next();
    let snake = blob.structure("snake", 8, &[("", next, 8), ("", next, 0), ("tail", next, 0)]);
    let next = blob.next();
    let doll = blob.array(next, 1);
    let next = blob.next();
    let echo = blob.prototype(next, &[("a", next), ("b", next), ("c", next)]);
    let pointer = blob.pointer(TypeId(5));
    assert_eq!(pointer, TypeId(4));
    let btf = Btf::from_bytes(blob.bytes());
    // Type 5 does not exist in that blob: the sound form has it.
    assert!(btf.is_err());
    blob.pointer(TypeId(5));
    let btf = Btf::from_bytes(blob.bytes()).unwrap();

    assert!(matches!(btf.field(snake, "absent"), Err(BtfError::TooDeep(_))));
    assert!(matches!(btf.size_of(doll), Err(BtfError::TooDeep(_))));
    assert!(btf.display(doll).len() < 10_000);
    assert!(btf.display(echo).len() < 100_000);
    assert!(btf.display(pointer).len() < 10_000);
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let large = blob.array(int, 1 << 30);
    let huge = blob.array(large, 1 << 30);
    let holder = blob.structure("holder", 8, &[("huge", huge, 0), ("large", large, 0)]);
    let btf = Btf::from_bytes(blob.bytes()).unwrap();
    assert!(matches!(btf.size_of(large), Err(BtfError::NoSize(_))));
    assert!(matches!(btf.field(holder, "huge[2][1]"), Err(BtfError::NoSize(_))));
    // Offsets in bits are kept in 32 bits' worth of bytes.
    assert!(matches!(btf.field(holder, "large[1073741823]"), Err(BtfError::OutOfBounds { .. })));
    assert!(matches!(btf.size_of(TypeId::VOID), Err(BtfError::NoSize(_))));
    assert!(matches!(btf.ty(TypeId(99)), Err(BtfError::UnknownType(TypeId(99)))));
}

#[test]
fn a_bitfield_in_a_huge_integer_is_placed() {
    // Integers of more than 16 bytes do not exist; one of 2 GiB must not overflow a size.
    let mut blob = Blob::new();
    let huge = blob.int_bits("huge", (1 << 31) + 1, 0, 3);
    let holder = blob.structure("holder", 8, &[("bits", huge, 4)]);
    let btf = Btf::from_bytes(blob.bytes()).unwrap();
    let field = btf.field(holder, "bits").unwrap();
    assert_eq!((field.offset, field.size, field.bits.map(|bits| bits.size)), (0, 8, Some(3)));
}

#[test]
fn split_data_that_does_not_fit_its_base_is_refused() {
    let mut base = Blob::new();
    base.int("int", 4);
    let base = Arc::new(Btf::from_bytes(base.bytes()).unwrap());
    let mut other = Blob::new();
    other.int("int", 4);
    other.int("long", 8);
    let mut module = Blob::on(&other);
    let int = TypeId(2);
    module.typedef("t", int);
    module.pointer(TypeId(4));
    // Made for a base with one type more: its pointer leads behind the end.
    assert!(Btf::split(base, module.bytes()).is_err());
}
