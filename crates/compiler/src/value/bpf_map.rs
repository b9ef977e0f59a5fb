//! BPF maps: `struct bpf_map`.
//!
//! In the record: type, sizes of key and value, most entries, eight bytes each, then the name.

use super::structure::name;
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::Emitter;
use crate::observed::{BpfMap, Observed};
use crate::plan::Input;
use ebpf::Value;

const MEMBERS: [&str; 4] = ["map_type", "key_size", "value_size", "max_entries"];
const NAME: usize = 8 * MEMBERS.len();
/// `BPF_OBJ_NAME_LEN`
const NAME_SIZE: usize = 16;

/// A map.
pub(crate) struct Map;

impl Kind for Map {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let map = e.structure(capture.loaded, "bpf_map", capture.fault)?;
        e.readable(map, capture.fault);
        e.store_members(map, "bpf_map", &MEMBERS, capture.to, 0)?;
        let name = e.read.address(&mut e.b, map, "bpf_map", "name")?;
        e.copy_kernel(capture.to, NAME as i16, NAME_SIZE as i32, name);
        Ok(e.b.iconst((NAME + NAME_SIZE) as i64))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let member = |index: usize| bytes::u64(bytes, 8 * index).map(|word| word as u32);
        Some(Observed::BpfMap(BpfMap {
            kind: member(0)?,
            key_size: member(1)?,
            value_size: member(2)?,
            entries: member(3)?,
            name: name(bytes.get(NAME..NAME + NAME_SIZE)?),
        }))
    }
}
