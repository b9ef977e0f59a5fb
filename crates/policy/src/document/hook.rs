//! The hooks of a policy: kprobes, fentries, tracepoints, uprobes, usdts and LSM hooks.

use super::{Argument, Selector};
use crate::record::record;

record! {
    /// A kernel function.
    rule(
        "!has(self.return) || (!self.return || has(self.returnArg))",
        "ReturnArg not specified with Return=true.",
        |hook| !hook.returns || hook.return_arg.is_some()
    )
    pub struct Kprobe {
        /// Name of the function, or `list:NAME`. Names of system calls get the architecture's prefix
        /// when `syscall` is true.
        call "call": required String;
        /// Whether the function is a system call.
        syscall "syscall": default bool = true;
        /// What to do when the hook cannot be attached.
        ignore "ignore": optional IgnoreCall;
        /// Text copied to the event; at least 2 bytes, cut after 256.
        message "message": default String = String::new();
        /// Texts copied to the event; each at least 2 bytes, cut after 128.
        tags "tags": empty Vec<String>, MaxItems(16);
        /// Arguments to capture.
        args "args": empty Vec<Argument>;
        /// Values to capture that are no arguments.
        data "data": empty Vec<Argument>;
        /// Whether to hook the return too; the event then comes at return.
        returns "return": default bool = false;
        /// How to read the return value.
        return_arg "returnArg": optional Argument;
        /// TrackSock or UntrackSock, for a returned socket; Post, which older releases wanted.
        return_arg_action "returnArgAction": optional String;
        /// Filters and actions; the first selector that matches acts. Without any, every call is
        /// posted.
        selectors "selectors": empty Vec<Selector>;
    }
}

record! {
    /// What to tolerate.
    pub struct IgnoreCall {
        /// Leaves the hook out, instead of failing, when the function does not exist.
        call_not_found "callNotFound": default bool = false;
    }
}

record! {
    /// A tracepoint of the kernel.
    pub struct Tracepoint {
        /// Subsystem, e.g. `sched`.
        subsystem "subsystem": required String;
        /// Event, e.g. `sched_switch`.
        event "event": required String;
        /// Attaches to the raw tracepoint: `args` then count the arguments of its prototype, not
        /// the fields of its format.
        raw "raw": default bool = false;
        /// Text copied to the event; at least 2 bytes, cut after 256.
        message "message": default String = String::new();
        /// Texts copied to the event; each at least 2 bytes, cut after 128.
        tags "tags": empty Vec<String>, MaxItems(16);
        /// Fields to capture.
        args "args": empty Vec<Argument>;
        /// Filters and actions; the first selector that matches acts.
        selectors "selectors": empty Vec<Selector>;
    }
}

record! {
    /// A function of a program or library.
    rule(
        "!(has(self.symbols) && has(self.addrs)) && !(has(self.symbols) && has(self.offsets)) && !(has(self.addrs) && has(self.offsets))",
        "uprobe needs at most one of symbols, addrs or offsets defined",
        |hook| {
            let given = [!hook.symbols.is_empty(), !hook.addrs.is_empty(), !hook.offsets.is_empty()];
            given.into_iter().filter(|given| *given).count() <= 1
        }
    )
    rule(
        "!has(self.return) || (!self.return || has(self.returnArg))",
        "ReturnArg not specified with Return=true.",
        |hook| !hook.returns || hook.return_arg.is_some()
    )
    pub struct Uprobe {
        /// Path of the ELF file, as the agent sees it.
        path "path": required String;
        /// BTF file for the types of the program.
        btf_path "btfPath": optional String;
        /// Names of symbols, each optionally with an offset (`name+0x10`).
        symbols "symbols": empty Vec<String>;
        /// Offsets in the file.
        offsets "offsets": empty Vec<u64>;
        /// Virtual addresses.
        addrs "addrs": empty Vec<u64>;
        /// Offsets of reference counters in the file, one for each place.
        ref_ctr_offsets "refCtrOffsets": empty Vec<u64>;
        /// Digests of the file, `algorithm:hex`; one must be the file's. Algorithms: sha1, sha256,
        /// sha384, sha512, build-id.
        binary_digests "binaryDigests": empty Vec<String>;
        /// What to do when the hook cannot be attached.
        ignore "ignore": optional IgnoreDigest;
        /// Text copied to the event; at least 2 bytes, cut after 256.
        message "message": default String = String::new();
        /// Texts copied to the event; each at least 2 bytes, cut after 128.
        tags "tags": empty Vec<String>, MaxItems(16);
        /// Arguments to capture.
        args "args": empty Vec<Argument>;
        /// Values to capture that are no arguments.
        data "data": empty Vec<Argument>;
        /// Whether to hook the return too; the event then comes at return.
        returns "return": default bool = false;
        /// How to read the return value.
        return_arg "returnArg": optional Argument;
        /// Filters and actions; the first selector that matches acts.
        selectors "selectors": empty Vec<Selector>;
    }
}

record! {
    /// What to tolerate.
    pub struct IgnoreDigest {
        /// Leaves the hook out, instead of failing, when no digest is the file's.
        digest_verification_failure "digestVerificationFailure": default bool = false;
    }
}

record! {
    /// A static probe of a program or library.
    pub struct Usdt {
        /// Path of the ELF file, as the agent sees it.
        path "path": required String;
        /// Provider of the probe.
        provider "provider": required String;
        /// Name of the probe.
        name "name": required String;
        /// BTF file for the types of the program.
        btf_path "btfPath": optional String;
        /// Text copied to the event; at least 2 bytes, cut after 256.
        message "message": default String = String::new();
        /// Texts copied to the event; each at least 2 bytes, cut after 128.
        tags "tags": empty Vec<String>, MaxItems(16);
        /// Arguments to capture.
        args "args": empty Vec<Argument>;
        /// Filters and actions; the first selector that matches acts.
        selectors "selectors": empty Vec<Selector>;
    }
}

record! {
    /// A hook of BPF LSM.
    pub struct LsmHook {
        /// Name of the hook, e.g. `file_open`.
        hook "hook": required String;
        /// Text copied to the event; at least 2 bytes, cut after 256.
        message "message": default String = String::new();
        /// Texts copied to the event; each at least 2 bytes, cut after 128.
        tags "tags": empty Vec<String>, MaxItems(16);
        /// Arguments to capture.
        args "args": empty Vec<Argument>;
        /// Filters and actions; the first selector that matches acts.
        selectors "selectors": empty Vec<Selector>;
    }
}
