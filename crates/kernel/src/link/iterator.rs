//! Iterators: programs that the kernel runs for each task, map element, ... while a file is read
//! (Linux 5.8).

use std::fs::File;
use std::os::fd::AsFd;

use super::{Link, create, made};
use crate::error::Error;
use crate::map::Map;
use crate::program::{AttachType, Program};
use crate::sys::attr::{IterCreate, IterExtra, IterOverMap, IterOverTask};
use crate::sys::{Command, Plain, bpf_fd, fd_number};

/// What an iterator goes over.
#[derive(Clone, Copy, Debug, Default)]
pub enum Over<'a> {
    /// All there is of what the program was loaded for.
    #[default]
    All,
    /// The elements of a map, for programs on `bpf_map_elem`.
    Map(&'a Map),
    /// One thread, by its id, for programs on `task`, `task_file`, `task_vma` (Linux 6.1).
    Thread(u32),
    /// The threads of one process, by its id (Linux 6.1).
    Process(u32),
}

impl Link {
    /// Makes an iterator of a program. `name` says over what, for errors: "task".
    pub fn iterator(program: &Program, name: &str, over: Over<'_>) -> Result<Self, Error> {
        let map = |map: &Map| IterOverMap { map_fd: fd_number(map.as_fd()) };
        let created = match over {
            // SAFETY: no addresses.
            Over::All => unsafe { create(program, 0, AttachType::TRACE_ITER, 0, ()) },
            Over::Map(over) => create_over(program, map(over)),
            Over::Thread(tid) => create_over(program, IterOverTask { tid, pid: 0, pid_fd: 0 }),
            Over::Process(pid) => create_over(program, IterOverTask { tid: 0, pid, pid_fd: 0 }),
        };
        let target = format!("iterator {name}");
        made(created, program, target)
    }

    /// A new run of an iterator: the program runs as the file is read, and what it writes with
    /// `bpf_seq_write` is what is read, to the end.
    pub fn iterate(&self) -> Result<File, Error> {
        let link_fd = fd_number(self.link_fd("reading")?);
        let mut attr = IterCreate { link_fd, flags: 0 };
        // SAFETY: no addresses.
        let fd = unsafe { bpf_fd(Command::IterCreate, &mut attr) };
        fd.map(File::from).map_err(|errno| Error::call(format!("read {}", self.target), errno))
    }
}

fn create_over<I: Plain>(
    program: &Program,
    over: I,
) -> Result<std::os::fd::OwnedFd, crate::errno::Errno> {
    let extra = IterExtra {
        iter_info: std::ptr::from_ref(&over).expose_provenance() as u64,
        iter_info_len: size_of::<I>() as u32,
        padding: 0,
    };
    // SAFETY: the address is of a local, with its size.
    unsafe { create(program, 0, AttachType::TRACE_ITER, 0, extra) }
}
