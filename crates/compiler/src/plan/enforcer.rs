//! The calls of an enforcer: where they are hooked, and how they are made to fail.
//!
//! What NotifyEnforcer tells is kept with the thread until the next of these calls. The program at the
//! call's entry has to come after the one that tells. Tracepoints of system calls are passed before the
//! functions that serve them; on one function programs by trampoline come before those that replace it,
//! but after kprobes. So a hook of the same policy on a function that is replaced by kprobe is a kprobe
//! too, and the enforcer's part is the last in it. Where the entry can be hooked by number only, at the
//! same tracepoint as others, nothing is known of the order, and no call can be denied in time.

use super::planner::Planner;
use super::{Attachment, Denial};
use policy::checked::{Call, Enforcer, Function, Hook, Target};

impl Planner<'_> {
    /// Plans the calls of an enforcer.
    pub(super) fn enforcer(&mut self, enforcer: &Enforcer) {
        self.enforcing = true;
        for call in &enforcer.calls {
            let syscall = match call {
                Call::Function(name) => !name.starts_with("security_"),
                Call::List(_) => false,
            };
            let function = Function { call: call.clone(), syscall, ignore_missing: false };
            let hook = Hook {
                place: enforcer.place.clone(),
                target: Target::Kprobe(function.clone()),
                message: String::new(),
                tags: Vec::new(),
                args: Vec::new(),
                data: Vec::new(),
                return_arg: None,
                return_action: None,
                selectors: Vec::new(),
            };
            self.functions(&hook, &function);
        }
        self.enforcing = false;
        self.enforcers.sort_by_cached_key(|hook| hook.event.to_string());
        self.enforcers.dedup_by(|one, other| one.attachment == other.attachment);
        for enforcer in &self.enforcers {
            for hook in &mut self.hooks {
                if hook.attachment.as_kprobe().is_some_and(|kprobe| kprobe == enforcer.attachment) {
                    hook.attachment = enforcer.attachment.clone();
                    hook.reason.clone_from(&enforcer.reason);
                    hook.denial.clone_from(&enforcer.denial);
                }
            }
        }
    }

    /// How a call of an enforcer is made to fail. `syscall`: its name, without prefix.
    pub(super) fn enforced(&self, attachment: &Attachment, syscall: Option<&str>) -> Denial {
        match self.means(attachment, syscall, true) {
            Denial::Gates(_) if matches!(attachment, Attachment::Syscall { .. }) => {
                let why = "its entry can only be hooked by number, perhaps too early to be told";
                Denial::Impossible(why.to_owned())
            }
            means => means,
        }
    }
}
