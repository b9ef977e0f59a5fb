//! Values that are other objects: maps of maps, arrays of programs and of cgroups.
//!
//! User space writes a descriptor, the kernel keeps the object, and reading gives its number.

use std::os::fd::{AsFd, BorrowedFd};

use super::{Map, MapType, Update};
use crate::error::Error;
use crate::program::Program;
use crate::sys::fd_number;

impl Map {
    /// Puts a map into a map of maps. It must be like the one the outer map was created with.
    pub fn update_map(&self, key: &[u8], inner: &Map, update: Update) -> Result<(), Error> {
        self.need(self.map_type.is_map_of_maps(), "a map of maps")?;
        self.update_fd(key, inner.as_fd(), update)
    }

    /// Opens a map that is in a map of maps (needs CAP_SYS_ADMIN).
    pub fn lookup_map(&self, key: &[u8]) -> Result<Option<Map>, Error> {
        self.need(self.map_type.is_map_of_maps(), "a map of maps")?;
        let Some(id) = self.lookup(key)? else { return Ok(None) };
        let id = id.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        Map::from_id(id).map(Some)
    }

    /// Puts a program into an array of programs, for tail calls.
    pub fn update_program(&self, index: u32, program: &Program) -> Result<(), Error> {
        self.need(self.map_type == MapType::PROG_ARRAY, "an array of programs")?;
        self.update_fd(&index.to_ne_bytes(), program.as_fd(), Update::Any)
    }

    /// Puts a cgroup v2 directory into an array of cgroups.
    pub fn update_cgroup(&self, index: u32, cgroup: BorrowedFd<'_>) -> Result<(), Error> {
        self.need(self.map_type == MapType::CGROUP_ARRAY, "an array of cgroups")?;
        self.update_fd(&index.to_ne_bytes(), cgroup, Update::Any)
    }

    fn update_fd(&self, key: &[u8], fd: BorrowedFd<'_>, update: Update) -> Result<(), Error> {
        self.update(key, &fd_number(fd).to_ne_bytes(), update)
    }
}
