//! What the kernel says of a program, and what it has counted.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::{Program, ProgramType};
use crate::error::Error;
use crate::object::{self, ObjectKind};
use crate::sys::attr::{EnableStats, name_text};
use crate::sys::{Command, address_of_mut, bpf_fd, info};

/// Most maps a program can use (`MAX_USED_MAPS`).
const MOST_MAPS: usize = 64;

/// What the kernel says of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Name as the kernel keeps it: at most 15 bytes.
    pub name: String,
    /// Number, unique since boot.
    pub id: u32,
    /// Type.
    pub program_type: ProgramType,
    /// Hash of its instructions: the same for the same program.
    pub tag: [u8; 8],
    /// When it was loaded, since boot.
    pub loaded: Duration,
    /// Numbers of the maps it uses.
    pub map_ids: Vec<u32>,
    /// Number of its BTF, 0 without.
    pub btf_id: u32,
    /// Instructions the verifier looked at, counting each time it passed one (Linux 5.16; else 0).
    pub verified_instructions: u32,
    /// Bytes of eBPF after the verifier's rewriting; 0 if this process may not see it.
    pub translated_bytes: u32,
    /// Bytes of machine code; 0 without JIT.
    pub machine_code_bytes: u32,
    /// What it did.
    pub statistics: Statistics,
}

/// What a program did, counted since it was loaded, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Time spent in it; counted only while [`enable_statistics`] is in force.
    pub run_time: Duration,
    /// Runs; counted only while [`enable_statistics`] is in force.
    pub runs: u64,
    /// Times it was not run because it was running on that CPU already (Linux 5.12).
    pub recursion_misses: u64,
}

impl Program {
    /// What the kernel says of it now.
    pub fn info(&self) -> Result<ProgramInfo, Error> {
        let mut map_ids = vec![0; MOST_MAPS];
        let raw = query(self.as_fd(), &mut map_ids)?;
        map_ids.truncate(raw.nr_map_ids as usize);
        Ok(ProgramInfo {
            name: name_text(&raw.name),
            id: raw.id,
            program_type: ProgramType(raw.prog_type),
            tag: raw.tag,
            loaded: Duration::from_nanos(raw.load_time),
            map_ids,
            btf_id: raw.btf_id,
            verified_instructions: raw.verified_insns,
            translated_bytes: raw.xlated_prog_len,
            machine_code_bytes: raw.jited_prog_len,
            statistics: statistics(&raw),
        })
    }

    /// What it did.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        query(self.as_fd(), &mut []).map(|raw| statistics(&raw))
    }
}

fn statistics(raw: &info::ProgramInfo) -> Statistics {
    Statistics {
        run_time: Duration::from_nanos(raw.run_time_ns),
        runs: raw.run_cnt,
        recursion_misses: raw.recursion_misses,
    }
}

pub(super) fn query(fd: BorrowedFd<'_>, map_ids: &mut [u32]) -> Result<info::ProgramInfo, Error> {
    let mut raw = info::ProgramInfo {
        nr_map_ids: map_ids.len() as u32,
        map_ids: address_of_mut(map_ids),
        ..info::ProgramInfo::default()
    };
    // SAFETY: the address is of `nr_map_ids` numbers; there are no others.
    unsafe { info::object_info(fd, &mut raw) }
        .map_err(|errno| Error::call("ask about a program", errno))?;
    Ok(raw)
}

/// Numbers of all programs in the kernel (needs CAP_SYS_ADMIN).
pub fn program_ids() -> Result<Vec<u32>, Error> {
    object::ids(ObjectKind::Program)
}

/// Has the kernel count runs and time of all programs until what is returned is dropped (Linux 5.8).
/// It costs some tens of nanoseconds a run.
pub fn enable_statistics() -> Result<OwnedFd, Error> {
    let mut attr = EnableStats::default();
    // SAFETY: no addresses.
    unsafe { bpf_fd(Command::EnableStats, &mut attr) }
        .map_err(|errno| Error::call("enable statistics of programs", errno))
}
