//! The binary format of BTF, and the one pass that checks it.
//!
//! A header, a section of types and a section of NUL-terminated strings. Types are numbered in the
//! order in which they stand, from 1 (0 is void); each has a fixed part of 12 bytes (name, info, size
//! or type) and a tail whose length follows from its kind and count. Everything is in the byte order
//! of the kernel that made it. See `include/uapi/linux/btf.h` and `Documentation/bpf/btf.rst`.
//!
//! After [`check`] these hold, and the rest of the reader relies on them: every record lies within
//! the type section, every name starts within the string section and ends there, every type id in a
//! record exists, and a chain of typedefs, qualifiers and type tags ends.

use super::{BtfError, Kind};

const MAGIC: u16 = 0xeb9f;
const HEADER_SIZE: usize = 24;
/// Bytes of the part that all records have.
pub(super) const FIXED: usize = 12;

/// Where the two sections stand in the blob.
pub(super) struct Sections {
    pub(super) types: std::ops::Range<usize>,
    pub(super) strings: std::ops::Range<usize>,
}

/// What a blob's type ids and string offsets build on: zero and one for BTF that stands alone, and
/// the ends of the base's for split BTF.
#[derive(Clone, Copy)]
pub(super) struct Start {
    /// Id of the first type.
    pub(super) id: u32,
    /// Offset of the first string.
    pub(super) string: u32,
}

/// Reads `u32` at `at`; 0 behind the end, which [`check`] excludes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(word) => u32::from_ne_bytes(*word),
        None => 0,
    }
}

/// The kind number in a record's info word. Kernels so far leave the bits above it zero.
pub(super) fn kind_of(info: u32) -> Option<Kind> {
    Kind::from_number((info >> 24) & 0x7f)
}

/// The count in a record's info word: members, enumerators, parameters or variables. It has 16 bits,
/// and the 8 unused ones above are zero; reading them too cannot mistake one kernel for another.
pub(super) fn vlen_of(info: u32) -> usize {
    (info & 0x00ff_ffff) as usize
}

/// The flag in a record's info word; what it says depends on the kind.
pub(super) fn flag_of(info: u32) -> bool {
    info >> 31 != 0
}

/// Bytes behind the fixed part of a record.
pub(super) fn tail_len(kind: Kind, vlen: usize) -> usize {
    match kind {
        Kind::Int | Kind::Var | Kind::DeclTag => 4,
        Kind::Array => 12,
        Kind::Enum | Kind::FuncProto => 8 * vlen,
        Kind::Struct | Kind::Union | Kind::DataSection | Kind::Enum64 => 12 * vlen,
        _ => 0,
    }
}

/// Reads the header.
pub(super) fn sections(blob: &[u8]) -> Result<Sections, BtfError> {
    let malformed = |what, at| BtfError::Malformed { what, section: "header", at };
    let Some(magic) = blob.first_chunk() else {
        return Err(malformed("shorter than its header", blob.len()));
    };
    match u16::from_ne_bytes(*magic) {
        MAGIC => {}
        magic if magic.swap_bytes() == MAGIC => return Err(BtfError::ForeignEndian),
        magic => return Err(BtfError::NotBtf { magic }),
    }
    if blob.len() < HEADER_SIZE {
        return Err(malformed("shorter than its header", blob.len()));
    }
    if blob[2] != 1 {
        return Err(BtfError::Version(blob[2]));
    }
    // A later kernel's header may be longer; what it appends is not needed to read types.
    let header = u32_at(blob, 4) as usize;
    if header < HEADER_SIZE || header > blob.len() {
        return Err(malformed("impossible header length", 4));
    }
    let section = |at: usize| {
        let start = header.checked_add(u32_at(blob, at) as usize)?;
        let end = start.checked_add(u32_at(blob, at + 4) as usize)?;
        (end <= blob.len()).then_some(start..end)
    };
    let types = section(8).ok_or(malformed("types beyond the end of the data", 8))?;
    let strings = section(16).ok_or(malformed("strings beyond the end of the data", 16))?;
    Ok(Sections { types, strings })
}

/// What the pass over all records learns.
pub(super) struct Checked {
    /// Where each record stands in the type section, by id from `start.id`.
    pub(super) offsets: Vec<u32>,
    /// Some enum is marked as signed: the maker of this BTF knows the mark (pahole 1.24).
    pub(super) enum_signs: bool,
}

/// Checks all records.
pub(super) fn check(types: &[u8], strings: &str, start: Start) -> Result<Checked, BtfError> {
    check_strings(strings, start)?;
    // Records of a real kernel take 30 bytes on average; a wrong guess costs a reallocation.
    let mut offsets = Vec::with_capacity(types.len() / 30);
    let mut at = 0;
    let mut enum_signs = false;
    // The largest id that any record refers to, and which record does.
    let mut furthest = (0, 0);
    while at < types.len() {
        let malformed = |what| BtfError::Malformed { what, section: "type section", at };
        if types.len() - at < FIXED {
            return Err(malformed("record cut off"));
        }
        let info = u32_at(types, at + 4);
        let kind = kind_of(info).ok_or(malformed("kind is not known"))?;
        let vlen = vlen_of(info);
        let end = at + FIXED + tail_len(kind, vlen);
        let tail = types.get(at + FIXED..end).ok_or(malformed("record cut off"))?;

        let name_ok = |offset: u32| match offset.checked_sub(start.string) {
            Some(own) => (own as usize) < strings.len() && strings.is_char_boundary(own as usize),
            None => true, // a string of the base
        };
        let mut refers = |id: u32| {
            if id > furthest.0 {
                furthest = (id, at);
            }
        };
        if !name_ok(u32_at(types, at)) {
            return Err(malformed("name beyond the strings"));
        }
        match kind {
            Kind::Pointer
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::Var
            | Kind::DeclTag
            | Kind::TypeTag => refers(u32_at(types, at + 8)),
            Kind::Array => {
                refers(u32_at(tail, 0));
                refers(u32_at(tail, 4));
            }
            Kind::Struct | Kind::Union => {
                for member in tail.chunks_exact(12) {
                    if !name_ok(u32_at(member, 0)) {
                        return Err(malformed("member name beyond the strings"));
                    }
                    refers(u32_at(member, 4));
                }
            }
            Kind::Enum | Kind::Enum64 => {
                enum_signs |= flag_of(info);
                let size = if kind == Kind::Enum { 8 } else { 12 };
                if !tail.chunks_exact(size).all(|enumerator| name_ok(u32_at(enumerator, 0))) {
                    return Err(malformed("enumerator name beyond the strings"));
                }
            }
            Kind::FuncProto => {
                refers(u32_at(types, at + 8));
                for parameter in tail.chunks_exact(8) {
                    if !name_ok(u32_at(parameter, 0)) {
                        return Err(malformed("parameter name beyond the strings"));
                    }
                    refers(u32_at(parameter, 4));
                }
            }
            Kind::DataSection => {
                tail.chunks_exact(12).for_each(|variable| refers(u32_at(variable, 0)));
            }
            Kind::Void | Kind::Int | Kind::Forward | Kind::Float => {}
        }
        // The type section is at most 4 GiB, its length being a u32.
        offsets.push(at as u32);
        at = end;
    }
    // At least 12 bytes per type in less than 4 GiB: ids of one blob fit; a base is one blob too.
    let end = start.id as usize + offsets.len();
    if furthest.0 as usize >= end {
        let what = "refers to a type that does not exist";
        return Err(BtfError::Malformed { what, section: "type section", at: furthest.1 });
    }
    check_chains(types, &offsets, start)?;
    Ok(Checked { offsets, enum_signs })
}

fn check_strings(strings: &str, start: Start) -> Result<(), BtfError> {
    let malformed = |what, at| BtfError::Malformed { what, section: "string section", at };
    match (strings.bytes().next(), strings.bytes().last()) {
        // Split BTF may add types that need no name of their own.
        (None, None) if start.id > 1 => Ok(()),
        (Some(first), _) if first != 0 && start.id == 1 => {
            Err(malformed("does not start with the empty string", 0))
        }
        (Some(_), Some(0)) => Ok(()),
        _ => Err(malformed("does not end with NUL", strings.len())),
    }
}

/// Refuses typedefs, qualifiers and tags that lead back to themselves. Those that lead into a base
/// were checked with it.
fn check_chains(types: &[u8], offsets: &[u32], start: Start) -> Result<(), BtfError> {
    // For each type the walk that came past it; 0 for none.
    let mut walks = vec![0_u32; offsets.len()];
    for first in 0..offsets.len() {
        let walk = first as u32 + 1;
        let mut index = first;
        while let Some(&at) = offsets.get(index) {
            let at = at as usize;
            if !kind_of(u32_at(types, at + 4)).is_some_and(Kind::is_modifier) {
                break;
            }
            match walks[index] {
                0 => walks[index] = walk,
                seen if seen == walk => {
                    let what = "type is defined by itself";
                    return Err(BtfError::Malformed { what, section: "type section", at });
                }
                _ => break,
            }
            match u32_at(types, at + 8).checked_sub(start.id) {
                Some(next) => index = next as usize,
                None => break,
            }
        }
    }
    Ok(())
}
