//! How a process ended: exit status and signal from the kernel's exit code.
//!
//! The code is laid out as `wait(2)` reports it: signal in bits 0 to 6, core dumped in bit 7, status
//! in bits 8 to 15.

/// Status and the name of the signal, which is empty when the process ended by itself.
pub fn status_and_signal(code: u32) -> (u32, String) {
    ((code >> 8) & 0xff, signal_name(code & 0x7f))
}

/// Names of signals 1 to 31 on x86-64 and arm64 (include/uapi/asm-generic/signal.h).
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// First real-time signal that programs get from the C library, which keeps 32 and 33 to itself.
const SIGRTMIN: u32 = 34;

fn signal_name(signal: u32) -> String {
    match signal {
        0 => String::new(),
        1..=31 => NAMES[signal as usize - 1].to_owned(),
        SIGRTMIN => "SIGRTMIN".to_owned(),
        35..=64 => format!("SIGRTMIN+{}", signal - SIGRTMIN),
        other => format!("SIG{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let cases = [
            (0, 0, ""),
            (1 << 8, 1, ""),
            (255 << 8, 255, ""),
            (9, 0, "SIGKILL"),
            (11 | 0x80, 0, "SIGSEGV"),
            (6 | 0x80, 0, "SIGABRT"),
            (15, 0, "SIGTERM"),
            (29, 0, "SIGIO"),
            (31, 0, "SIGSYS"),
            (32, 0, "SIG32"),
            (34, 0, "SIGRTMIN"),
            (37, 0, "SIGRTMIN+3"),
            (64, 0, "SIGRTMIN+30"),
        ];
        for (code, status, signal) in cases {
            assert_eq!(status_and_signal(code), (status, signal.to_owned()), "{code:#x}");
        }
    }
}
