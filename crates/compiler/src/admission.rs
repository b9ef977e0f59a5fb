//! Whether a policy that is planned may be put in force. What cannot be had on the machine at all is refused
//! while it is planned; here is refused what could be loaded but should not be: a rule that would stop
//! everybody, and one that is to enforce what this kernel cannot.

use policy::checked::Mode;
use policy::{Problem, Problems};

use crate::plan::Plan;
use crate::protect;

/// Whether a policy may be put in force with the mode that it asks for. `allow_degraded`: also where its
/// enforcing actions cannot all be carried out.
///
/// # Errors
/// What speaks against it, with its place in the policy and with what to do about it.
pub fn admit(plan: &Plan, allow_degraded: bool) -> Result<(), Problems> {
    if plan.policy.mode() != Mode::Enforce {
        return Ok(());
    }
    protect::check(plan)?;
    enforceable(plan, allow_degraded).map_err(|mut problems| {
        for problem in &mut problems.list {
            problem.message.push_str(
                "; to load the policy all the same, set its option `policy-mode` to monitor or \
                 `allow-degraded-enforcement` to true",
            );
        }
        problems
    })
}

/// Whether a policy may be in mode enforce on this kernel; else what it cannot enforce.
pub(crate) fn enforceable(plan: &Plan, allow_degraded: bool) -> Result<(), Problems> {
    let accepted = allow_degraded || plan.policy.settings.allow_degraded_enforcement;
    let list: Vec<Problem> = if accepted { Vec::new() } else { plan.not_enforced() };
    Problems::of(&plan.policy.file, list).map_or(Ok(()), Err)
}
