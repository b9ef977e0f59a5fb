//! PROG_LOAD, and getting the verifier's log.
//!
//! A log costs time, so the first try asks for none. When that fails the program is loaded again with
//! a log that grows until all fits; since Linux 6.4 the kernel says how large that is.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::{LogLevel, ProgramSpec, Target, VerifierError};
use crate::errno::Errno;
use crate::error::Error;
use crate::sys::attr::{ProgramLoad, name_text, object_name};
use crate::sys::{Command, address_of, address_of_mut, bpf_fd, bpf_fd_memlock, fd_number};

const FIRST_LOG: usize = 1 << 16;
/// Before Linux 6.4 a log may have `UINT_MAX >> 8` bytes; nobody reads more.
const LARGEST_LOG: usize = (1 << 24) - 1;
/// The verifier gives EAGAIN when a signal is pending; as often as it is asked again.
const ATTEMPTS: usize = 5;

/// Loads a program and gives its descriptor and the log that was asked for.
pub(super) fn load(spec: &ProgramSpec<'_>) -> Result<(OwnedFd, String), Error> {
    let request = Request::new(spec)?;
    if spec.log_level.is_empty() {
        match request.attempt(&mut [], LogLevel::empty()).result {
            Ok(fd) => return Ok((fd, String::new())),
            // An empty log is all there would be.
            Err(errno @ Errno::ENOSYS) => return Err(load_error(spec, errno)),
            Err(_) => {}
        }
    }
    let level = spec.log_level | LogLevel::INSTRUCTIONS;
    let level = if spec.log_level.is_empty() { level } else { spec.log_level };
    let (attempt, log) = request.with_log(level)?;
    match attempt.result {
        Ok(fd) => Ok((fd, log)),
        Err(errno) if log.trim().is_empty() => Err(load_error(spec, errno)),
        Err(errno) => {
            let error = VerifierError::new(spec.name, errno, log, attempt.truncated);
            Err(Error::Rejected(Box::new(error)))
        }
    }
}

fn load_error(spec: &ProgramSpec<'_>, errno: Errno) -> Error {
    let program_type = match spec.attach_type.0 {
        0 => spec.program_type.to_string(),
        _ => format!("{}, {}", spec.program_type, spec.attach_type),
    };
    Error::Load { program: spec.name.to_owned(), program_type, errno }
}

/// How a try went.
struct Attempt {
    result: Result<OwnedFd, Errno>,
    /// Bytes the whole log takes, where the kernel tells.
    log_size: usize,
    /// The log did not fit.
    truncated: bool,
}

/// A load that can be tried several times.
struct Request<'a> {
    attr: ProgramLoad,
    /// What the attributes point to, besides what is borrowed from the spec.
    _license: CString,
    _fd_array: Vec<i32>,
    _spec: &'a ProgramSpec<'a>,
}

impl<'a> Request<'a> {
    /// Checks what the kernel could read beyond, and sets all but the log.
    fn new(spec: &'a ProgramSpec<'a>) -> Result<Self, Error> {
        let malformed = |what| Error::Malformed { program: spec.name.to_owned(), what };
        let (instructions, rest) = spec.instructions.as_chunks::<8>();
        if !rest.is_empty() || instructions.is_empty() {
            return Err(malformed("instructions are 8 bytes each, and at least one"));
        }
        let count = u32::try_from(instructions.len())
            .map_err(|_| malformed("more instructions than can be counted in 32 bits"))?;
        let license = CString::new(spec.license)
            .map_err(|source| Error::Nul { what: "the program's license", source })?;
        let fd_array: Vec<i32> =
            spec.fd_array.iter().map(|fd| fd.map_or(0, |fd| fd.as_raw_fd())).collect();
        let mut attr = ProgramLoad {
            prog_type: spec.program_type.0,
            insn_cnt: count,
            insns: address_of(spec.instructions),
            license: address_of(license.as_bytes_with_nul()),
            prog_flags: spec.flags.bits(),
            prog_name: object_name(spec.name),
            expected_attach_type: spec.attach_type.0,
            fd_array: address_of(&fd_array),
            ..ProgramLoad::default()
        };
        if let Some(btf) = &spec.btf {
            let records = |bytes: &[u8], record: u32| -> Result<u32, Error> {
                if record == 0 || !bytes.len().is_multiple_of(record as usize) {
                    return Err(malformed("func_info or line_info is no whole number of records"));
                }
                // A count beyond 32 bits is refused by the kernel in this form (INT_MAX / size).
                Ok(u32::try_from(bytes.len() / record as usize).unwrap_or(u32::MAX))
            };
            attr.prog_btf_fd = fd_number(btf.object.as_fd());
            if !btf.func_info.is_empty() {
                attr.func_info_cnt = records(btf.func_info, btf.func_info_record)?;
                attr.func_info_rec_size = btf.func_info_record;
                attr.func_info = address_of(btf.func_info);
            }
            if !btf.line_info.is_empty() {
                attr.line_info_cnt = records(btf.line_info, btf.line_info_record)?;
                attr.line_info_rec_size = btf.line_info_record;
                attr.line_info = address_of(btf.line_info);
            }
        }
        (attr.attach_fd, attr.attach_btf_id) = match spec.target {
            Target::None => (0, 0),
            Target::Kernel(id) => (0, id.0),
            Target::Module(btf, id) => (fd_number(btf.as_fd()), id.0),
            Target::Program(program, id) => (fd_number(program.as_fd()), id.0),
        };
        Ok(Self { attr, _license: license, _fd_array: fd_array, _spec: spec })
    }

    fn attempt(&self, log: &mut [u8], level: LogLevel) -> Attempt {
        let mut attr = self.attr;
        attr.log_buf = address_of_mut(log);
        attr.log_size = log.len() as u32;
        attr.log_level = level.bits();
        // SAFETY: instructions, license, records and log are borrowed or owned by `self`, with the
        // sizes that stand beside them (checked in `new`). The descriptors' array has no length for
        // the kernel: an index beyond it in an instruction makes it copy some other bytes of this
        // process and take them for a descriptor, which it then checks; nothing is written.
        let mut result = unsafe { bpf_fd_memlock(Command::ProgramLoad, &mut attr) };
        for _ in 1..ATTEMPTS {
            if !matches!(result, Err(Errno::EAGAIN)) {
                break;
            }
            // SAFETY: as above.
            result = unsafe { bpf_fd(Command::ProgramLoad, &mut attr) };
        }
        let truncated = matches!(result, Err(Errno::ENOSPC)) && !log.is_empty();
        Attempt { result, log_size: attr.log_true_size as usize, truncated }
    }

    /// Tries with ever larger logs.
    fn with_log(&self, level: LogLevel) -> Result<(Attempt, String), Error> {
        let mut size = FIRST_LOG;
        loop {
            let mut log = vec![0; size];
            let attempt = self.attempt(&mut log, level);
            if !attempt.truncated || size == LARGEST_LOG {
                return Ok((attempt, name_text(&log)));
            }
            size = attempt.log_size.max(size * 4).min(LARGEST_LOG);
        }
    }
}
