//! Loading the programs of probes.

use super::instruction::{
    Instruction, R0, R1, R2, R3, R10, add, call_helper, call_subprogram, copy, exit, load_map,
    return_zero, set, skip_if_equal, store,
};
use super::kind::ProgramKind;
use super::probe::Probe;
use super::{Running, maps, types};
use crate::btf::{BtfError, TypeId};
use crate::btf_object::BtfObject;
use crate::error::Error;
use crate::map::{Map, MapSpec, MapType};
use crate::program::{Program, ProgramBtf, ProgramSpec, Target};

/// Name of all programs of probes.
pub(super) const NAME: &str = "probe";

/// `BPF_FUNC_map_lookup_elem`
const MAP_LOOKUP: i32 = 1;
/// `BPF_FUNC_tail_call`
const TAIL_CALL: i32 = 12;

/// Why a probe's program was not loaded.
pub(super) enum Refused {
    /// This kernel has none of the places that the probe knows.
    NoPlace(BtfError),
    /// The kernel said no.
    Kernel(Error),
}

impl Refused {
    /// What it has shown about what was tried.
    pub(super) fn probe(&self) -> Probe {
        match self {
            Self::NoPlace(error) => Probe::unknown(format!(
                "nowhere to try: {error}, and the probe knows no other place"
            )),
            Self::Kernel(error) => Probe::failed(error),
        }
    }
}

/// A loaded program, and what it was loaded for.
pub(super) struct Loaded {
    pub(super) program: Program,
    pub(super) place: Option<TypeId>,
}

/// Loads a program of a kind, for the first of the kind's places where it can be.
pub(super) fn load(
    kernel: &Running<'_>,
    kind: ProgramKind,
    instructions: &[Instruction],
) -> Result<Loaded, Refused> {
    let load = |target| {
        Program::load(&ProgramSpec {
            name: NAME,
            program_type: kind.program_type(),
            attach_type: kind.attach_type(),
            target,
            instructions: instructions.as_flattened(),
            flags: kind.flags(),
            ..ProgramSpec::default()
        })
    };
    let Some(places) = kind.targets(kernel.btf) else {
        let program = load(Target::None).map_err(Refused::Kernel)?;
        return Ok(Loaded { program, place: None });
    };
    let mut refused = None;
    for place in places.map_err(Refused::NoPlace)? {
        match load(Target::Kernel(place)) {
            Ok(program) => return Ok(Loaded { program, place: Some(place) }),
            // The last place's word counts: it is the one that most kernels allow.
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) => Err(Refused::Kernel(error)),
        None => Err(Refused::NoPlace(BtfError::NotFound {
            kind: crate::btf::Kind::Func,
            name: kind.to_string(),
        })),
    }
}

fn tried<T>(result: Result<T, Refused>) -> Probe {
    match result {
        Ok(_) => Probe::Yes,
        Err(refused) => refused.probe(),
    }
}

/// Whether the smallest program of a kind loads.
pub(super) fn loads(kernel: &Running<'_>, kind: ProgramKind) -> Probe {
    tried(load(kernel, kind, &return_zero()))
}

/// Whether a program may have more than the 4096 instructions that were the limit before Linux 5.2.
pub(super) fn large(kernel: &Running<'_>) -> Probe {
    let mut instructions = vec![set(R0, 0); 5000];
    instructions.push(exit());
    kernel
        .features
        .kind(ProgramKind::RawTracepoint)
        .and(|| tried(load(kernel, ProgramKind::RawTracepoint, &instructions)))
}

/// Whether a program may have functions.
pub(super) fn subprograms(kernel: &Running<'_>) -> Probe {
    let instructions = [call_subprogram(1), exit(), set(R0, 0), exit()];
    kernel
        .features
        .kind(ProgramKind::RawTracepoint)
        .and(|| tried(load(kernel, ProgramKind::RawTracepoint, &instructions)))
}

/// Whether functions of a program may make tail calls.
pub(super) fn tail_calls_in_subprograms(kernel: &Running<'_>) -> Probe {
    let kind = ProgramKind::RawTracepoint;
    let load = || {
        let map = Map::create(&MapSpec {
            name: NAME,
            map_type: MapType::PROG_ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            ..MapSpec::default()
        })?;
        let [load, load_rest] = load_map(R2, &map);
        let [zero, end] = return_zero();
        // The context is in R1, and goes on to the second function, which starts at the third
        // instruction.
        let call = call_helper(TAIL_CALL);
        let instructions =
            [call_subprogram(1), exit(), load, load_rest, set(R3, 0), call, zero, end];
        // Functions that make tail calls have to be described (check_btf_func()).
        let object = BtfObject::load(&types::blob())?;
        let [first, second] = types::FUNCTIONS;
        let func_info = [[0, first.0], [2, second.0]].map(|record| record.map(u32::to_ne_bytes));
        Program::load(&ProgramSpec {
            name: NAME,
            program_type: kind.program_type(),
            attach_type: kind.attach_type(),
            instructions: instructions.as_flattened(),
            btf: Some(ProgramBtf {
                object: &object,
                func_info: func_info.as_flattened().as_flattened(),
                func_info_record: 8,
                line_info: &[],
                line_info_record: 0,
            }),
            ..ProgramSpec::default()
        })
    };
    kernel.features.kind(kind).and(|| Probe::tried(load()))
}

/// Whether a uprobe's program may change the registers that the probed program goes on with.
pub(super) fn uprobe_register_change(kernel: &Running<'_>) -> Probe {
    // The first register of `struct pt_regs`, whichever it is.
    let instructions = [store(R1, 0, 0), set(R0, 0), exit()];
    kernel
        .features
        .kind(ProgramKind::Uprobe)
        .and(|| tried(load(kernel, ProgramKind::Uprobe, &instructions)))
}

/// A program that counts its runs in the first word of an array, and returns 0.
pub(super) fn counting(map: &Map) -> Vec<Instruction> {
    let [load, load_rest] = load_map(R1, map);
    vec![
        store(R10, -8, 0),
        copy(R2, R10),
        add(R2, -8),
        load,
        load_rest,
        call_helper(MAP_LOOKUP),
        skip_if_equal(R0, 0, 1),
        store(R0, 0, 1),
        set(R0, 0),
        exit(),
    ]
}

/// An array of one u64, for [`counting`].
pub(super) fn counter() -> Result<Map, Error> {
    maps::array()
}
