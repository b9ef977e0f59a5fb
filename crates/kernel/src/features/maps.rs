//! Probes of maps.

use std::os::fd::AsFd;

use super::Running;
use super::kind::ProgramKind;
use super::probe::Probe;
use super::program::NAME;
use super::types;
use crate::btf_object::{BtfObject, MapBtf};
use crate::error::Error;
use crate::map::{Map, MapFlags, MapSpec, MapType};
use crate::sys::attr::MapBatch;
use crate::sys::{Command, address_of, bpf, fd_number, mapping};

/// `BPF_FUNC_task_storage_get`
const TASK_STORAGE_GET: u32 = 156;
/// `BPF_FUNC_cgrp_storage_get`
const CGROUP_STORAGE_GET: u32 = 210;

/// An array of one u64.
pub(super) fn array() -> Result<Map, Error> {
    Map::create(&MapSpec {
        name: NAME,
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..MapSpec::default()
    })
}

/// Whether there are ring buffers.
pub(super) fn ring_buffer(_: &Running<'_>) -> Probe {
    Probe::tried(Map::create(&MapSpec {
        name: NAME,
        map_type: MapType::RINGBUF,
        max_entries: u32::try_from(mapping::page_size()).unwrap_or(1 << 16),
        ..MapSpec::default()
    }))
}

/// Whether tp_btf programs can keep state with tasks.
pub(super) fn task_storage(kernel: &Running<'_>) -> Probe {
    storage(MapType::TASK_STORAGE)
        .and(|| kernel.features.helper(TASK_STORAGE_GET, ProgramKind::TpBtf))
}

/// Whether tp_btf programs can keep state with cgroups.
pub(super) fn cgroup_storage(kernel: &Running<'_>) -> Probe {
    storage(MapType::CGRP_STORAGE)
        .and(|| kernel.features.helper(CGROUP_STORAGE_GET, ProgramKind::TpBtf))
}

fn storage(map_type: MapType) -> Probe {
    let create = || {
        let object = BtfObject::load(&types::blob())?;
        let btf = MapBtf { object: &object, key: types::INT, value: types::U64 };
        Map::create(&MapSpec {
            name: NAME,
            map_type,
            key_size: 4,
            value_size: 8,
            flags: MapFlags::NO_PREALLOC,
            btf: Some(btf),
            ..MapSpec::default()
        })
    };
    Probe::tried(create())
}

/// Whether a hash takes many elements in one call.
pub(super) fn batch_operations(_: &Running<'_>) -> Probe {
    let map = Map::create(&MapSpec {
        name: NAME,
        map_type: MapType::HASH,
        key_size: 4,
        value_size: 4,
        max_entries: 2,
        ..MapSpec::default()
    });
    let map = match map {
        Ok(map) => map,
        Err(error) => return Probe::failed(&error),
    };
    let (keys, values) = ([1_u32, 2], [3_u32, 4]);
    let mut attr = MapBatch {
        keys: address_of(&keys),
        values: address_of(&values),
        count: 2,
        map_fd: fd_number(map.as_fd()),
        ..MapBatch::default()
    };
    // SAFETY: both arrays hold `count` keys and values of the sizes that the map was created with.
    let result = unsafe { bpf(Command::MapUpdateBatch, &mut attr) };
    Probe::tried(result.map_err(|errno| Error::call("set many elements of a hash at once", errno)))
}
