//! Reading the records that programs of policies write.
//!
//! A record names its section, and the section's hook says what each item is. Where a return is
//! awaited, the entry's half waits here for its other half; so do the parts of long buffers for the
//! record that they belong to.

mod measured;
mod parts;

use self::measured::Measured;
use self::parts::Parts;
use crate::act::ima;
use crate::act::stack::{Stack, file};
use crate::base::record::Identity;
use crate::emit::load::fault;
use crate::emit::map::owner;
use crate::emit::parts as part;
use crate::emit::record::{KIND, Position, at, item};
use crate::observed::{Fault, FilePlace, Observation, Observed, Owner, Stacks};
use crate::plan::{HookPlan, Input};
use crate::value;
use policy::CheckedPolicy;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// Entries whose return is awaited, at most; as many as the kernel side notes.
const WAITING_MAX: usize = crate::emit::map::call::MAX as usize;

/// What the numbers of sections stand for.
pub(crate) type Registry = Arc<RwLock<HashMap<u32, Arc<Announced>>>>;

/// A section as decoding needs it.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) policy: Arc<CheckedPolicy>,
    pub(crate) hook: Arc<HookPlan>,
    /// Whether the entry's records wait for a return's.
    pub(crate) awaits: bool,
}

/// A record that does not read as one: a bug, or a foreign writer in the ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends before what it announces.
    #[error("a policy's record of {0} bytes is too short")]
    Short(usize),
    /// It was not written by a policy.
    #[error("record of unknown kind {0} in the ring of observations")]
    Kind(u32),
    /// Its section is not known: its policy was removed long ago.
    #[error("record of section {0}, which is not known any more")]
    Section(u32),
    /// A value does not read as its type.
    #[error("value {position} of {policy} does not read as type {kind}")]
    Value {
        /// Policy.
        policy: String,
        /// Position as in the record.
        position: u16,
        /// Type.
        kind: String,
    },
}

/// Reads records into observations.
#[derive(Debug)]
pub struct Decoder {
    registry: Registry,
    waiting: HashMap<(u32, u64), Observation>,
    parts: Parts,
    measured: Measured,
    forgotten: u64,
}

impl Decoder {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            waiting: HashMap::new(),
            parts: Parts::default(),
            measured: Measured::default(),
            forgotten: 0,
        }
    }

    /// Entries and parts of buffers that were given up: their returns or records never came, because the
    /// policy was removed meanwhile or what was awaited was lost.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Reads one record of the observation ring. `None`: the first half of a call whose return is
    /// awaited, or the word that it is not to be reported.
    ///
    /// # Errors
    /// [`DecodeError`]; later records are not affected.
    pub fn decode(&mut self, record: &[u8]) -> Result<Option<Observation>, DecodeError> {
        let short = || DecodeError::Short(record.len());
        let word = |at: i16| {
            let bytes = record.get(at as usize..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(short)
        };
        let long = |at: i16| {
            let bytes = record.get(at as usize..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u64::from_ne_bytes(*bytes)).ok_or_else(short)
        };
        let kind = word(at::KIND)?;
        if kind == part::KIND {
            let owner = (word(at::TID)?, word(at::SECTION)?, long(at::TIME)?);
            let (position, place) = (word(part::POSITION)? as u16, long(part::PLACE)?);
            let bytes = record.get(at::SIZE as usize..).ok_or_else(short)?;
            self.forgotten += self.parts.hold(owner, position, place, bytes);
            return Ok(None);
        }
        if kind == ima::KIND {
            let algorithm = word(at::SELECTOR)? as i32;
            let bytes = record.get(at::SIZE as usize..).ok_or_else(short)?;
            self.measured.arrived((word(at::TID)?, word(at::RUN)?), algorithm, bytes);
            return Ok(None);
        }
        if kind != KIND {
            return Err(DecodeError::Kind(kind));
        }
        let number = word(at::SECTION)?;
        let section = {
            let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
            registry.get(&number).cloned().ok_or(DecodeError::Section(number))?
        };
        let (selector, tid, call) = (word(at::SELECTOR)?, word(at::TID)?, long(at::CALL)?);
        let time = long(at::TIME)?;
        let process = Identity {
            ktime: long(crate::base::record::at::PROCESS)?,
            pid: word(crate::base::record::at::PROCESS + 8)?,
        };
        // The time of a call's entry and the section tell it apart, with the thread.
        let key = |began: u64| (tid, began ^ u64::from(number) << 40);
        if call == 0 {
            let hook = section.hook.clone();
            let mut observation = Observation {
                policy: section.policy.clone(),
                cpu: word(at::CPU)?,
                time,
                process,
                tid,
                selector: selector.checked_sub(1).map(|index| index as usize),
                args: absent(&hook.args),
                data: absent(&hook.data),
                returned: None,
                stacks: Stacks::default(),
                owner: None,
                measured: None,
                hook,
            };
            items(record, &mut observation)?;
            self.parts.complete(&(tid, number, time), &mut observation);
            let run = word(at::RUN)?;
            if run != 0 {
                self.measured.hold((tid, run), observation);
                return Ok(None);
            }
            if !section.awaits {
                return Ok(Some(observation));
            }
            if self.waiting.len() >= WAITING_MAX {
                self.forgotten += self.waiting.len() as u64;
                self.waiting.clear();
            }
            self.waiting.insert(key(time), observation);
            return Ok(None);
        }
        let Some(mut observation) = self.waiting.remove(&key(call)) else {
            return Ok(None);
        };
        if selector == u32::MAX {
            return Ok(None);
        }
        observation.selector = selector.checked_sub(1).map(|index| index as usize);
        items(record, &mut observation)?;
        keep_stacks_asked_for(&mut observation);
        Ok(Some(observation))
    }
}

fn file_place(frame: &[u8; file::SIZE]) -> Option<FilePlace> {
    let status = u32::from_ne_bytes(*frame[file::STATUS..].first_chunk()?);
    let offset = u64::from_ne_bytes(*frame[file::OFFSET..].first_chunk()?);
    let build_id = *frame[file::BUILD_ID..].first_chunk()?;
    (status == file::VALID).then_some(FilePlace { build_id, offset })
}

/// Observations whose files were being measured.
impl Decoder {
    /// The next one whose digest has come, or was waited for in vain; `None` when there is none now. To be
    /// asked after every record, and when there are none for a while.
    pub fn measured(&mut self) -> Option<Observation> {
        // On machines whose clock is a system call, one for every record would be one for every record that
        // a policy on all system calls makes of it: an endless chain.
        if self.measured.is_empty() { None } else { self.measured.next(Instant::now()) }
    }

    /// Whether some wait.
    pub fn is_measuring(&self) -> bool {
        !self.measured.is_empty()
    }
}

/// A function without frame pointer leaves something else where its caller's frame is looked for. Of an
/// address below all that is mapped from a file, the kernel says where it would be in that file
/// (`stack_map_get_build_id_offset()` does not look at `vm_start`): ahead of its beginning.
fn cut_off_strays(stacks: &mut Stacks) {
    let stray =
        |place: &Option<FilePlace>| place.is_some_and(|place| place.offset > i64::MAX as u64);
    if let Some(first) = stacks.files.iter().position(stray) {
        stacks.files.truncate(first);
        stacks.user.truncate(first);
    }
}

/// At the entry of a call it was not known which selector would match.
fn keep_stacks_asked_for(observation: &mut Observation) {
    let selectors = &observation.hook.selectors;
    let matched = observation.selector.and_then(|index| selectors.get(index));
    let asked = |stack: Stack| matched.is_some_and(|selector| stack.of(selector));
    if !asked(Stack::Kernel) {
        observation.stacks.kernel.clear();
    }
    if !asked(Stack::User) {
        observation.stacks.user.clear();
        observation.stacks.files.clear();
    }
}

/// Values that are not in the record had no room in it; those of types that capture nothing are not
/// reported.
fn absent(inputs: &[Input]) -> Vec<Option<Observed>> {
    let absent = |input: &Input| {
        let room = !input.return_copy && value::of(input.kind).is_some();
        room.then_some(Observed::Fault(Fault::Room))
    };
    inputs.iter().map(absent).collect()
}

/// As [`owner`] has it.
fn read_owner(bytes: &[u8]) -> Option<Owner> {
    let word = |at: i16| value::bytes::u32(bytes, at as usize);
    let process = Identity {
        ktime: value::bytes::u64(bytes, owner::KTIME as usize)?,
        pid: word(owner::PID)?,
    };
    Some(Owner { process, tid: word(owner::TID)? })
}

fn items(record: &[u8], observation: &mut Observation) -> Result<(), DecodeError> {
    let mut rest = record.get(at::SIZE as usize..).unwrap_or_default();
    while !rest.is_empty() {
        let short = || DecodeError::Short(record.len());
        let half = |at: i16| {
            let bytes = rest.get(at as usize..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u16::from_ne_bytes(*bytes)).ok_or_else(short)
        };
        let code = half(item::POSITION)?;
        let status = half(item::STATUS)?;
        let length = rest.get(item::LENGTH as usize..).and_then(|rest| rest.first_chunk());
        let length = u32::from_ne_bytes(*length.ok_or_else(short)?) as usize;
        let start = item::SIZE as usize;
        let bytes = rest.get(start..start.saturating_add(length)).ok_or_else(short)?;
        let position = Position::from_code(code);
        let hook = observation.hook.clone();
        let wrong = || DecodeError::Value {
            policy: observation.policy.name.clone(),
            position: code,
            kind: position.input(&hook).map(|input| input.kind.to_string()).unwrap_or_default(),
        };
        let next = rest.get(start + length.next_multiple_of(8)..).unwrap_or_default();
        if let Position::Stack(stack) = position {
            let addresses = bytes.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
            match stack {
                Stack::Kernel => observation.stacks.kernel = addresses.collect(),
                Stack::User => observation.stacks.user = addresses.collect(),
                Stack::UserFiles => {
                    observation.stacks.files = bytes.as_chunks().0.iter().map(file_place).collect();
                    cut_off_strays(&mut observation.stacks);
                }
            }
            rest = next;
            continue;
        }
        if position == Position::Owner {
            observation.owner = Some(read_owner(bytes).ok_or_else(short)?);
            rest = next;
            continue;
        }
        let input = position.input(&hook).ok_or_else(wrong)?;
        let value = match fault(status) {
            Some(fault) => Observed::Fault(fault),
            None => {
                let kind = value::of(input.kind).ok_or_else(wrong)?;
                kind.decode(bytes, input).ok_or_else(wrong)?
            }
        };
        match position {
            Position::Argument(index) => observation.args[index] = Some(value),
            Position::Data(index) => observation.data[index] = Some(value),
            Position::Returned => observation.returned = Some(value),
            Position::Stack(_) | Position::Owner => {}
        }
        rest = next;
    }
    Ok(())
}
