//! Denying system calls by LSM, call by call: for each that has gates, what it does without a policy is not
//! done with it, and its caller gets the policy's error.
//!
//! One policy denies all of them where they are marked in a register, by a child process that this test makes
//! for each case; nobody else is concerned. It is in mode monitor first, then in mode enforce.

#![allow(clippy::unwrap_used)]
#![cfg(target_arch = "x86_64")]

#[path = "../harness/mod.rs"]
mod harness;
mod text;

use compiler::plan::gates::{self, Answer};
use compiler::plan::{Denial, EventKind};
use harness::{Harness, Place};
use kernel::child::{MARK, NOTHING, Script, Step};
use kernel::features::Feature;
use policy::PolicyKey;
use policy::checked::Mode;
use rustix::process::{Resource, Rlimit};
use std::collections::BTreeSet;
use text::{Case, Gives, cases};

/// The policy's error: ENOANO, which no call gives by itself.
const ERROR: i32 = 55;

/// Calls of which there is no case, and why.
const WITHOUT: &[(&str, &str)] = &[("quotactl_fd", "needs a file system with quotas")];

fn key() -> PolicyKey {
    PolicyKey { domain: "static".to_owned(), namespace: String::new(), name: "gates".to_owned() }
}

/// The policy that denies these calls where they are marked.
fn policy(calls: &BTreeSet<&str>) -> String {
    let calls: Vec<String> = calls.iter().map(|call| format!("sys_{call}")).collect();
    let hook = format!(
        "call: list:calls\ndata:\n- {{index: 0, type: uint64, source: pt_regs, resolve: r15}}\nselectors:\n- matchData:\n  - {{index: 0, operator: Equal, values: ['{MARK}']}}\n  matchActions: [{{action: NoPost}}, {{action: Override, argError: -{ERROR}}}]\n"
    );
    let text = harness::policy("gates", "kprobes", &hook);
    text.replace(
        "spec:\n",
        &format!(
            "spec:\n  lists: [{{name: calls, type: syscalls, validated: true, values: [{}]}}]\n",
            calls.join(", ")
        ),
    )
}

/// Runs a case in a directory of its own, with the tested call or without it.
fn run(case: &Case, with: bool) -> Vec<i64> {
    let directory = Place::new(&format!("gates-{}", case.line));
    let mut script: Script = case.script.clone();
    if !with {
        script.steps[case.tested] = Step::Nothing;
    }
    std::env::set_current_dir(&directory.0).unwrap();
    let came = script.run().unwrap();
    std::env::set_current_dir("/").unwrap();
    came
}

/// Whether this is what the caller of a denied call gets.
fn is_denied(answer: Answer, gave: i64) -> bool {
    let gave = |error: i32| gave == -i64::from(error);
    match answer {
        Answer::Policy | Answer::PolicyExcept(_) => gave(ERROR),
        Answer::PolicyOr(error, _) => gave(ERROR) || gave(error),
        Answer::Always(error) => gave(error),
        Answer::Silent(_) => true,
    }
}

/// What is wrong with a case; `Err`: it cannot be tried here.
fn judge(case: &Case, harness: &mut Harness) -> Result<Vec<String>, String> {
    let without = run(case, false);
    if let Some(step) = without[..case.tested].iter().position(|came| *came < 0 && *came > -4096) {
        return Err(format!("step {step} before it gives {}", without[step]));
    }
    let monitored = run(case, true);
    let gave = monitored[case.tested];
    // ENOSYS, EOPNOTSUPP.
    if matches!(gave, -38 | -95) {
        return Err(format!("this kernel does not have it: {gave}"));
    }
    let mut wrong = Vec::new();
    let fits = match case.gives {
        Gives::Success => gave >= 0 || gave < -4095 && gave != NOTHING,
        Gives::Exactly(value) => gave == value,
        Gives::Nothing => gave == NOTHING,
    };
    if !fits {
        wrong.push(format!("without a policy it gives {gave}"));
    }
    let after = case.tested + 1;
    if case.gives == Gives::Success
        && after < monitored.len()
        && monitored[after..] == without[after..]
    {
        wrong.push(format!("its effect is not seen: {:?}", &monitored[after..]));
    }
    harness.policies.set_mode(&key(), Mode::Enforce).unwrap();
    let enforced = run(case, true);
    harness.policies.set_mode(&key(), Mode::Monitor).unwrap();
    let gave = enforced[case.tested];
    let answer = gates::of(&case.call).unwrap().answer;
    if !is_denied(answer, gave) {
        wrong.push(format!("denied, it gives {gave}"));
    }
    if enforced[after..] != without[after..] {
        wrong.push(format!(
            "denied, it has an effect: {:?}, without it {:?}, with it {:?}",
            &enforced[after..],
            &without[after..],
            &monitored[after..]
        ));
    }
    Ok(wrong)
}

#[test]
fn every_call_of_the_table_is_denied_before_it_takes_effect() {
    let cases = cases(include_str!("calls.txt"));
    let named: BTreeSet<&str> = cases.iter().map(|case| case.call.as_str()).collect();
    let excused = WITHOUT.iter().map(|(call, _)| *call);
    let all: BTreeSet<&str> = gates::all().flat_map(|gates| gates.calls).copied().collect();
    assert_eq!(named.iter().copied().chain(excused).collect::<BTreeSet<_>>(), all);
    let lacks = [Feature::FmodRetSyscall, Feature::OverrideReturn];
    let Some(mut harness) = Harness::without(Feature::Lsm, &lacks) else { return };
    // Each program is an open file.
    let files = Rlimit { current: Some(65536), maximum: Some(65536) };
    rustix::process::setrlimit(Resource::Nofile, files).unwrap();
    harness.load(&policy(&named));
    harness.policies.set_mode(&key(), Mode::Monitor).unwrap();
    let plan = harness.policies.plan(&key()).unwrap();
    let impossible: BTreeSet<String> = plan
        .hooks
        .iter()
        .filter(|hook| !matches!(hook.denial, Some(Denial::Gates(_))))
        .map(|hook| match &hook.event {
            EventKind::Kprobe { function } => function.replace("__x64_sys_", ""),
            other => other.to_string(),
        })
        .collect();
    let (mut wrong, mut skipped, mut tried) = (Vec::new(), Vec::new(), BTreeSet::new());
    for case in &cases {
        let (line, call) = (case.line, &case.call);
        if impossible.contains(call) {
            skipped.push(format!("{line} {call}: this kernel has no gates for it"));
            continue;
        }
        match judge(case, &mut harness) {
            Err(why) => skipped.push(format!("{line} {call}: {why}")),
            Ok(found) => {
                tried.insert(call.clone());
                wrong.extend(found.into_iter().map(|what| format!("{line} {call}: {what}")));
            }
        }
    }
    eprintln!("{} calls tried; not tried:\n{}", tried.len(), skipped.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried.len() >= 150, "only {} calls were tried", tried.len());
}
