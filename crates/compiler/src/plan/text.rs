//! Plans for people.

use super::{Attachment, EventKind, HookPlan, Input, Plan, Source};
use std::fmt;

/// One paragraph per hook, then the notes.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.policy.file;
        for hook in &self.hooks {
            let mark = hook.place.mark;
            writeln!(f, "{file}:{}:{} {}", mark.line, mark.column, hook.place.path)?;
            hook.describe(f)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {}", note.line(file))?;
        }
        Ok(())
    }
}

impl HookPlan {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  event {}", self.event)?;
        writeln!(f, "  attached to {}", self.attachment)?;
        writeln!(f, "  reason: {}", self.reason)?;
        for (at, input) in self.args.iter().enumerate() {
            writeln!(f, "  args[{at}]: {input}")?;
        }
        for (at, input) in self.data.iter().enumerate() {
            writeln!(f, "  data[{at}]: {input}")?;
        }
        if let Some(input) = &self.returned {
            writeln!(f, "  return: {input}")?;
        }
        match self.selectors.len() {
            0 => writeln!(f, "  selectors: none, every call is posted"),
            count => writeln!(f, "  selectors: {count}"),
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kprobe { function } => write!(f, "process_kprobe of {function}"),
            Self::Tracepoint { subsystem, event } => {
                write!(f, "process_tracepoint of {subsystem}/{event}")
            }
            Self::Lsm { hook } => write!(f, "process_lsm of {hook}"),
        }
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = |syscall: &bool| if *syscall { "system call by " } else { "" };
        match self {
            Self::Trampoline { function, syscall, .. } => {
                write!(f, "{}trampoline on {function}", call(syscall))
            }
            Self::Kprobe { function, syscall } => {
                write!(f, "{}kprobe on {function}", call(syscall))
            }
            Self::Syscall { number, compat } => {
                let whose = if *compat { " of 32-bit callers" } else { "" };
                write!(f, "system call {number}{whose} at sys_enter")
            }
            Self::Lsm { hook, .. } => write!(f, "LSM hook {hook}"),
            Self::RawTracepoint { name, .. } => write!(f, "typed tracepoint {name}"),
            Self::Tracepoint { subsystem, event, .. } => {
                write!(f, "tracepoint {subsystem}/{event}")
            }
        }
    }
}

/// `file, argument 0, f_path.dentry`
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.kind, self.source)?;
        if !self.resolve.is_empty() {
            let loads = if self.hops.len() == 1 { "load" } else { "loads" };
            write!(f, ", {} ({} {loads})", self.resolve, self.hops.len())?;
        }
        if let Some(length) = &self.length {
            write!(f, ", length from {}", length.source)?;
        }
        if self.return_copy {
            f.write_str(", at return, with the return value as length")?;
        }
        if !self.label.is_empty() {
            write!(f, ", labelled `{}`", self.label)?;
        }
        Ok(())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { index, .. } => write!(f, "argument {index}"),
            Self::Returned { .. } => f.write_str("the return value"),
            Self::CurrentTask => f.write_str("the current task"),
            Self::Register { offset, size } => {
                write!(f, "{size} bytes of the registers at {offset}")
            }
            Self::Field { offset, size, .. } => write!(f, "{size} bytes of the record at {offset}"),
        }
    }
}
