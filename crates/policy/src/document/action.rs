//! What a selector does when it matches.

use crate::record::{choices, record};

record! {
    /// One action.
    rule(
        "!(has(self.argNewSymbol) && has(self.argNewAddr)) && !(has(self.argNewSymbol) && has(self.argNewOffset)) && !(has(self.argNewAddr) && has(self.argNewOffset))",
        "override action needs at most one of argNewSymbol, argNewAddr or argNewOffset defined",
        |action| {
            let given = [
                action.new_symbol.is_some(),
                action.new_address.is_some(),
                action.new_offset.is_some(),
            ];
            given.into_iter().filter(|given| *given).count() <= 1
        }
    )
    pub struct Action {
        /// What to do.
        action "action": required ActionName;
        /// Override, NotifyEnforcer: the value to return, normally a negative errno.
        error "argError": optional i32;
        /// Signal, NotifyEnforcer: number of the signal.
        signal "argSig": optional u32;
        /// GetUrl: URL to fetch.
        url "argUrl": optional String;
        /// DnsLookup: name to look up.
        fqdn "argFqdn": optional String;
        /// TrackSock, UntrackSock: position of the socket in `args`.
        sock "argSock": optional u32;
        /// Set: position in `args` of the argument to overwrite.
        index "argIndex": optional u32;
        /// Set: 32-bit value to write.
        value "argValue": optional i32;
        /// Override of a uprobe: registers to set, e.g. `rax=11`.
        registers "argRegs": empty Vec<String>;
        /// Override of a uprobe: symbol of the same file to go on at.
        new_symbol "argNewSymbol": optional String;
        /// Override of a uprobe: virtual address to go on at.
        new_address "argNewAddr": optional u64;
        /// Override of a uprobe: offset in the file to go on at.
        new_offset "argNewOffset": optional u64;
        /// Post: least time between equal events: a number, optionally with s, m or h.
        rate_limit "rateLimit": optional String;
        /// Post: what the rate is limited for: thread, process or global.
        rate_limit_scope "rateLimitScope": optional String;
        /// Post: with the kernel's stack.
        kernel_stack_trace "kernelStackTrace": optional bool;
        /// Post: with the user's stack.
        user_stack_trace "userStackTrace": optional bool;
        /// Post on LSM hooks of files: with the file's IMA digest.
        ima_hash "imaHash": optional bool;
        /// FollowFD, UnfollowFD, CopyFD, which older releases had: accepted, without effect.
        fd "argFd": optional u32;
        /// FollowFD, UnfollowFD, CopyFD, which older releases had: accepted, without effect.
        name "argName": optional u32;
    }
}

choices! {
    /// What to do.
    pub enum ActionName {
        /// Send an event.
        Post "Post",
        /// Kill the process.
        Sigkill "Sigkill",
        /// Replace the result of the call.
        Override "Override",
        /// Fetch a URL.
        GetUrl "GetUrl",
        /// Look up a name.
        DnsLookup "DnsLookup",
        /// Send no event.
        NoPost "NoPost",
        /// Send a signal to the process.
        Signal "Signal",
        /// Remember the process as the socket's owner.
        TrackSock "TrackSock",
        /// Forget the socket's owner.
        UntrackSock "UntrackSock",
        /// Have the enforcer act upon the current thread.
        NotifyEnforcer "NotifyEnforcer",
        /// Drop what the enforcer was told.
        CleanupEnforcerNotification "CleanupEnforcerNotification",
        /// Overwrite an argument of a usdt.
        Set "Set",
        /// Older releases: remember a file descriptor's name.
        FollowFd "FollowFD",
        /// Older releases: forget it.
        UnfollowFd "UnfollowFD",
        /// Older releases: copy it.
        CopyFd "CopyFD",
    }
}
