//! Types for the kernel in BTF, its type format (Documentation/bpf/btf.rst).
//!
//! A [`Builder`] collects types and gives each an id, which other types, map creation
//! (`btf_key_type_id`, `btf_value_type_id`) and function records refer to. Ids are given out in order
//! from 1, and a type can only refer to those before it; [`Builder::finish`] gives the bytes for
//! `BPF_BTF_LOAD`, in the machine's byte order.
//!
//! ```
//! use ebpf::btf::{Builder, Encoding};
//!
//! let mut types = Builder::new();
//! let u64 = types.int("unsigned long long", 8, Encoding::Unsigned)?;
//! let state = types.structure("state", 16, &[("start", u64, 0), ("flags", u64, 64)])?;
//! let blob = types.finish();
//! # assert!(state.raw() == 2 && blob.len() > 24);
//! # Ok::<(), ebpf::btf::BtfError>(())
//! ```

use std::collections::HashMap;

/// A type's number in its blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(u32);

impl TypeId {
    /// No type: the target of a `void *`, the result of a function without one.
    pub const VOID: Self = Self(0);

    /// The number itself.
    pub const fn raw(self) -> u32 {
        self.0
    }
}

/// How an integer's bits are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A number from 0.
    Unsigned,
    /// A number with a sign.
    Signed,
    /// A character.
    Char,
    /// 0 or 1.
    Bool,
}

/// Who sees a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// Verified where it is called, with what the caller passes.
    Static,
    /// Verified once, from the types of its parameters.
    Global,
}

/// What a forward declaration announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// A structure.
    Struct,
    /// A union.
    Union,
}

/// Why a type cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// A type refers to one that does not exist yet.
    #[error("type {name:?} refers to type {id}, which is not defined before it")]
    UnknownType {
        /// The referring type.
        name: String,
        /// The number.
        id: u32,
    },
    /// A name with a NUL byte in it.
    #[error("the string {0:?} has a NUL byte in it")]
    Nul(String),
    /// The kernel takes at most 65,535 members or parameters.
    #[error("type {name:?} has {count} members; at most 65535 can be described")]
    TooMany {
        /// The type.
        name: String,
        /// Its members.
        count: usize,
    },
    /// The kernel keeps string offsets in 24 bits (`BTF_MAX_NAME_OFFSET`).
    #[error("the names and source lines are longer than 16 MiB together")]
    Strings,
    /// An integer that is not of 1, 2, 4, 8 or 16 bytes.
    #[error("integer {name:?} of {size} bytes: sizes are 1, 2, 4, 8 and 16")]
    IntSize {
        /// The type.
        name: String,
        /// The size asked for.
        size: u32,
    },
}

/// Numbers of the kinds (`BTF_KIND_*`).
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
}

const MAX_STRINGS: usize = 0xff_ffff;

/// Collects types.
#[derive(Clone, Debug)]
pub struct Builder {
    types: Vec<u8>,
    count: u32,
    strings: Vec<u8>,
    /// Offsets of the strings that are there.
    known: HashMap<String, u32>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Without types.
    pub fn new() -> Self {
        Self {
            types: Vec::new(),
            count: 0,
            // Offset 0 is the empty string.
            strings: vec![0],
            known: HashMap::from([(String::new(), 0)]),
        }
    }

    /// An integer of `size` bytes.
    pub fn int(&mut self, name: &str, size: u32, encoding: Encoding) -> Result<TypeId, BtfError> {
        if !matches!(size, 1 | 2 | 4 | 8 | 16) {
            return Err(BtfError::IntSize { name: name.to_owned(), size });
        }
        let encoding = match encoding {
            Encoding::Unsigned => 0,
            Encoding::Signed => 1,
            Encoding::Char => 2,
            Encoding::Bool => 4,
        };
        self.add(name, kind::INT, 0, size, &[(encoding << 24) | (size * 8)])
    }

    /// A pointer.
    pub fn ptr(&mut self, to: TypeId) -> Result<TypeId, BtfError> {
        self.check("", to)?;
        self.add("", kind::PTR, 0, to.0, &[])
    }

    /// An array of `count` elements. `index` is the type of its index, an integer.
    pub fn array(&mut self, of: TypeId, index: TypeId, count: u32) -> Result<TypeId, BtfError> {
        self.check("array", of)?;
        self.check("array", index)?;
        self.add("", kind::ARRAY, 0, 0, &[of.0, index.0, count])
    }

    /// A structure of `size` bytes. Members have a name, a type and an offset in bits.
    pub fn structure(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, TypeId, u32)],
    ) -> Result<TypeId, BtfError> {
        let mut words = Vec::with_capacity(members.len() * 3);
        for &(member, ty, bit) in members {
            self.check(name, ty)?;
            words.extend([self.string(member)?, ty.0, bit]);
        }
        self.add(name, kind::STRUCT, members.len(), size, &words)
    }

    /// A structure or union that is only announced.
    pub fn fwd(&mut self, name: &str, what: Forward) -> Result<TypeId, BtfError> {
        let id = self.add(name, kind::FWD, 0, 0, &[])?;
        if what == Forward::Union {
            // The flag is the top bit of the info word, the second of the three just written.
            let info = self.types.len() - 8;
            let word = kind::FWD << 24 | 1 << 31;
            self.types[info..info + 4].copy_from_slice(&word.to_ne_bytes());
        }
        Ok(id)
    }

    /// Another name for a type.
    pub fn typedef(&mut self, name: &str, of: TypeId) -> Result<TypeId, BtfError> {
        self.check(name, of)?;
        self.add(name, kind::TYPEDEF, 0, of.0, &[])
    }

    /// The type of a function: what it returns and takes.
    pub fn func_proto(
        &mut self,
        result: TypeId,
        params: &[(&str, TypeId)],
    ) -> Result<TypeId, BtfError> {
        self.check("function", result)?;
        let mut words = Vec::with_capacity(params.len() * 2);
        for &(param, ty) in params {
            self.check(param, ty)?;
            words.extend([self.string(param)?, ty.0]);
        }
        self.add("", kind::FUNC_PROTO, params.len(), result.0, &words)
    }

    /// A function. The kernel takes identifiers for names: see [`identifier`].
    pub fn func(
        &mut self,
        name: &str,
        proto: TypeId,
        linkage: Linkage,
    ) -> Result<TypeId, BtfError> {
        self.check(name, proto)?;
        let linkage = match linkage {
            Linkage::Static => 0,
            Linkage::Global => 1,
        };
        self.add(name, kind::FUNC, linkage, proto.0, &[])
    }

    /// Offset of a string, which is added if it is new.
    pub fn string(&mut self, text: &str) -> Result<u32, BtfError> {
        if let Some(&offset) = self.known.get(text) {
            return Ok(offset);
        }
        if text.contains('\0') {
            return Err(BtfError::Nul(text.to_owned()));
        }
        let offset = self.strings.len();
        if offset + text.len() >= MAX_STRINGS {
            return Err(BtfError::Strings);
        }
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        self.known.insert(text.to_owned(), offset as u32);
        Ok(offset as u32)
    }

    /// The blob.
    pub fn finish(self) -> Vec<u8> {
        const HEADER: u32 = 24;
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut out = Vec::with_capacity((HEADER + types + strings) as usize);
        out.extend(0xeb9f_u16.to_ne_bytes());
        out.extend([1, 0]); // version, flags
        for word in [HEADER, 0, types, types, strings] {
            out.extend(word.to_ne_bytes());
        }
        out.extend(self.types);
        out.extend(self.strings);
        out
    }

    fn check(&self, name: &str, id: TypeId) -> Result<(), BtfError> {
        if id.0 <= self.count {
            Ok(())
        } else {
            Err(BtfError::UnknownType { name: name.to_owned(), id: id.0 })
        }
    }

    /// Adds a `struct btf_type` and the words that follow it. `third` is its size or type.
    fn add(
        &mut self,
        name: &str,
        kind: u32,
        vlen: usize,
        third: u32,
        words: &[u32],
    ) -> Result<TypeId, BtfError> {
        let vlen = u16::try_from(vlen)
            .map_err(|_| BtfError::TooMany { name: name.to_owned(), count: vlen })?;
        let name = self.string(name)?;
        for word in [name, kind << 24 | u32::from(vlen), third].iter().chain(words) {
            self.types.extend(word.to_ne_bytes());
        }
        self.count += 1;
        Ok(TypeId(self.count))
    }
}

/// `name` as an identifier, which the kernel wants function names to be: other characters become `_`,
/// and a digit does not come first.
pub fn identifier(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}
