//! What policies saw, for tests.

use std::sync::Arc;

use compiler::base::record::Identity;
use compiler::observed::{Observation, Observed, Stacks};
use compiler::plan::{Attachment, EventKind, HookPlan, Input, Source};
use policy::CheckedPolicy;
use policy::document::TypeName;

/// A policy with these selectors, in JSON, and its hook as it were planned.
pub(crate) fn hook(event: EventKind, selectors: &str) -> (Arc<CheckedPolicy>, HookPlan) {
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: mounts}}\n\
         spec: {{\"kprobes\": [{{\"call\": \"sys_mount\", \"message\": \"a mount\", \
         \"tags\": [\"one\", \"two\"], \"return\": true, \"returnArg\": {{\"index\": 0, \"type\": \"int\"}}, \
         \"selectors\": [{selectors}]}}]}}"
    );
    let policy = Arc::new(CheckedPolicy::read("p.yaml", &text).unwrap());
    let checked = &policy.hooks[0];
    let plan = HookPlan {
        denial: None,
        place: checked.place.clone(),
        event,
        attachment: Attachment::Syscall { number: 165, compat: false },
        reason: String::new(),
        args: vec![
            input(&policy, TypeName::String, "what"),
            input(&policy, TypeName::Nop, ""),
            input(&policy, TypeName::Int, ""),
        ],
        data: vec![input(&policy, TypeName::Uint64, "extra")],
        returned: Some(input(&policy, TypeName::Int, "hidden")),
        return_action: None,
        selectors: checked.selectors.clone(),
        message: checked.message.clone(),
        tags: checked.tags.clone(),
    };
    (policy.clone(), plan)
}

fn input(policy: &CheckedPolicy, kind: TypeName, label: &str) -> Input {
    Input {
        place: policy.hooks[0].place.clone(),
        kind,
        label: label.to_owned(),
        source: Source::CurrentTask,
        hops: Vec::new(),
        length: None,
        return_copy: false,
        max_data: false,
        resolve: String::new(),
    }
}

/// A match of the first selector, if there is one.
pub(crate) fn observation(
    event: EventKind,
    selectors: &str,
    process: Identity,
    tid: u32,
) -> Observation {
    let (policy, hook) = hook(event, selectors);
    Observation {
        policy,
        cpu: 1,
        time: 5_000_000,
        process,
        tid,
        selector: (!hook.selectors.is_empty()).then_some(0),
        hook: Arc::new(hook),
        args: vec![Some(Observed::Text(b"/dev/sda".to_vec())), None, Some(Observed::Int(-3))],
        data: vec![Some(Observed::Size(9))],
        returned: Some(Observed::Int(-1)),
        stacks: Stacks::default(),
        owner: None,
        measured: None,
    }
}

/// A function's event.
pub(crate) fn kprobe() -> EventKind {
    EventKind::Kprobe { function: "__x64_sys_mount".to_owned() }
}

/// A tracepoint's event.
pub(crate) fn tracepoint() -> EventKind {
    EventKind::Tracepoint { subsystem: "syscalls".to_owned(), event: "sys_enter_mount".to_owned() }
}

/// An LSM hook's event.
pub(crate) fn lsm() -> EventKind {
    EventKind::Lsm { hook: "sb_mount".to_owned() }
}
