//! Raw tracepoints, and what attaches through BTF: tp_btf, fentry, fexit, fmod_ret, LSM.

use std::ffi::CString;
use std::os::fd::AsFd;

use super::{Link, create, made};
use crate::error::Error;
use crate::program::{AttachType, Program};
use crate::sys::attr::{RawTracepointOpen, TracingExtra};
use crate::sys::{Command, address_of, bpf_fd, fd_number};

impl Link {
    /// Attaches a `raw_tracepoint` program to a tracepoint by its name, without its subsystem:
    /// `sched_process_exec`. A cookie other than 0 needs Linux 6.10.
    pub fn raw_tracepoint(program: &Program, name: &str, cookie: u64) -> Result<Self, Error> {
        let text = CString::new(name)
            .map_err(|source| Error::Nul { what: "the tracepoint's name", source })?;
        let mut attr = RawTracepointOpen {
            name: address_of(text.as_bytes_with_nul()),
            prog_fd: fd_number(program.as_fd()),
            padding: 0,
            cookie,
        };
        // SAFETY: the name lives until the end of this function, and ends with NUL.
        let fd = unsafe { bpf_fd(Command::RawTracepointOpen, &mut attr) };
        let target = format!("raw tracepoint {name}");
        made(fd, program, target)
    }

    /// Attaches a program to the place that it was loaded for. `target` names that place, for errors.
    /// A cookie other than 0 needs Linux 5.19; for tp_btf 6.10, before which the kernel takes and
    /// forgets it.
    pub fn tracing(program: &Program, target: &str, cookie: u64) -> Result<Self, Error> {
        let attach_type = program.attach_type();
        let fd = if cookie == 0 {
            // The way that all kernels know.
            let prog_fd = fd_number(program.as_fd());
            let mut attr = RawTracepointOpen { prog_fd, ..RawTracepointOpen::default() };
            // SAFETY: no addresses.
            unsafe { bpf_fd(Command::RawTracepointOpen, &mut attr) }
        } else {
            let extra = TracingExtra { cookie, ..TracingExtra::default() };
            // SAFETY: no addresses.
            unsafe { create(program, 0, attach_type, 0, extra) }
        };
        let target = format!("{} {target}", kind_name(attach_type));
        made(fd, program, target)
    }
}

/// As people call it.
fn kind_name(attach_type: AttachType) -> String {
    match attach_type {
        AttachType::TRACE_RAW_TP => "tp_btf".to_owned(),
        AttachType::TRACE_FENTRY => "fentry".to_owned(),
        AttachType::TRACE_FEXIT => "fexit".to_owned(),
        AttachType::MODIFY_RETURN => "fmod_ret".to_owned(),
        AttachType::LSM_MAC => "lsm".to_owned(),
        other => other.to_string(),
    }
}
