//! Maps of what is kept.

use crate::Error;
use ebpf::btf::{Builder, Encoding};
use kernel::btf::TypeId;
use kernel::btf_object::{BtfObject, MapBtf};
use kernel::map::{Map, MapFlags, MapSpec, MapType};

/// A map to be created.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Its name; the kernel keeps 15 bytes of it.
    pub(crate) name: String,
    /// What kind it is.
    pub(crate) shape: Shape,
    /// Bytes in a value; a multiple of 8.
    pub(crate) value_size: u32,
}

/// A kind of map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Storage of tasks.
    Tasks,
    /// From a key of 4 or 8 bytes.
    Hash {
        /// Bytes in the key.
        key_size: u32,
        /// Elements at most.
        max_entries: u32,
    },
    /// The same, where what was not used for longest gives way.
    Recent {
        /// Bytes in the key.
        key_size: u32,
        /// Elements at most.
        max_entries: u32,
    },
    /// One value per CPU.
    PerCpu,
    /// One value.
    One,
}

impl Wanted {
    pub(crate) fn new(name: impl Into<String>, shape: Shape, value_size: u32) -> Self {
        Self { name: name.into(), shape, value_size }
    }

    /// Creates it.
    pub(crate) fn create(&self) -> Result<Map, Error> {
        let spec = MapSpec { name: &self.name, value_size: self.value_size, ..MapSpec::default() };
        let spec = match self.shape {
            Shape::Tasks => {
                // The kernel wants to know types of key and value; bpftool shows them.
                let mut builder = Builder::new();
                let key = builder.int("int", 4, Encoding::Signed)?;
                let word = builder.int("unsigned long", 8, Encoding::Unsigned)?;
                let value = builder.array(word, key, self.value_size / 8)?;
                let object = BtfObject::load(&builder.finish())?;
                let btf =
                    MapBtf { object: &object, key: TypeId(key.raw()), value: TypeId(value.raw()) };
                return Ok(Map::create(&MapSpec {
                    map_type: MapType::TASK_STORAGE,
                    key_size: 4,
                    flags: MapFlags::NO_PREALLOC,
                    btf: Some(btf),
                    ..spec
                })?);
            }
            Shape::Hash { key_size, max_entries } => MapSpec {
                map_type: MapType::HASH,
                key_size,
                max_entries,
                flags: MapFlags::NO_PREALLOC,
                ..spec
            },
            Shape::Recent { key_size, max_entries } => {
                MapSpec { map_type: MapType::LRU_HASH, key_size, max_entries, ..spec }
            }
            Shape::One => MapSpec { map_type: MapType::ARRAY, key_size: 4, max_entries: 1, ..spec },
            Shape::PerCpu => {
                MapSpec { map_type: MapType::PERCPU_ARRAY, key_size: 4, max_entries: 1, ..spec }
            }
        };
        Ok(Map::create(&spec)?)
    }
}
