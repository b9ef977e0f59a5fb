//! One run of a virtual machine.
//!
//! The machine has no device but two serial ports, so any kernel with a serial console will do. The
//! first is the kernel's console, written to a file; the second carries the tests' output. The
//! machine ends when the kernel reboots or panics (`-no-reboot`). The processor is emulated: tests
//! run the same where there is no KVM.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What a machine is made of.
pub(crate) struct Machine {
    /// bzImage.
    pub(crate) kernel: PathBuf,
    /// cpio archive.
    pub(crate) initramfs: PathBuf,
    /// Where the console's output goes.
    pub(crate) console: PathBuf,
    /// How long it may run.
    pub(crate) timeout: Duration,
    /// What its clock counts.
    pub(crate) clock: Clock,
}

/// What a machine's clock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Time.
    Time,
    /// Instructions: a nanosecond passes with each one that the machine executes, whatever else
    /// this one does meanwhile.
    Instructions,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The machine switched itself off.
    Off,
    /// It was stopped, its time being over.
    TimedOut,
}

/// BPF LSM has to be named to be active; the others are Debian's. A kernel that finds a fault in
/// itself stops, which no test can then miss.
const PARAMETERS: &str = "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic reboot=t \
    mitigations=off nowatchdog audit=0 lsm=landlock,lockdown,yama,bpf";

/// The initramfs lies in it twice while it is unpacked, into a file system that takes at most half of
/// what is left (`shmem_default_max_blocks()` in mm/shmem.c). What is never used costs nothing.
const MEMORY: &str = "3G";

impl Machine {
    /// Boots and waits for the end. `line` is called with each line of the tests' output, at once.
    pub(crate) fn run(&self, mut line: impl FnMut(&str)) -> Result<End> {
        let mut console = std::ffi::OsString::from("file:");
        console.push(&self.console);
        let mut command = Command::new("qemu-system-x86_64");
        if self.clock == Clock::Instructions {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        let mut child = command
            // One thread for both processors: with several, kernels that patch their own code while it
            // runs on the other (trampolines, tail calls) were seen to crash under emulation.
            .args(["-machine", "pc", "-accel", "tcg,thread=single"])
            .args(["-cpu", "max", "-smp", "2", "-m", MEMORY])
            .args(["-display", "none", "-monitor", "none", "-no-reboot", "-nodefaults"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs)
            .args(["-append", PARAMETERS])
            .arg("-serial")
            .arg(console)
            .args(["-serial", "stdio"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("qemu-system-x86_64 does not run (package qemu-system-x86)")?;
        let output = child.stdout.take().context("qemu's output is not there")?;
        let (sender, lines) = channel();
        let reader = thread::spawn(move || {
            for bytes in BufReader::new(output).split(b'\n') {
                let Ok(bytes) = bytes else { break };
                let text = String::from_utf8_lossy(&bytes);
                if sender.send(text.trim_end_matches('\r').to_owned()).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + self.timeout;
        let end = loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) => line(&text),
                Err(RecvTimeoutError::Disconnected) => break End::Off,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill()?;
                    break End::TimedOut;
                }
            }
        };
        child.wait()?;
        drop(lines);
        // A reader that panicked has closed the channel, which ended the loop above.
        let _ = reader.join();
        Ok(end)
    }

    /// The last lines of the console, for when something went wrong.
    pub(crate) fn console_tail(&self, lines: usize) -> String {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Lines of the console in which the kernel complains about itself.
    pub(crate) fn kernel_complaints(&self) -> Vec<String> {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().filter(|line| is_complaint(line)).map(str::to_owned).collect()
    }
}

fn is_complaint(line: &str) -> bool {
    ["BUG: ", "WARNING: CPU", "Oops", "Kernel panic", "possible recursive locking"]
        .iter()
        .any(|sign| line.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_from_chatter() {
        assert!(is_complaint("[  1.0] BUG: kernel NULL pointer dereference, address: 0"));
        assert!(is_complaint("[  1.0] WARNING: CPU: 0 PID: 1 at kernel/bpf/verifier.c:1"));
        assert!(!is_complaint("[  1.0] x86/cpu: SGX disabled by BIOS."));
    }
}
