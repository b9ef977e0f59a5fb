//! The maps of the base programs.

use super::emit::{cpu, map};
use super::{scratch, state};
use crate::Error;
use ebpf::btf::{Builder, Encoding};
use kernel::btf::TypeId;
use kernel::btf_object::{BtfObject, MapBtf};
use kernel::map::{Map, MapFlags, MapSpec, MapType};

/// Processes whose leader has ended before its other threads, at most. Go and Java programs do that
/// at times; a thousand at once on one machine is far beyond what is seen.
const LEADERLESS_MAX: u32 = 1024;

/// Sizes of the rings in bytes; powers of two and multiples of the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// Process base and enforcement.
    pub base: u32,
    /// What policies observe.
    pub observation: u32,
}

/// The maps that all programs of an agent share.
#[derive(Debug)]
pub(super) struct BaseMaps {
    pub(super) states: Map,
    pub(super) scratch: Map,
    pub(super) cpu: Map,
    pub(super) ring: Map,
    pub(super) leaderless: Map,
    pub(super) observation: Map,
}

impl BaseMaps {
    pub(super) fn create(rings: Rings) -> Result<Self, Error> {
        let types = state_types()?;
        let states = Map::create(&MapSpec {
            name: map::STATES,
            map_type: MapType::TASK_STORAGE,
            key_size: 4,
            value_size: state::at::SIZE as u32,
            flags: MapFlags::NO_PREALLOC,
            btf: Some(MapBtf { object: &types.object, key: types.key, value: types.value }),
            ..MapSpec::default()
        })?;
        let per_cpu = |name, size: u32| {
            Map::create(&MapSpec {
                name,
                map_type: MapType::PERCPU_ARRAY,
                key_size: 4,
                value_size: size,
                max_entries: 1,
                ..MapSpec::default()
            })
        };
        let ring = |name, size: u32| {
            Map::create(&MapSpec {
                name,
                map_type: MapType::RINGBUF,
                max_entries: size,
                ..MapSpec::default()
            })
        };
        Ok(Self {
            states,
            scratch: per_cpu(map::SCRATCH, scratch::SIZE as u32)?,
            cpu: per_cpu(map::CPU, cpu::SIZE as u32)?,
            ring: ring(map::RING, rings.base)?,
            leaderless: Map::create(&MapSpec {
                name: map::LEADERLESS,
                map_type: MapType::HASH,
                key_size: 4,
                value_size: state::at::SIZE as u32,
                max_entries: LEADERLESS_MAX,
                flags: MapFlags::NO_PREALLOC,
                ..MapSpec::default()
            })?,
            observation: ring(map::OBSERVATION, rings.observation)?,
        })
    }

    pub(super) fn all(&self) -> [&Map; 6] {
        [&self.states, &self.scratch, &self.cpu, &self.ring, &self.leaderless, &self.observation]
    }
}

struct StateTypes {
    object: BtfObject,
    key: TypeId,
    value: TypeId,
}

/// Types of the task storage, which the kernel demands and `bpftool map dump` shows.
fn state_types() -> Result<StateTypes, Error> {
    use state::at;
    let mut builder = Builder::new();
    let key = builder.int("int", 4, Encoding::Signed)?;
    let word = builder.int("unsigned int", 4, Encoding::Unsigned)?;
    let long = builder.int("unsigned long", 8, Encoding::Unsigned)?;
    let members = [
        ("ktime", long, at::KTIME),
        ("pid", word, at::PID),
        ("flags", word, at::FLAGS),
        ("parent_ktime", long, at::PARENT_KTIME),
        ("parent_pid", word, at::PARENT_PID),
        ("nspid", word, at::NSPID),
        ("exited", long, at::EXITED),
    ]
    .map(|(name, of, bytes)| (name, of, 8 * bytes as u32));
    let value = builder.structure("process", at::SIZE as u32, &members)?;
    let object = BtfObject::load(&builder.finish())?;
    Ok(StateTypes { object, key: TypeId(key.raw()), value: TypeId(value.raw()) })
}
