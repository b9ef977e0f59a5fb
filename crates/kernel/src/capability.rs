//! What this process may do.

use crate::errno::Errno;
use crate::error::Error;

bitflags::bitflags! {
    /// Capabilities, as far as eBPF asks for them; the bits of all others are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Capabilities: u64 {
        /// CAP_KILL.
        const KILL = 1 << 5;
        /// CAP_NET_ADMIN: network programs.
        const NET_ADMIN = 1 << 12;
        /// CAP_SYS_PTRACE: other processes' /proc files.
        const SYS_PTRACE = 1 << 19;
        /// CAP_SYS_ADMIN: everything here, and opening objects by number.
        const SYS_ADMIN = 1 << 21;
        /// CAP_SYS_RESOURCE: raising RLIMIT_MEMLOCK.
        const SYS_RESOURCE = 1 << 24;
        /// CAP_MAC_ADMIN: attaching LSM programs, up to Linux 5.7.
        const MAC_ADMIN = 1 << 33;
        /// CAP_PERFMON: tracing programs (Linux 5.8).
        const PERFMON = 1 << 38;
        /// CAP_BPF: programs and maps (Linux 5.8).
        const BPF = 1 << 39;
        const _ = !0;
    }
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words for each set.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The effective set of the calling thread.
pub fn effective() -> Result<Capabilities, Error> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut words = [Word::default(); 2];
    // SAFETY: version 3 reads the header and writes two words, to locals.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) };
    if result != 0 {
        return Err(Error::call("read this process's capabilities", Errno::last()));
    }
    let [low, high] = words.map(|word| u64::from(word.effective));
    Ok(Capabilities::from_bits_retain(low | high << 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_proc() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let expected = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(effective().unwrap().bits(), expected);
    }
}
