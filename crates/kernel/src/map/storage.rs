//! Storage that hangs on tasks (Linux 5.11) and cgroups (6.2) and goes with them.
//!
//! In the kernel the key is the object; user space names it by a descriptor: a pidfd or a directory of
//! cgroup v2. Such maps cannot be listed from user space.

use std::os::fd::BorrowedFd;

use super::{Map, MapType, Update};
use crate::errno::Errno;
use crate::error::Error;
use crate::sys::fd_number;

impl Map {
    /// The storage of a task. `None`: it has none, or has ended. A pidfd names the thread that leads
    /// its process, unless it was opened for a thread (Linux 6.9).
    pub fn lookup_task(&self, pidfd: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Error> {
        self.need_task_storage()?;
        // bpf_pid_task_storage_lookup_elem() gives ENOENT for a task that is gone too.
        self.lookup(&fd_number(pidfd).to_ne_bytes())
    }

    /// Sets the storage of a task, creating it if need be. ESRCH: the task has ended.
    pub fn update_task(
        &self,
        pidfd: BorrowedFd<'_>,
        value: &[u8],
        update: Update,
    ) -> Result<(), Error> {
        self.need_task_storage()?;
        self.update(&fd_number(pidfd).to_ne_bytes(), value, update)
            .map_err(|error| self.task_gone(error))
    }

    /// Removes the storage of a task. False: it had none, or has ended.
    pub fn delete_task(&self, pidfd: BorrowedFd<'_>) -> Result<bool, Error> {
        self.need_task_storage()?;
        self.delete(&fd_number(pidfd).to_ne_bytes())
    }

    /// The storage of a cgroup. `None`: it has none.
    pub fn lookup_cgroup(&self, cgroup: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Error> {
        self.need_cgroup_storage()?;
        self.lookup(&fd_number(cgroup).to_ne_bytes())
    }

    /// Sets the storage of a cgroup, creating it if need be.
    pub fn update_in_cgroup(
        &self,
        cgroup: BorrowedFd<'_>,
        value: &[u8],
        update: Update,
    ) -> Result<(), Error> {
        self.need_cgroup_storage()?;
        self.update(&fd_number(cgroup).to_ne_bytes(), value, update)
    }

    fn need_task_storage(&self) -> Result<(), Error> {
        self.need(self.map_type == MapType::TASK_STORAGE, "task storage")
    }

    fn need_cgroup_storage(&self) -> Result<(), Error> {
        self.need(self.map_type == MapType::CGRP_STORAGE, "cgroup storage")
    }

    /// ENOENT from an update that may create means that there is no task to create it for.
    fn task_gone(&self, error: Error) -> Error {
        match error {
            Error::Map { action, errno: Errno::ENOENT, .. } => self.error(action, Errno::ESRCH),
            other => other,
        }
    }
}
