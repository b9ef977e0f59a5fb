//! Programs: verified by the kernel, then owned by a descriptor.
//!
//! A [`Program`] exists only when the verifier has said yes. It does nothing until it is attached (see
//! [`crate::link`]), and lives as long as a descriptor, link, pin or array of programs refers to it.

mod info;
mod kind;
mod load;
mod run;
#[cfg(test)]
mod tests;
mod verifier;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::btf::TypeId;
use crate::btf_object::BtfObject;
use crate::errno::Errno;
use crate::error::Error;
use crate::object::{self, ObjectKind};

pub use info::{ProgramInfo, Statistics, enable_statistics, program_ids};
pub use kind::{AttachType, LogLevel, ProgramFlags, ProgramType};
pub use run::{TestRun, TestRunResult};
pub use verifier::VerifierError;

/// A program to be loaded.
#[derive(Clone, Debug)]
pub struct ProgramSpec<'a> {
    /// Name, for errors and for whoever lists the kernel's programs. The kernel keeps 15 bytes of it.
    pub name: &'a str,
    /// Type.
    pub program_type: ProgramType,
    /// How it will be attached, for types that can be in several ways.
    pub attach_type: AttachType,
    /// What it will be attached to, for types that fix that when loaded.
    pub target: Target<'a>,
    /// Its license; "GPL" opens the helpers that need it.
    pub license: &'a str,
    /// Instructions, 8 bytes each.
    pub instructions: &'a [u8],
    /// Types of its functions, and its source lines.
    pub btf: Option<ProgramBtf<'a>>,
    /// Flags.
    pub flags: ProgramFlags,
    /// Descriptors that instructions refer to by index: BTF of the modules whose kfuncs are called,
    /// and maps (Linux 5.14). Kfuncs of the kernel itself have index 0, which then is `None`.
    pub fd_array: &'a [Option<BorrowedFd<'a>>],
    /// What of the verifier's log to keep when it says yes. When it says no, the log is asked for
    /// whatever this says. A log makes loading slower.
    pub log_level: LogLevel,
}

impl Default for ProgramSpec<'_> {
    fn default() -> Self {
        Self {
            name: "",
            program_type: ProgramType::default(),
            attach_type: AttachType::default(),
            target: Target::None,
            license: "GPL",
            instructions: &[],
            btf: None,
            flags: ProgramFlags::empty(),
            fd_array: &[],
            log_level: LogLevel::empty(),
        }
    }
}

/// What a program is loaded for.
#[derive(Clone, Copy, Debug, Default)]
pub enum Target<'a> {
    /// Nothing: the place is chosen when it is attached.
    #[default]
    None,
    /// A function, LSM hook, tracepoint or iterator of the kernel: the type of the function, or of the
    /// `btf_trace_*` typedef, in the kernel's BTF.
    Kernel(TypeId),
    /// The same in a module: its BTF and the type in it.
    Module(&'a BtfObject, TypeId),
    /// A function of another program.
    Program(&'a Program, TypeId),
}

/// Types and source lines of a program.
#[derive(Clone, Copy, Debug)]
pub struct ProgramBtf<'a> {
    /// BTF that the records below refer to.
    pub object: &'a BtfObject,
    /// `struct bpf_func_info` records, by rising instruction.
    pub func_info: &'a [u8],
    /// Bytes in one of them: 8 or more.
    pub func_info_record: u32,
    /// `struct bpf_line_info` records, by rising instruction. May be empty.
    pub line_info: &'a [u8],
    /// Bytes in one of them: 16 or more.
    pub line_info_record: u32,
}

/// A program that the kernel has verified and holds.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    name: String,
    program_type: ProgramType,
    attach_type: AttachType,
    log: String,
}

impl Program {
    /// Loads a program. When the verifier rejects it the error holds its whole log.
    pub fn load(spec: &ProgramSpec<'_>) -> Result<Self, Error> {
        let (fd, log) = load::load(spec)?;
        let (program_type, attach_type) = (spec.program_type, spec.attach_type);
        Ok(Self { fd, name: spec.name.to_owned(), program_type, attach_type, log })
    }

    /// Takes a descriptor of a program. How it can be attached the kernel does not tell, so that has
    /// to be passed.
    pub fn from_fd(fd: OwnedFd, attach_type: AttachType) -> Result<Self, Error> {
        object::expect(ObjectKind::Program, fd.as_fd())?;
        let info = info::query(fd.as_fd(), &mut [])?;
        let program_type = ProgramType(info.prog_type);
        let name = crate::sys::attr::name_text(&info.name);
        Ok(Self { fd, name, program_type, attach_type, log: String::new() })
    }

    /// Opens a program by its number (needs CAP_SYS_ADMIN).
    pub fn from_id(id: u32, attach_type: AttachType) -> Result<Self, Error> {
        Self::from_fd(object::open(ObjectKind::Program, id)?, attach_type)
    }

    /// Name it was loaded with; at most 15 bytes of it when it was opened by number or path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type.
    pub fn program_type(&self) -> ProgramType {
        self.program_type
    }

    /// How it can be attached.
    pub fn attach_type(&self) -> AttachType {
        self.attach_type
    }

    /// What the verifier wrote, as far as [`ProgramSpec::log_level`] asked.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Bytes of kernel memory that its instructions take before translation to machine code
    /// (`memlock` in /proc/self/fdinfo).
    pub fn memory_bytes(&self) -> Result<u64, Error> {
        object::fdinfo_number(self.as_fd(), "memlock")
    }

    fn call_error(&self, action: &str, errno: Errno) -> Error {
        Error::call(format!("{action} program `{}`", self.name), errno)
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
