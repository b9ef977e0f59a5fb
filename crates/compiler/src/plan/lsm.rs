//! Hooks of BPF LSM.

use super::attachment::{self, lacks};
use super::planner::{Found, Planner};
use super::signature::Signature;
use super::{Attachment, EventKind};
use crate::act::ima;
use kernel::btf::Kind;
use kernel::features::Feature;
use policy::checked::Hook;

/// What the kernel calls the functions that LSM programs attach to.
const PREFIX: &str = "bpf_lsm_";

impl Planner<'_> {
    /// Hooks the LSM hook `name`.
    pub(super) fn lsm(&mut self, hook: &Hook, name: &str) {
        let machine = self.machine;
        if let Err(why) = lacks(machine, Feature::Lsm) {
            let message = format!(
                "this kernel runs no LSM programs ({why}): it needs CONFIG_BPF_LSM=y and `bpf` in \
                 the `lsm=` of its command line; a kprobe on `security_{name}` sees the same calls"
            );
            return self.error(&hook.place, message);
        }
        let function = format!("{PREFIX}{name}");
        let Some(id) = machine.btf.find(Kind::Func, &function) else {
            let known = machine.btf.list_funcs().filter_map(|(_, name)| name.strip_prefix(PREFIX));
            let message = match (name.strip_prefix("security_"), policy::did_you_mean(name, known))
            {
                (Some(name), _) => format!("LSM hooks are named without prefix: write `{name}`"),
                (None, Some(near)) => {
                    format!("this kernel has no LSM hook `{name}`: did you mean `{near}`?")
                }
                (None, None) => format!("this kernel has no LSM hook `{name}`"),
            };
            return self.error(&hook.place, message);
        };
        let prototype = match machine.btf.prototype(id) {
            Ok(prototype) => prototype,
            Err(error) => return self.error(&hook.place, error.to_string()),
        };
        if let Err(why) = attachment::passes(machine, &prototype) {
            let text = machine.btf.prototype_text(id);
            let message = format!("no LSM program can take `{text}` on this kernel: {why}");
            return self.error(&hook.place, message);
        }
        if ima::any(&hook.selectors)
            && let Err(why) = lacks(machine, Feature::ImaFileHash)
        {
            let message = format!(
                "this kernel tells programs no digests of files ({why}): imaHash needs Linux 5.18"
            );
            return self.error(&hook.place, message);
        }
        let text = machine.btf.prototype_text(id).replace(PREFIX, "");
        let signature = Signature::of(machine.btf.clone(), text, &prototype);
        let found = Found {
            event: EventKind::Lsm { hook: name.to_owned() },
            attachment: Attachment::Lsm { hook: name.to_owned(), id },
            reason: "an LSM program, as the policy says".to_owned(),
        };
        if let Some(inputs) = self.inputs(hook, &signature, &found.attachment) {
            self.add(hook, found, inputs);
        }
    }
}
