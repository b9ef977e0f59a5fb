//! How hooks are attached, in a word each, for lists.

use super::{Attachment, Plan};
use policy::checked::Hook;

impl Attachment {
    /// The way, without the place: as kernel people call it.
    #[must_use]
    pub fn way(&self) -> &'static str {
        match self {
            Self::Trampoline { .. } => "fentry",
            Self::Kprobe { .. } => "kprobe",
            Self::KprobeMulti { .. } => "kprobe.multi",
            Self::Syscall { .. } => "tp_btf sys_enter",
            Self::Lsm { .. } => "lsm",
            Self::RawTracepoint { .. } => "tp_btf",
            Self::Tracepoint { .. } => "tracepoint",
            Self::Uprobe(at) if at.multi => "uprobe.multi",
            Self::Uprobe(_) => "uprobe",
        }
    }
}

impl Plan {
    /// How one of the policy's hooks is attached: each way with the number of places, in the order in which
    /// they come. Nothing where the hook is left out.
    #[must_use]
    pub fn ways(&self, hook: &Hook) -> Vec<(&'static str, usize)> {
        let mut ways: Vec<(&'static str, usize)> = Vec::new();
        for planned in self.hooks.iter().filter(|planned| planned.place == hook.place) {
            let way = planned.attachment.way();
            match ways.iter_mut().find(|(known, _)| *known == way) {
                Some((_, count)) => *count += 1,
                None => ways.push((way, 1)),
            }
        }
        ways
    }
}
