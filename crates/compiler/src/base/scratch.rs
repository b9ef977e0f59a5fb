//! The per-CPU memory in which records are put together before they go to the ring.
//!
//! Base programs run in task context with preemption off (`__bpf_trace_run` of a non-faultable
//! tracepoint), and none of them can interrupt another, so one area per CPU serves all of them. The
//! areas below do not overlap; a per-CPU map value may have 32 KiB at most (`PCPU_MIN_UNIT_SIZE`).

pub(super) use crate::walk::PATH_MAX;
use crate::walk::{BUFFER_SIZE, STATE_SIZE};

/// Arguments up to this size travel inside the exec record.
pub(super) const INLINE_ARGS: i32 = 3584;
/// Environments up to this size travel inside the exec record.
pub(super) const INLINE_ENV: i32 = 4095;
/// Bytes of data in one part record.
pub(super) const PART_DATA: i32 = 16384;

/// The record under construction.
pub(super) const RECORD: i32 = 0;
/// Its size: any start of a section, which [`SECTION_MASK`] bounds, and the longest section.
pub(super) const RECORD_SIZE: i32 = SECTION_MASK + 1 + 4096;
/// Bounds where in the record a variable-length section starts. The sections before the last one
/// cannot add up to more, so the mask never changes an offset; it tells the verifier so.
pub(super) const SECTION_MASK: i32 = 0x3fff;
/// Where a path is built, from its end towards its start.
pub(super) const PATH: i32 = RECORD + RECORD_SIZE;
/// State of a path walk.
pub(super) const WALK: i32 = PATH + BUFFER_SIZE;
/// State of sending parts; see `parts.rs`.
pub(super) const PARTS: i32 = WALK + STATE_SIZE;
const PARTS_SIZE: i32 = 64;
/// Process state where none could be allocated.
pub(super) const STATE: i32 = PARTS + PARTS_SIZE;
/// Size of the area.
pub(super) const SIZE: i32 = STATE + super::state::at::SIZE as i32;

const _: () = assert!(SIZE <= 32768);
const _: () = assert!(
    super::record::at::exec::SIZE as i32 + 3 * PATH_MAX + 128 + INLINE_ARGS <= SECTION_MASK + 1
);
const _: () = assert!(super::record::at::part::SIZE as i32 + PART_DATA <= RECORD_SIZE);
const _: () = assert!(PATH % 8 == 0 && WALK % 8 == 0);
