//! Waiting until every program that runs now has ended.
//!
//! The system call that writes an element of a map of maps returns only then
//! (`maybe_wait_bpf_programs()`, Linux 4.18): it calls `synchronize_rcu()`, and programs that do not
//! sleep run as readers.

use crate::Error;
use kernel::map::{Map, MapSpec, MapType, Update};

/// Waits for programs.
#[derive(Debug)]
pub(crate) struct Grace {
    outer: Map,
    inner: Map,
}

impl Grace {
    pub(crate) fn new() -> Result<Self, Error> {
        let spec = MapSpec {
            name: "tg_grace_inner",
            map_type: MapType::ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            ..MapSpec::default()
        };
        let inner = Map::create(&spec)?;
        let outer = Map::create(&MapSpec {
            name: "tg_grace",
            map_type: MapType::ARRAY_OF_MAPS,
            inner: Some(&inner),
            ..spec
        })?;
        Ok(Self { outer, inner })
    }

    /// Returns when all programs that were running have ended.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        Ok(self.outer.update_map(&0_u32.to_ne_bytes(), &self.inner, Update::Any)?)
    }
}
