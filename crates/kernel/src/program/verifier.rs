//! What the verifier said of a program that it rejected.
//!
//! The log is long: the states on the way, the program's source lines, the complaint, the statistics.
//! People need the complaint and where in the source it is first; the log is there for the rest.

use std::fmt;

use crate::errno::Errno;

/// A program that the verifier rejected, and its log.
///
/// Shown on one line with the complaint and the source line it belongs to, if there is one;
/// [`Self::log`] is the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierError {
    program: String,
    errno: Errno,
    log: String,
    truncated: bool,
}

impl VerifierError {
    pub(crate) fn new(program: &str, errno: Errno, log: String, truncated: bool) -> Self {
        Self { program: program.to_owned(), errno, log, truncated }
    }

    /// The program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// What PROG_LOAD returned.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// Everything the verifier wrote.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The log was longer than the kernel lets it be (16 MB), and a part of it is lost.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The complaint: the last line that is not statistics, a state or an instruction.
    pub fn cause(&self) -> &str {
        let lines = || self.log.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let complaint = lines().find(|line| !is_statistics(line) && !is_trace(line));
        complaint.or_else(|| lines().next()).unwrap_or_default()
    }

    /// The source line (from the program's BTF line info) that the complaint belongs to.
    pub fn source_line(&self) -> Option<&str> {
        let lines = self.log.lines().rev().map(str::trim);
        lines.skip_while(|line| *line != self.cause()).find_map(|line| line.strip_prefix("; "))
    }

    /// Index of the instruction that the complaint belongs to.
    pub fn instruction(&self) -> Option<usize> {
        let lines = self.log.lines().rev().map(str::trim);
        lines.skip_while(|line| *line != self.cause()).find_map(instruction_of)
    }
}

impl fmt::Display for VerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, errno, .. } = self;
        write!(f, "the verifier rejected program `{program}`: {}", self.cause())?;
        if let Some(instruction) = self.instruction() {
            write!(f, ", at instruction {instruction}")?;
        }
        if let Some(line) = self.source_line() {
            write!(f, ", in `{line}`")?;
        }
        write!(f, ": {errno}")
    }
}

impl std::error::Error for VerifierError {}

/// Lines that `print_verification_stats` and its kin write at the end.
fn is_statistics(line: &str) -> bool {
    const STARTS: &[&str] = &[
        "processed ",
        "verification time ",
        "stack depth ",
        "insns processed ",
        "peak memory ",
        "max_states_per_insn ",
    ];
    STARTS.iter().any(|start| line.starts_with(start))
}

/// Lines that say where the verifier is: instructions, states, source lines, backtracking.
fn is_trace(line: &str) -> bool {
    const STARTS: &[&str] = &[
        "; ",
        "from ",
        "func#",
        "last_idx ",
        "mark_precise: ",
        "regs=",
        "parent state ",
        "parent didn't have ",
        "propagating ",
        "caller:",
        "callee:",
        "returning from callee:",
        "to caller at ",
        "frame",
    ];
    STARTS.iter().any(|start| line.starts_with(start))
        || instruction_of(line).is_some()
        || line.split(' ').all(is_register_state)
}

/// "12: (85) call ..." and "12: R0=..." stand at instruction 12.
fn instruction_of(line: &str) -> Option<usize> {
    let (index, rest) = line.split_once(':')?;
    let index = index.parse().ok()?;
    let rest = rest.trim_start();
    (rest.starts_with('(') || rest.split(' ').all(is_register_state)).then_some(index)
}

/// "R0=ctx(...)", "R1_w=0", "fp-8=mmmmmmmm", "refs=2", "cb".
fn is_register_state(word: &str) -> bool {
    let is_name = |name: &str| {
        let digits = name.strip_prefix('R').or_else(|| name.strip_prefix("fp-"));
        digits.is_some_and(|digits| digits.starts_with(|first: char| first.is_ascii_digit()))
            || name == "refs"
    };
    word.split_once('=').is_some_and(|(name, _)| is_name(name)) || word.is_empty() || word == "cb"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(log: &str) -> VerifierError {
        VerifierError::new("p", Errno::EACCES, log.to_owned(), false)
    }

    #[test]
    fn finds_the_complaint_its_source_and_its_instruction() {
        let error = error(
            "func#0 @0\n0: R1=ctx() R10=fp0\n; values: [\"/data/\"] @ policy.yaml:12\n\
             0: (79) r2 = *(u64 *)(r1 +0)          ; R1=ctx() R2_w=scalar()\n\
             1: (61) r0 = *(u32 *)(r2 +0)\nR2 invalid mem access 'scalar'\n\
             verification time 31 usec\nstack depth 0\n\
             processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0\n\n",
        );
        assert_eq!(error.cause(), "R2 invalid mem access 'scalar'");
        assert_eq!(error.source_line(), Some("values: [\"/data/\"] @ policy.yaml:12"));
        assert_eq!(error.instruction(), Some(1));
        assert_eq!(
            error.to_string(),
            "the verifier rejected program `p`: R2 invalid mem access 'scalar', at instruction 1, \
             in `values: [\"/data/\"] @ policy.yaml:12`: Permission denied (EACCES)"
        );
    }

    #[test]
    fn complaints_before_the_first_instruction_have_no_place() {
        let error = error("unreachable insn 3\nprocessed 0 insns (limit 1000000)\n");
        assert_eq!(error.cause(), "unreachable insn 3");
        assert_eq!((error.source_line(), error.instruction()), (None, None));
    }

    #[test]
    fn complaints_may_follow_states_and_backtracking() {
        let error = error(
            "5: R0=map_value(off=0,ks=4,vs=8,imm=0) R10=fp0 fp-8=mmmm????\n\
             mark_precise: frame0: last_idx 5 first_idx 0\n\
             from 3 to 5: R0=0 R10=fp0\n5: (95) exit\n\
             Unreleased reference id=2 alloc_insn=1\nR0=scalar() refs=2\nprocessed 9 insns\n",
        );
        assert_eq!(error.cause(), "Unreleased reference id=2 alloc_insn=1");
        assert_eq!(error.instruction(), Some(5));
    }

    #[test]
    fn logs_without_complaint_give_what_they_have() {
        assert_eq!(error("").cause(), "");
        assert_eq!(error("0: (95) exit\n").cause(), "0: (95) exit");
    }
}
