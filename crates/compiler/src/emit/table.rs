//! Tables that a section looks values up in: long lists that would be too many instructions.
//!
//! A section declares what it needs while it is emitted ([`Emitter::table`]) and gets the map to call
//! helpers with; equal tables of one program are one map. Whoever loads the program creates the maps
//! first ([`Table::create`]). Programs can only read them, and they never change.

use super::Emitter;
use crate::Error;
use ebpf::{MapRef, Module};
use kernel::map::{Map, MapFlags, MapSpec, MapType, Update};

/// How keys are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    /// Equal bytes.
    Hash,
    /// By index: keys are 0, 1, 2, … (u32, host byte order).
    Array,
    /// Longest prefix. A key is the number of bits that count (u32, host byte order), then the bytes.
    Prefixes,
}

/// A table and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableSpec {
    /// How keys are looked up.
    pub(crate) kind: TableKind,
    /// Bytes in a key, with the four that say how many bits count.
    pub(crate) key_size: u32,
    /// Bytes in a value, at least one.
    pub(crate) value_size: u32,
    /// Keys and values, each of these sizes; not empty. Of equal keys the last one counts.
    pub(crate) entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A table of a program.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Name of its map, unique in the program.
    pub(crate) name: String,
    spec: TableSpec,
}

impl Table {
    /// The name of the table with this in it, which is added to the list unless it is there.
    pub(crate) fn of(list: &mut Vec<Self>, spec: TableSpec) -> String {
        if let Some(known) = list.iter().find(|table| table.spec == spec) {
            return known.name.clone();
        }
        let name = format!("tg_table_{}", list.len());
        list.push(Self { name: name.clone(), spec });
        name
    }

    /// Bytes of its keys and values.
    pub(crate) fn bytes(&self) -> u64 {
        let entry = u64::from(self.spec.key_size) + u64::from(self.spec.value_size);
        entry * self.spec.entries.len() as u64
    }

    /// Creates the map, with everything in it.
    pub(crate) fn create(&self) -> Result<Map, Error> {
        let TableSpec { kind, key_size, value_size, entries } = &self.spec;
        let (map_type, flags) = match kind {
            TableKind::Hash => (MapType::HASH, MapFlags::RDONLY_PROG),
            TableKind::Array => (MapType::ARRAY, MapFlags::RDONLY_PROG),
            TableKind::Prefixes => {
                (MapType::LPM_TRIE, MapFlags::RDONLY_PROG | MapFlags::NO_PREALLOC)
            }
        };
        let map = Map::create(&MapSpec {
            name: &self.name,
            map_type,
            key_size: *key_size,
            value_size: *value_size,
            max_entries: entries.len() as u32,
            flags,
            ..MapSpec::default()
        })?;
        let keys: Vec<u8> = entries.iter().flat_map(|(key, _)| key).copied().collect();
        let values: Vec<u8> = entries.iter().flat_map(|(_, value)| value).copied().collect();
        map.update_all(&keys, &values, Update::Any)?;
        Ok(map)
    }
}

/// The tables of a program under construction.
pub(super) struct Tables<'m> {
    pub(super) module: &'m mut Module,
    pub(super) list: &'m mut Vec<Table>,
}

impl Emitter<'_> {
    /// The map of this name among those of [`follow`](crate::follow).
    pub(crate) fn kept(&mut self, name: &str) -> MapRef {
        self.tables.module.map(name)
    }

    /// Tables that the program has so far.
    pub(crate) fn table_count(&self) -> usize {
        self.tables.list.len()
    }

    /// The map of a table with this in it.
    pub(crate) fn table(&mut self, spec: TableSpec) -> MapRef {
        let Tables { module, list } = &mut self.tables;
        module.map(Table::of(list, spec))
    }
}
