//! Types by name.
//!
//! One index per kind, made when that kind is first looked for: pairs of a name's hash and a type's
//! id, sorted. Eight bytes per type and no copy of a name; a lookup compares the few names that
//! share a hash.

use super::format::{kind_of, u32_at};
use super::{Btf, BtfError, Kind, TypeId};

/// Hashes of the names of one kind, with the types' ids. Types of the same name are in order of id.
pub(super) struct NameIndex(Box<[(u32, u32)]>);

impl NameIndex {
    fn with_hash(&self, hash: u32) -> impl Iterator<Item = TypeId> {
        let first = self.0.partition_point(|entry| entry.0 < hash);
        self.0[first..].iter().take_while(move |entry| entry.0 == hash).map(|entry| TypeId(entry.1))
    }
}

/// FNV-1a. The data is the kernel's own: nobody chooses names to make them collide, and if so,
/// lookups are slower but not wrong.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Btf {
    fn index(&self, kind: Kind) -> &NameIndex {
        self.names[kind as usize].get_or_init(|| {
            let mut entries: Vec<_> = self
                .own_of_kind(kind)
                .map(|id| (hash(self.name(id)), id.0))
                .filter(|&(_, id)| !self.name(TypeId(id)).is_empty())
                .collect();
            entries.sort_unstable();
            NameIndex(entries.into())
        })
    }

    /// This BTF's own types of a kind, not those of its base.
    fn own_of_kind(&self, kind: Kind) -> impl Iterator<Item = TypeId> {
        let ids = self.start.id..;
        ids.zip(&self.offsets)
            .filter(move |&(_, &at)| kind_of(u32_at(&self.types, at as usize + 4)) == Some(kind))
            .map(|(id, _)| TypeId(id))
    }

    /// All types of a kind, the base's first.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = TypeId> {
        let base = self.base.as_ref().map(|base| base.own_of_kind(kind));
        base.into_iter().flatten().chain(self.own_of_kind(kind))
    }

    /// All functions with their names.
    pub fn list_funcs(&self) -> impl Iterator<Item = (TypeId, &str)> {
        self.of_kind(Kind::Func).map(|id| (id, self.name(id)))
    }

    /// All types of a kind and name: a module's own before the kernel's, then by id. Kernels do have
    /// different structs with one name, each private to some source file.
    pub fn find_all(&self, kind: Kind, name: &str) -> Vec<TypeId> {
        let own = self.index(kind).with_hash(hash(name)).filter(|&id| self.name(id) == name);
        let mut found: Vec<_> = own.collect();
        if let Some(base) = &self.base {
            found.extend(base.find_all(kind, name));
        }
        found
    }

    /// The first type of a kind and name, in the order of [`Btf::find_all`].
    pub fn find(&self, kind: Kind, name: &str) -> Option<TypeId> {
        let mut own = self.index(kind).with_hash(hash(name));
        own.find(|&id| self.name(id) == name)
            .or_else(|| self.base.as_ref().and_then(|base| base.find(kind, name)))
    }

    fn find_or_err(&self, kind: Kind, name: &str) -> Result<TypeId, BtfError> {
        self.find(kind, name).ok_or_else(|| BtfError::NotFound { kind, name: name.into() })
    }

    /// The struct of a name, or the union if there is no such struct.
    pub fn find_struct(&self, name: &str) -> Result<TypeId, BtfError> {
        match self.find(Kind::Struct, name).or_else(|| self.find(Kind::Union, name)) {
            Some(id) => Ok(id),
            None => Err(BtfError::NotFound { kind: Kind::Struct, name: name.into() }),
        }
    }

    /// The function of a name.
    pub fn find_func(&self, name: &str) -> Result<TypeId, BtfError> {
        self.find_or_err(Kind::Func, name)
    }

    /// The typedef of a name.
    pub fn find_typedef(&self, name: &str) -> Result<TypeId, BtfError> {
        self.find_or_err(Kind::Typedef, name)
    }

    /// The value of a constant in the enum of a name, of either width.
    pub fn enumerator(&self, enum_name: &str, constant: &str) -> Option<i64> {
        [Kind::Enum, Kind::Enum64]
            .into_iter()
            .flat_map(|kind| self.find_all(kind, enum_name))
            .find_map(|id| self.enumerator_of(id, constant))
    }

    /// The value of a constant in any enum, anonymous ones included.
    pub fn constant(&self, constant: &str) -> Option<i64> {
        [Kind::Enum, Kind::Enum64]
            .into_iter()
            .flat_map(|kind| self.of_kind(kind))
            .find_map(|id| self.enumerator_of(id, constant))
    }

    /// The value of a constant in one enum.
    pub fn enumerator_of(&self, id: TypeId, constant: &str) -> Option<i64> {
        match self.ty(self.peel(id)) {
            Ok(super::Type::Enum(of)) => {
                of.values().find(|(name, _)| *name == constant).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}
