//! Types by name.
//!
//! One index per kind, made when that kind is first looked for: the types' ids, sorted into as many
//! buckets as there are types by a hash of their names. Eight bytes per type and no copy of a name; a
//! lookup compares the few names of one bucket.

use super::format::{kind_of, u32_at};
use super::{Btf, BtfError, Kind, TypeId};

/// Ids of the types of one kind by buckets; within a bucket they are in order.
pub(super) struct NameIndex {
    ids: Box<[TypeId]>,
    /// Where in `ids` each bucket starts, and at last the end.
    starts: Box<[u32]>,
}

impl NameIndex {
    fn new<'a>(names: impl Iterator<Item = (TypeId, &'a [u8])>) -> Self {
        let hashed: Vec<_> =
            names.filter(|(_, name)| !name.is_empty()).map(|(id, name)| (hash(name), id)).collect();
        let buckets = hashed.len().next_power_of_two();
        let bucket = |hash: u32| hash as usize & (buckets - 1);
        // Counting sort: `starts` first counts the ids of each bucket, then says where each ends, and
        // as ids are put in from the last on, where each starts.
        let mut starts = vec![0_u32; buckets + 1];
        hashed.iter().for_each(|&(hash, _)| starts[bucket(hash)] += 1);
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut ids = vec![TypeId::VOID; hashed.len()];
        for &(hash, id) in hashed.iter().rev() {
            let start = &mut starts[bucket(hash)];
            *start -= 1;
            ids[*start as usize] = id;
        }
        Self { ids: ids.into(), starts: starts.into() }
    }

    /// Ids in the bucket of a name.
    fn candidates(&self, name: &[u8]) -> &[TypeId] {
        let bucket = hash(name) as usize & (self.starts.len() - 2);
        &self.ids[self.starts[bucket] as usize..self.starts[bucket + 1] as usize]
    }
}

/// FNV-1a. The data is the kernel's own: nobody chooses names to make them collide, and if so,
/// lookups are slower but not wrong.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Btf {
    fn index(&self, kind: Kind) -> &NameIndex {
        self.names[kind as usize].get_or_init(|| {
            NameIndex::new(self.own_of_kind(kind).map(|id| (id, self.name_bytes(id))))
        })
    }

    /// This BTF's own types of a kind, not those of its base.
    fn own_of_kind(&self, kind: Kind) -> impl Iterator<Item = TypeId> {
        let ids = self.start.id..;
        ids.zip(&self.offsets)
            .filter(move |&(_, &at)| kind_of(u32_at(self.types(), at as usize + 4)) == Some(kind))
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

    fn own_named(&self, kind: Kind, name: &str) -> impl Iterator<Item = TypeId> {
        let name = name.as_bytes();
        let candidates = self.index(kind).candidates(name).iter().copied();
        candidates.filter(move |&id| self.name_bytes(id) == name)
    }

    /// All types of a kind and name: a module's own before the kernel's, then by id. Kernels do have
    /// different structs with one name, each private to some source file.
    pub fn find_all(&self, kind: Kind, name: &str) -> Vec<TypeId> {
        let mut found: Vec<_> = self.own_named(kind, name).collect();
        if let Some(base) = &self.base {
            found.extend(base.find_all(kind, name));
        }
        found
    }

    /// The first type of a kind and name, in the order of [`Btf::find_all`].
    pub fn find(&self, kind: Kind, name: &str) -> Option<TypeId> {
        self.own_named(kind, name)
            .next()
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
