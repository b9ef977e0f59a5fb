//! The maps that all programs of policies share.

use crate::Error;
use crate::base::Base;
use crate::emit::{map, scratch};
use crate::follow::maps::{Shape, Wanted};
use kernel::map::{Map, MapFlags, MapMemory, MapSpec, MapType};
use std::sync::atomic::Ordering;

/// The maps that all programs of policies share.
#[derive(Debug)]
pub(crate) struct SharedMaps {
    states: Map,
    observation: Map,
    scratch: Map,
    cpu: Map,
    pub(crate) calls: Map,
    control: Map,
    limits: Map,
    marks: Map,
    measures: Map,
    /// The control element, as memory.
    pub(crate) control_memory: MapMemory,
}

impl SharedMaps {
    /// What is observed goes to the base's ring.
    pub(crate) fn create(base: &Base) -> Result<Self, Error> {
        Self::with_ring(base, base.observation_ring().try_clone()?)
    }

    /// What is observed goes to `observation`.
    pub(crate) fn with_ring(base: &Base, observation: Map) -> Result<Self, Error> {
        let per_cpu = |name, size: u32, entries| {
            Map::create(&MapSpec {
                name,
                map_type: MapType::PERCPU_ARRAY,
                key_size: 4,
                value_size: size,
                max_entries: entries,
                ..MapSpec::default()
            })
        };
        let control = Map::create(&MapSpec {
            name: map::CONTROL,
            map_type: MapType::ARRAY,
            key_size: 4,
            value_size: map::control::SIZE,
            max_entries: 1,
            flags: MapFlags::MMAPABLE,
            ..MapSpec::default()
        })?;
        Ok(Self {
            states: base.states().try_clone()?,
            observation,
            scratch: per_cpu(map::SCRATCH, scratch::SIZE as u32, scratch::AREAS)?,
            cpu: per_cpu(map::CPU, map::cpu::SIZE as u32, 1)?,
            calls: Map::create(&MapSpec {
                name: map::CALLS,
                map_type: MapType::HASH,
                key_size: map::call::KEY_SIZE as u32,
                value_size: map::call::VALUE_SIZE as u32,
                max_entries: map::call::MAX,
                flags: MapFlags::NO_PREALLOC,
                ..MapSpec::default()
            })?,
            limits: Map::create(&MapSpec {
                name: map::LIMITS,
                map_type: MapType::LRU_HASH,
                key_size: map::limit::KEY_SIZE as u32,
                value_size: map::limit::VALUE_SIZE as u32,
                max_entries: map::limit::MAX,
                ..MapSpec::default()
            })?,
            marks: Wanted::new(map::MARKS, Shape::Tasks, map::mark::SIZE as u32).create()?,
            measures: Wanted::new(map::MEASURES, Shape::Tasks, map::measure::SIZE as u32)
                .create()?,
            control_memory: control.map_memory()?,
            control,
        })
    }

    pub(crate) fn all(&self) -> [&Map; 9] {
        let Self { states, observation, scratch, cpu, calls, control, limits, .. } = self;
        let Self { marks, measures, .. } = self;
        [states, observation, scratch, cpu, calls, control, limits, marks, measures]
    }

    /// Sets whether a policy's actions take effect; `number`: that of its mode.
    pub(crate) fn set_mode(&self, number: u32, enforce: bool) {
        let word = (map::control::MODES / 4 + number) as usize;
        let mode = if enforce { map::mode::ENFORCE as u32 } else { map::mode::MONITOR };
        if let Some(word) = self.control_memory.u32s().get(word) {
            word.store(mode, Ordering::Release);
        }
    }
}
