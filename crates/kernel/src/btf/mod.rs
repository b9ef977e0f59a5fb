//! The types of the running kernel, from its BTF.
//!
//! BTF describes every struct, enum and function of a kernel build, in about 5 MB. Reading it is one
//! pass that checks the data and notes where each type stands (`format.rs`); names are indexed per
//! kind when one of that kind is first looked for, and nothing else is decoded until asked. A
//! [`Btf`] that exists is sound: questions to it can fail because the kernel lacks what was asked
//! for, not because the data is broken, and none of them loops, whatever the data says.
//!
//! Modules have BTF of their own that builds on the kernel's ([`Btf::split`]); their types share one
//! numbering with the base, so a [`TypeId`] of the base means the same in both.

mod display;
mod error;
mod format;
mod index;
mod member;
mod path;
mod prototype;
mod source;
#[cfg(test)]
mod tests;
mod types;

use std::ffi::CStr;
use std::fmt;
use std::sync::{Arc, OnceLock};

pub use error::BtfError;
pub use member::{BitField, Field, Hop, Tags};
pub use prototype::{Param, Prototype};
pub use source::{KERNEL_BTF, MODULE_BTF_DIR};
pub use types::{
    Composite, DataSection, Enum, FuncProto, Int, Kind, Member, SectionVariable, Type,
};

use format::{FIXED, Sections, Start, kind_of, tail_len, u32_at, vlen_of};
use index::NameIndex;

/// Number of a type. 0 is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);

impl TypeId {
    /// The type `void`.
    pub const VOID: Self = Self(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The types of one kernel build, or of one of its modules together with the kernel's.
pub struct Btf {
    base: Option<Arc<Btf>>,
    start: Start,
    /// The data as it was read, with the two sections in it.
    blob: Box<[u8]>,
    sections: Sections,
    /// Where each record stands in the type section, by id from `start.id`.
    offsets: Vec<u32>,
    enum_signs: bool,
    names: [OnceLock<NameIndex>; Kind::COUNT],
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf").field("types", &self.len()).finish_non_exhaustive()
    }
}

impl Btf {
    /// Reads BTF that stands alone, as the kernel's. The data must be in this machine's byte order.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, BtfError> {
        Self::new(None, bytes)
    }

    /// Reads the BTF of a module, which continues the kernel's.
    pub fn split(base: Arc<Btf>, bytes: Vec<u8>) -> Result<Self, BtfError> {
        Self::new(Some(base), bytes)
    }

    fn new(base: Option<Arc<Btf>>, blob: Vec<u8>) -> Result<Self, BtfError> {
        let start = match &base {
            Some(base) => base.end(),
            None => Start { id: 1, string: 0 },
        };
        let sections = format::sections(&blob)?;
        let strings = str::from_utf8(&blob[sections.strings.clone()]).map_err(|error| {
            let (what, section) = ("not UTF-8", "string section");
            BtfError::Malformed { what, section, at: error.valid_up_to() }
        })?;
        let checked = format::check(&blob[sections.types.clone()], strings, start)?;
        let enum_signs = checked.enum_signs || base.as_ref().is_some_and(|base| base.enum_signs);
        Ok(Self {
            base,
            start,
            blob: blob.into(),
            sections,
            offsets: checked.offsets,
            enum_signs,
            names: Default::default(),
        })
    }

    fn types(&self) -> &[u8] {
        &self.blob[self.sections.types.clone()]
    }

    /// Where BTF that builds on this one starts.
    fn end(&self) -> Start {
        // Both sums are of lengths that were a u32 each; a base has no base of its own in practice,
        // and saturation keeps ids of an absurd stack unresolvable instead of wrong.
        Start {
            id: self.start.id.saturating_add(self.offsets.len() as u32),
            string: self.start.string.saturating_add(self.sections.strings.len() as u32),
        }
    }

    /// Number of types, void and those of the base included: ids are below it.
    pub fn len(&self) -> u32 {
        self.end().id
    }

    /// Whether there is no type but void.
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// The BTF this one continues.
    pub fn base(&self) -> Option<&Arc<Btf>> {
        self.base.as_ref()
    }

    /// The BTF that holds `id`, and where the record stands in its types.
    fn locate(&self, id: TypeId) -> Option<(&Btf, usize)> {
        match (id.0.checked_sub(self.start.id), &self.base) {
            (Some(own), _) => self.offsets.get(own as usize).map(|&at| (self, at as usize)),
            (None, Some(base)) => base.locate(id),
            (None, None) => None,
        }
    }

    fn info(&self, id: TypeId) -> Option<u32> {
        self.locate(id).map(|(owner, at)| u32_at(owner.types(), at + 4))
    }

    /// The string at `offset`, in the base's numbering where there is one; empty when there is none.
    fn string(&self, offset: u32) -> &str {
        // Sound data has no string that is not UTF-8: Btf::new saw to it.
        str::from_utf8(self.string_bytes(offset)).unwrap_or_default()
    }

    fn string_bytes(&self, offset: u32) -> &[u8] {
        match (offset.checked_sub(self.start.string), &self.base) {
            (Some(own), _) => {
                let strings = &self.blob[self.sections.strings.clone()];
                let rest = strings.get(own as usize..).unwrap_or_default();
                CStr::from_bytes_until_nul(rest).unwrap_or_default().to_bytes()
            }
            (None, Some(base)) => base.string_bytes(offset),
            (None, None) => &[],
        }
    }

    /// Kind of a type; `Void` for 0 and for ids that do not exist.
    pub fn kind(&self, id: TypeId) -> Kind {
        self.info(id).and_then(kind_of).unwrap_or(Kind::Void)
    }

    /// Name of a type, or text of a tag; empty for anonymous types and ids that do not exist.
    pub fn name(&self, id: TypeId) -> &str {
        str::from_utf8(self.name_bytes(id)).unwrap_or_default()
    }

    fn name_bytes(&self, id: TypeId) -> &[u8] {
        match self.locate(id) {
            Some((owner, at)) => owner.string_bytes(u32_at(owner.types(), at)),
            None => &[],
        }
    }

    /// The type with a number.
    pub fn ty(&self, id: TypeId) -> Result<Type<'_>, BtfError> {
        if id == TypeId::VOID {
            return Ok(Type::Void);
        }
        let (owner, at) = self.locate(id).ok_or(BtfError::UnknownType(id))?;
        let [name, info, word] = [0, 4, 8].map(|field| u32_at(owner.types(), at + field));
        let kind = kind_of(info).ok_or(BtfError::UnknownType(id))?;
        let tail = at + FIXED;
        let tail = owner.types().get(tail..tail + tail_len(kind, vlen_of(info)));
        let name = owner.string(name);
        Ok(types::decode(owner, kind, name, info, word, tail.unwrap_or_default()))
    }

    /// The type behind typedefs, `const`, `volatile`, `restrict` and type tags.
    pub fn peel(&self, id: TypeId) -> TypeId {
        let mut id = id;
        while let Some((owner, at)) = self.locate(id) {
            // Chains end: format::check saw to it.
            if !kind_of(u32_at(owner.types(), at + 4)).is_some_and(Kind::is_modifier) {
                break;
            }
            id = TypeId(u32_at(owner.types(), at + 8));
        }
        id
    }

    /// Bytes that a value of a type takes. Pointers are those of a 64-bit kernel.
    pub fn size_of(&self, id: TypeId) -> Result<u32, BtfError> {
        let no_size = || BtfError::NoSize(self.display(id));
        let mut count = 1_u32;
        let mut element = id;
        // Arrays of arrays: no kernel has more dimensions.
        for _ in 0..16 {
            element = self.peel(element);
            let size = match self.ty(element)? {
                Type::Array { element: inner, length, .. } => {
                    count = count.checked_mul(length).ok_or_else(no_size)?;
                    element = inner;
                    continue;
                }
                Type::Var { ty, .. } => {
                    element = ty;
                    continue;
                }
                Type::Pointer { .. } => 8,
                Type::Int(int) => int.size,
                Type::Float { size, .. } => size,
                Type::Struct(composite) | Type::Union(composite) => composite.size,
                Type::Enum(of) => of.size,
                Type::DataSection(section) => section.size,
                _ => return Err(no_size()),
            };
            return count.checked_mul(size).ok_or_else(no_size);
        }
        Err(BtfError::TooDeep(self.display(id)))
    }
}
