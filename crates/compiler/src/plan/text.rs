//! Plans for people.

use super::{
    Attachment, EventKind, HookPlan, Input, Instruction, Operand, OperandPlace, Plan, Source,
};
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
        for call in &self.enforcers {
            let mark = call.place.mark;
            writeln!(f, "{file}:{}:{} {}", mark.line, mark.column, call.place.path)?;
            writeln!(f, "  attached to {}", call.attachment)?;
            writeln!(f, "  reason: {}", call.reason)?;
            if let Some(denial) = &call.denial {
                writeln!(f, "  enforced: {denial}")?;
            }
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
        if let Some(denial) = &self.denial {
            writeln!(f, "  override: {denial}")?;
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
            Self::Uprobe { path, symbol, offset, .. } => {
                write!(f, "process_uprobe of {path}")?;
                match symbol.as_str() {
                    "" => write!(f, "+{offset:#x}"),
                    symbol => write!(f, ":{symbol}"),
                }
            }
            Self::Usdt { path, provider, name } => {
                write!(f, "process_usdt of {path}:{provider}:{name}")
            }
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
            Self::KprobeMulti { function, among } => {
                write!(f, "kprobe.multi on {function}, of {} functions", among.names().len())
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
            Self::Uprobe(instruction) => write!(f, "uprobe on {instruction}"),
        }
    }
}

/// `readline in /bin/bash at 0xaf2e0`
impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} at {:#x}", self.name, self.file.path().display(), self.offset)?;
        match self.counter {
            0 => Ok(()),
            counter => write!(f, ", counted at {counter:#x}"),
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
            Self::Operand(operand) => write!(f, "{operand}"),
            Self::Field { offset, size, .. } => write!(f, "{size} bytes of the record at {offset}"),
        }
    }
}

/// `4 bytes, signed, of the registers at 112`
impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.signed { ", signed," } else { "" };
        write!(f, "{} bytes{sign} ", self.size)?;
        match &self.place {
            OperandPlace::Constant(value) => write!(f, "that are always {value}"),
            OperandPlace::Register((offset, _)) => write!(f, "of the registers at {offset}"),
            OperandPlace::Memory { base, index, displacement } => {
                write!(f, "in memory at {displacement}")?;
                if let Some((offset, _)) = base {
                    write!(f, " + the register at {offset}")?;
                }
                if let Some(((offset, _), scale)) = index {
                    write!(f, " + {scale} times the register at {offset}")?;
                }
                Ok(())
            }
        }
    }
}
