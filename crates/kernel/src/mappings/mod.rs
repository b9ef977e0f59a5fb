//! Files that processes map to be executed, as perf tells of them, with their build ids.
//!
//! A software event that counts nothing, one on each CPU, makes the kernel write a record for each such
//! mapping (`perf_event_mmap()`, kernel/events/core.c) into a ring. The build id is in the record from
//! Linux 5.12 on, where the file has one and its page is in memory. What a process maps while it executes
//! a program is told before any tracepoint tells of the program; a record of the thread's new name, which
//! comes before those of the mappings, tells that they are of the new program.
//!
//! Rings are read one after the other; to put records into order, hold back those that are later than the
//! moment at which reading began ([`crate::clock::monotonic`] has the same clock).

mod record;
mod ring;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

pub use record::{Mapped, Record};

use crate::cpu;
use crate::errno::Errno;
use crate::error::Error;
use crate::sys::epoll::Epoll;
use crate::sys::perf::{self, EventAttr};
use crate::sys::{ioctl, perf_event_open};
use ring::Ring;

/// Bytes of each CPU's ring.
const RING: usize = 256 << 10;

/// Records of mappings, on all CPUs that are online.
#[derive(Debug)]
pub struct Mappings {
    epoll: Epoll,
    cpus: BTreeMap<u32, Watched>,
    /// Memory for a record that is being read.
    record: Vec<u8>,
    corrupt: u64,
}

/// A CPU's event and its ring.
#[derive(Debug)]
struct Watched {
    // Unmapped before the event is closed.
    ring: Ring,
    _event: OwnedFd,
}

impl Mappings {
    /// Has the kernel tell of mappings from now on, in all processes.
    ///
    /// # Errors
    /// The kernel does not tell of build ids (before Linux 5.12), or CAP_PERFMON is missing.
    pub fn open() -> Result<Self, Error> {
        let failed = |errno| Error::call("wait for records of mappings", errno);
        let epoll = Epoll::new().map_err(failed)?;
        let mut mappings = Self { epoll, cpus: BTreeMap::new(), record: Vec::new(), corrupt: 0 };
        mappings.follow_cpus()?;
        Ok(mappings)
    }

    /// Takes in CPUs that have come online, and lets go of those that have gone; their last records are
    /// lost. To be called now and then.
    ///
    /// # Errors
    /// A CPU's event could not be opened, other than because it has just gone.
    pub fn follow_cpus(&mut self) -> Result<(), Error> {
        let online = cpu::online()?;
        self.cpus.retain(|cpu, _| online.contains(cpu));
        for cpu in online {
            if self.cpus.contains_key(&cpu) {
                continue;
            }
            match self.watch(cpu) {
                Ok(watched) => drop(self.cpus.insert(cpu, watched)),
                Err(Errno::ENODEV) => {}
                Err(errno) => {
                    let action = format!("have perf tell of mappings on CPU {cpu}");
                    return Err(Error::call(action, errno));
                }
            }
        }
        Ok(())
    }

    fn watch(&self, cpu: u32) -> Result<Watched, Errno> {
        let attr = EventAttr {
            event_type: perf::TYPE_SOFTWARE,
            size: size_of::<EventAttr>() as u32,
            config: perf::SOFTWARE_DUMMY,
            sample_type: perf::SAMPLE_TID | perf::SAMPLE_TIME,
            bits: perf::BIT_MMAP
                | perf::BIT_MMAP2
                | perf::BIT_BUILD_ID
                | perf::BIT_COMM
                | perf::BIT_COMM_EXEC
                | perf::BIT_SAMPLE_ID_ALL
                | perf::BIT_WATERMARK
                | perf::BIT_USE_CLOCKID,
            // Bytes: with each record.
            wakeup_events: 1,
            clockid: libc::CLOCK_MONOTONIC,
            ..EventAttr::default()
        };
        // SAFETY: no addresses.
        let event = unsafe { perf_event_open(&attr, None, Some(cpu)) }?;
        let ring = Ring::map(event.as_fd(), RING)?;
        ioctl(event.as_fd(), perf::IOC_ENABLE, 0)?;
        self.epoll.add(event.as_fd())?;
        Ok(Watched { ring, _event: event })
    }

    /// Waits for records, at most so long. What is there may be read whatever this says.
    pub fn wait(&self, timeout: Duration) -> Result<bool, Error> {
        let failed = |errno| Error::call("wait for records of mappings", errno);
        self.epoll.wait(Some(timeout)).map_err(failed)
    }

    /// Gives all records to `read`, in order for each CPU, and frees them.
    pub fn read(&mut self, mut read: impl FnMut(Record)) {
        for watched in self.cpus.values_mut() {
            let sound = watched.ring.read(&mut self.record, |bytes| {
                if let Some(record) = Record::read(bytes) {
                    read(record);
                }
            });
            self.corrupt += u64::from(!sound);
        }
    }

    /// Times that a ring held what no kernel writes; everything unread was skipped each time.
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }
}
