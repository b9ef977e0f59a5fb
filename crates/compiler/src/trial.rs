//! Trying a hook on made-up calls: what it would match, and what it would report.
//!
//! The hook's section is compiled as for its own place, but into a program of the type
//! `raw_tracepoint`, which the kernel runs at will (PROG_TEST_RUN, Linux 5.10) and which is never
//! attached. Filters by process see the process that makes the trial. Arguments are words: integers as
//! they are, pointers as addresses in this process or in the kernel, descriptors by their number. No
//! type of what they point to is known to the verifier, so structures of the kernel are read by
//! `bpf_probe_read_kernel`, as behind a kprobe. The result is seen together with the arguments, as by a
//! fexit program.

use crate::base::Base;
use crate::counters::Counters;
use crate::decode::{Announced, Decoder, Registry};
use crate::emit::program::{self, Code, Position, Shape};
use crate::emit::section::{Role, Section};
use crate::emit::table::Table;
use crate::follow::Followers;
use crate::link::SharedMaps;
use crate::observed::Observation;
use crate::plan::{HookPlan, Input, Source};
use crate::{Error, Machine, load};
use ebpf::Module;
use kernel::features::ProgramKind;
use kernel::map::{Map, MapSpec, MapType};
use kernel::program::{Program, TestRun};
use kernel::ringbuf::RingBuffer;
use policy::CheckedPolicy;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// Arguments that a call has, at most.
pub const ARGUMENTS: usize = 11;
/// Bytes of the ring that matches are read from: more than one call's records.
const RING_SIZE: u32 = 1 << 20;
/// Number of the one section.
const NUMBER: u32 = 1;

/// A made-up call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Call {
    /// Its arguments, as words.
    pub arguments: [u64; ARGUMENTS],
    /// What it returned; hooks that do not ask for the result do not look at it.
    pub returned: u64,
}

/// Where hooks are tried.
#[derive(Debug)]
pub struct Trials {
    machine: Arc<Machine>,
    shared: SharedMaps,
    followers: Followers,
    ring: RingBuffer,
}

/// A hook to be tried.
#[derive(Debug)]
pub struct Trial {
    module: Module,
    program: Program,
    counters: Map,
    /// Elements of the counters.
    elements: u32,
    decoder: Decoder,
}

impl Trials {
    /// For hooks that were planned for `machine`, which is the running one. Processes are known by what
    /// `base` has recorded of them; matches do not get into its ring.
    ///
    /// # Errors
    /// The kernel refused a map.
    pub fn new(machine: Arc<Machine>, base: &Base) -> Result<Self, Error> {
        let ring = Map::create(&MapSpec {
            name: crate::emit::map::OBSERVATION,
            map_type: MapType::RINGBUF,
            max_entries: RING_SIZE,
            ..MapSpec::default()
        })?;
        let shared = SharedMaps::with_ring(base, ring.try_clone()?)?;
        let followers = Followers::new(machine.clone(), base)?;
        Ok(Self { machine, shared, followers, ring: RingBuffer::new(ring)? })
    }

    /// Compiles and loads a hook of a policy.
    ///
    /// # Errors
    /// [`Error::Trial`] for hooks that look at what a made-up call does not have; what the verifier
    /// says.
    pub fn load(&mut self, policy: &Arc<CheckedPolicy>, hook: &HookPlan) -> Result<Trial, Error> {
        let hook = Arc::new(untyped(hook)?);
        let section =
            Section::new(NUMBER, (&policy.key(""), policy.clone()), hook.clone(), Role::Whole, 0);
        self.followers.follow([&section])?;
        let shape = Shape::Words { returned: Some(ARGUMENTS as u32) };
        let elements = section.counters();
        let (alone, scopes) = (Position::default(), &self.followers.scopes);
        let Code { module, tables } =
            program::program("tg_trial", &self.machine, shape, alone, &[section], scopes)?;
        let tables = tables.iter().map(Table::create).collect::<Result<Vec<_>, _>>()?;
        let counters = Counters::map(elements)?;
        let mut maps = self.shared.all().to_vec();
        maps.push(&counters);
        maps.extend(&tables);
        maps.extend(self.followers.maps());
        let program = load::program(&module, ProgramKind::RawTracepoint, None, &maps)?;
        let announced = Announced { policy: policy.clone(), hook, awaits: false };
        let registry: Registry =
            Arc::new(RwLock::new(HashMap::from([(NUMBER, Arc::new(announced))])));
        Ok(Trial { module, program, counters, elements, decoder: Decoder::new(registry) })
    }

    /// What the hook observes of a call, made by this thread. `None`: no selector matches.
    ///
    /// # Errors
    /// [`Error::TrialLost`]; what the kernel says.
    pub fn run(&mut self, trial: &mut Trial, call: &Call) -> Result<Option<Observation>, Error> {
        let words = call.arguments.iter().chain([&call.returned]);
        let context: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
        trial.program.test_run(&TestRun { context: &context, ..TestRun::default() })?;
        let (mut seen, mut wrong) = (None, None);
        self.ring.consume(|record| match trial.decoder.decode(record) {
            Ok(observation) => seen = seen.take().or(observation),
            Err(error) => wrong = Some(error),
        });
        if let Some(error) = wrong {
            return Err(error.into());
        }
        if seen.is_some() {
            return Ok(seen);
        }
        let counters = Counters::read(&trial.counters, 0, trial.elements)?;
        if counters.missed() == 0 { Ok(None) } else { Err(Error::TrialLost(counters)) }
    }
}

impl Trial {
    /// The program as text.
    ///
    /// # Errors
    /// None that loading would not have had.
    pub fn disassembly(&self) -> Result<String, Error> {
        Ok(self.module.compile(&ebpf::Options::default())?.disassemble())
    }
}

/// The hook with arguments of which no types are known.
fn untyped(hook: &HookPlan) -> Result<HookPlan, Error> {
    let mut hook = hook.clone();
    let inputs = hook.args.iter_mut().chain(&mut hook.data).chain(&mut hook.returned);
    for input in inputs {
        let Input { place, source, length, return_copy, .. } = input;
        let refuse = |reason| Error::Trial { place: place.path.clone(), reason };
        if *return_copy {
            return Err(refuse("it is read once more when the call returns"));
        }
        let length = length.as_mut().map(|length| &mut length.source);
        for source in [source].into_iter().chain(length) {
            match source {
                Source::Argument { index, .. } if *index as usize >= ARGUMENTS => {
                    return Err(refuse("a made-up call has fewer arguments"));
                }
                Source::Argument { pointee, .. } | Source::Returned { pointee } => *pointee = None,
                Source::CurrentTask => {}
                Source::Operand(_) => return Err(refuse("a made-up call is no static probe")),
                Source::Register { .. } => return Err(refuse("a made-up call has no registers")),
                Source::Field { .. } => return Err(refuse("a made-up call has no record")),
            }
        }
    }
    Ok(hook)
}
