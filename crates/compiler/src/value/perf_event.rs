//! Events of perf_event_open(2): `struct perf_event`.
//!
//! In the record: type, configuration and the probe's offset, eight bytes each, then the text that the
//! probe is of. Only events of the dynamic types, those from `PERF_TYPE_MAX` on, are probes: what is in
//! place of the text's address is something else in others.

use super::memory::Memory;
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::Emitter;
use crate::flow::choose;
use crate::observed::{Observed, PerfEvent};
use crate::plan::Input;
use ebpf::{Cond, Value};

const MEMBERS: [&str; 3] = ["attr.type", "attr.config", "attr.probe_offset"];
const FUNCTION: i32 = 8 * MEMBERS.len() as i32;
/// `KSYM_NAME_LEN` since Linux 6.1, without NUL
const FUNCTION_MAX: i32 = 511;
/// `PERF_TYPE_MAX`
const DYNAMIC: i32 = 6;

/// An event of perf.
pub(crate) struct Event;

impl Kind for Event {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let event = e.structure(capture.loaded, "perf_event", capture.fault)?;
        e.readable(event, capture.fault);
        e.store_members(event, "perf_event", &MEMBERS, capture.to, 0)?;
        let done = e.b.create_block();
        let length = e.b.append_param(done);
        let none = e.b.iconst(FUNCTION.into());
        let kind = e.read.get(&mut e.b, event, "perf_event", "attr.type")?;
        let probe = e.b.create_block();
        e.b.branch(Cond::Ult, kind, DYNAMIC, done, &[none], probe, &[]);
        e.b.switch_to(probe);
        let text = e.read.get(&mut e.b, event, "perf_event", "attr.kprobe_func")?;
        let to = e.b.add(capture.to, FUNCTION);
        let room = e.b.iconst(i64::from(FUNCTION_MAX) + 1);
        let copied = e.read_text(Memory::Either, to, room, text);
        // A probe of an address has no text.
        let whole = e.b.create_block();
        e.b.branch(Cond::Sle, copied, 0, done, &[none], whole, &[]);
        e.b.switch_to(whole);
        let most = |b: &mut ebpf::FunctionBuilder| b.iconst(i64::from(FUNCTION_MAX) + 1);
        let copied = choose(&mut e.b, Cond::Ugt, copied, FUNCTION_MAX + 1, most, |_| copied);
        let total = e.b.add(copied, FUNCTION - 1);
        e.b.jump(done, &[total]);
        e.b.switch_to(done);
        Ok(length)
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        Some(Observed::PerfEvent(PerfEvent {
            kind: bytes::u64(bytes, 0)? as u32,
            config: bytes::u64(bytes, 8)?,
            offset: bytes::u64(bytes, 16)?,
            function: bytes.get(FUNCTION as usize..)?.to_vec(),
        }))
    }
}
