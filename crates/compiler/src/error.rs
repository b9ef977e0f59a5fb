//! Why a program could not be made or put in place.

/// An error of the compiler or of the kernel that was given its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The running kernel's types are not as needed.
    #[error("this kernel's BTF: {0}")]
    Btf(#[from] kernel::btf::BtfError),
    /// A program is not well-formed: a bug.
    #[error("internal error in program {program}: {error}")]
    Program {
        /// Which program.
        program: String,
        /// What the IR or its compilation says.
        error: ebpf::Error,
    },
    /// The program under construction is not well-formed: a bug.
    #[error("internal error in a program: {0}")]
    Ir(#[from] ebpf::Error),
    /// More than a program can hold.
    #[error(
        "too much for one program ({0}): give the hook fewer selectors, filters or values, or divide it into several policies"
    )]
    TooLarge(String),
    /// A hook that cannot be compiled.
    #[error("{place}: {cause}")]
    Hook {
        /// Where it is in the policy: file, line, column and path.
        place: String,
        /// Why.
        cause: Box<Error>,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// Two policies hook one function in ways that do not go together.
    #[error(
        "{place} does not go together with {other}, which calls the function all the same: leave \
         `override-method` out, or remove the other policy on this system call"
    )]
    Clash {
        /// Where results are given in place of the call.
        place: String,
        /// What calls it.
        other: String,
    },
    /// Something that a plan may ask for and that is not compiled.
    #[error("not compiled: {0}")]
    Unsupported(String),
    /// More selectors than there are bits for.
    #[error("{0} selectors on a hook that waits for its return: 64 is the most")]
    TooManySelectors(usize),
    /// More buffers than are remembered from entry to return.
    #[error("{0} arguments with returnCopy: 6 is the most")]
    TooManyBuffers(usize),
    /// More restrictions to workloads than have a number.
    #[error("there are too many different restrictions to workloads: {} is the most", 64 * crate::follow::workloads::WORDS)]
    TooManyScopes,
    /// More policies than have a mode.
    #[error("there are too many policies: {} is the most", crate::emit::map::control::MODES_MAX)]
    TooManyPolicies,
    /// A policy without actions that interfere has no other mode.
    #[error(
        "the policy has no enforcing action (Sigkill, Signal, Override, NotifyEnforcer, Set): it can only monitor"
    )]
    MonitorOnly,
    /// A policy that cannot enforce all that it says.
    #[error("the policy cannot enforce on this kernel:\n{0}")]
    NotEnforced(policy::Problems),
    /// What the task iterator wrote does not read as it should.
    #[error("task iterator: {0}")]
    Scan(#[from] crate::base::record::DecodeError),
    /// A hook that cannot be tried on made-up calls.
    #[error("{place} cannot be tried: {reason}")]
    Trial {
        /// Path of the value in the policy.
        place: String,
        /// Why.
        reason: &'static str,
    },
    /// A match of a trial that was not reported.
    #[error("a match could not be reported: {0:?}")]
    TrialLost(crate::counters::Counters),
    /// A policy's record does not read as it should: a bug.
    #[error(transparent)]
    Record(#[from] crate::DecodeError),
    /// Reading from the task iterator failed.
    #[error("cannot read the task iterator: {0}")]
    Iterator(std::io::Error),
    /// The types for the kernel cannot be described: a bug.
    #[error("internal error in type information: {0}")]
    Types(#[from] ebpf::btf::BtfError),
}
