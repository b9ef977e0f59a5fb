//! Running a program at will (PROG_TEST_RUN), for tests and measurements.
//!
//! What can be run so: `raw_tracepoint` programs with made-up arguments (Linux 5.10), `syscall`
//! programs with a context (5.14), network programs with a packet. Programs on kernel functions and
//! tp_btf programs cannot.

use std::os::fd::AsFd;
use std::time::Duration;

use super::Program;
use crate::error::Error;
use crate::sys::{Command, address_of, address_of_mut, attr, bpf, fd_number};

/// `BPF_F_TEST_RUN_ON_CPU`.
const ON_CPU: u32 = 1;

/// What to run a program with.
#[derive(Clone, Debug, Default)]
pub struct TestRun<'a> {
    /// Context: for `raw_tracepoint` programs the arguments, a u64 each; for `syscall` programs what
    /// they get a pointer to, and may write.
    pub context: &'a [u8],
    /// Packet, for network programs.
    pub data: &'a [u8],
    /// Room for the packet afterwards, in bytes.
    pub data_out: usize,
    /// How often to run it, where the type allows; 0 as 1.
    pub repeat: u32,
    /// On which CPU, where the type allows.
    pub cpu: Option<u32>,
}

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestRunResult {
    /// What the program returned.
    pub returned: u32,
    /// Time of one run in the average, where the type measures it.
    pub duration: Duration,
    /// The packet afterwards.
    pub data: Vec<u8>,
    /// The context afterwards; only `syscall` programs change it.
    pub context: Vec<u8>,
}

impl Program {
    /// Runs it.
    pub fn test_run(&self, run: &TestRun<'_>) -> Result<TestRunResult, Error> {
        let mut data = vec![0; run.data_out];
        // bpf_prog_test_run_syscall() writes the context back to where it was.
        let mut context = run.context.to_vec();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut attr = attr::TestRun {
            prog_fd: fd_number(self.as_fd()),
            data_size_in: length(run.data),
            data_size_out: length(&data),
            data_in: address_of(run.data),
            data_out: address_of_mut(&mut data),
            repeat: run.repeat,
            ctx_size_in: length(run.context),
            ctx_in: address_of_mut(&mut context),
            flags: if run.cpu.is_some() { ON_CPU } else { 0 },
            cpu: run.cpu.unwrap_or(0),
            ..attr::TestRun::default()
        };
        // SAFETY: three buffers, each with its length; sizes beyond 32 bits are refused by the kernel
        // (a context is at most 64 KB, a packet at most some pages).
        unsafe { bpf(Command::TestRun, &mut attr) }
            .map_err(|errno| self.call_error("run", errno))?;
        data.truncate(attr.data_size_out as usize);
        let duration = Duration::from_nanos(attr.duration.into());
        Ok(TestRunResult { returned: attr.retval, duration, data, context })
    }
}
