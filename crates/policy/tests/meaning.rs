//! What checked policies hold.

use policy::CheckedPolicy;
use policy::checked::{
    Action, Call, Comparison, FilterTest, Members, Mode, Place, Scope, Subject, SyscallAbi, Target,
    Test,
};
use policy::document::TypeName;

fn read(spec: &str) -> CheckedPolicy {
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n{spec}"
    );
    CheckedPolicy::read("p", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The comparison of one filter on an argument of a type.
fn compare(kind: &str, operator: &str, values: &str) -> Test {
    let policy = read(&format!(
        "  kprobes:\n  - call: f\n    args: [{{index: 3, type: {kind}, sizeArgIndex: {}}}]\n    \
         selectors:\n    - matchArgs: [{{index: 3, operator: {operator}, values: {values}}}]\n",
        if kind == "char_buf" { 1 } else { 0 },
    ));
    let filter = policy.hooks[0].selectors[0].filters[0].clone();
    assert_eq!(filter.subject, Subject::Argument(0));
    match filter.test {
        FilterTest::Known(test) => test,
        FilterTest::Deferred(_) => panic!("{kind} is known"),
    }
}

#[test]
fn values_are_read_as_their_type() {
    let is = |comparison| Test { negated: false, comparison };
    let not = |comparison| Test { negated: true, comparison };
    let text = |text: &str| vec![text.as_bytes().to_vec()];
    for (kind, operator, values, wanted) in [
        (
            "int",
            "Equal",
            "['-1', '0x10', '010']",
            is(Comparison::Integers(vec![-1..=-1, 16..=16, 8..=8])),
        ),
        ("int", "neq", "[5]", not(Comparison::Integers(vec![5..=5]))),
        ("uint64", "InMap", "['9:3', 7]", is(Comparison::Integers(vec![3..=9, 7..=7]))),
        ("int8", "NotInRange", "['-3:2']", not(Comparison::Integers(vec![-3..=2]))),
        ("int8", "Mask", "['-1']", is(Comparison::Mask(vec![0xff]))),
        ("size_t", "GT", "['1']", is(Comparison::Greater(vec![1]))),
        (
            "kernel_cap_t",
            "Equal",
            "['CAP_CHOWN,CAP_KILL']",
            is(Comparison::Integers(vec![33..=33])),
        ),
        ("string", "Equal", "[\"/a\\0\"]", is(Comparison::Equal(text("/a")))),
        ("file", "Equal", "[\"/a\\0\"]", is(Comparison::Equal(text("/a\0")))),
        ("string", "Prefix", "[\"/a\\0\"]", is(Comparison::Prefix(text("/a\0")))),
        ("file", "Postfix", "[\"/a\\0\"]", is(Comparison::Postfix(text("/a")))),
        ("char_buf", "NotPostfix", "[\"/a\\0\"]", not(Comparison::Postfix(text("/a\0")))),
        ("string", "SubStringIgnoreCase", "[aB]", is(Comparison::ContainsIgnoringCase(text("aB")))),
        ("sock", "NotSportPriv", "[]", not(Comparison::SourcePort(vec![0..=1023]))),
        ("sock", "NotState", "[TCP_LISTEN]", not(Comparison::State(vec![10]))),
        ("skb", "Protocol", "[IPPROTO_UDP, '6']", is(Comparison::Protocol(vec![17, 6]))),
    ] {
        assert_eq!(compare(kind, operator, values), wanted, "{kind} {operator} {values}");
    }
}

#[test]
fn questions_about_unknown_types_wait() {
    let policy = read(
        "  kprobes:\n  - call: f\n    args: [{index: 0}]\n    selectors:\n    \
         - matchArgs: [{index: 0, operator: Equal, values: ['5', x]}]\n",
    );
    let FilterTest::Deferred(deferred) = &policy.hooks[0].selectors[0].filters[0].test else {
        panic!("the type is not known yet");
    };
    let text = deferred.resolve(TypeName::String, &[]).map(|test| test.comparison);
    assert_eq!(text, Ok(Comparison::Equal(vec![b"5".to_vec(), b"x".to_vec()])));
    let problems = deferred.resolve(TypeName::Int, &[]).unwrap_err();
    assert_eq!(
        problems[0].line("p"),
        "p:9:61 spec.kprobes[0].selectors[0].matchArgs[0].values[1]: `x` is no integer: write it \
         decimal, 0x… or octal 0…"
    );
}

#[test]
fn enforcing_actions_count_wherever_they_stand() {
    let plain = "  kprobes: [{call: sys_f, selectors: [{matchActions: [{action: Sigkill}]}]}]\n";
    let macros = "  selectorsMacros: {kill: {matchActions: [{action: Sigkill}]}}\n  \
                  kprobes: [{call: sys_f, selectors: [{macros: [kill]}]}]\n";
    let returns = "  kprobes: [{call: sys_f, return: true, returnArg: {index: 0, type: int}, \
                   selectors: [{matchReturnActions: [{action: Sigkill}]}]}]\n";
    let none = "  selectorsMacros: {kill: {matchActions: [{action: Sigkill}]}}\n  \
                kprobes: [{call: sys_f}]\n";
    let monitor = "  options: [{name: policy-mode, value: monitor}]\n";
    for (spec, enforcing) in [(plain, true), (macros, true), (returns, true), (none, false)] {
        let (default, asked) = if enforcing {
            (Mode::Enforce, Mode::Monitor)
        } else {
            (Mode::MonitorOnly, Mode::MonitorOnly)
        };
        assert_eq!(read(spec).mode(), default, "{spec}");
        assert_eq!(read(&format!("{monitor}{spec}")).mode(), asked, "{spec}");
    }
}

#[test]
fn macros_are_merged_with_their_places() {
    let policy = read(
        "  selectorsMacros:\n    a:\n      label: from-macro\n      matchPIDs: [{operator: In, values: [1]}]\n    \
         b: {matchWorkloads: {podSelector: {}}}\n  \
         kprobes:\n  - call: f\n    selectors:\n    - macros: [a, b]\n      matchActions: [{action: NoPost}]\n",
    );
    let selector = &policy.hooks[0].selectors[0];
    assert_eq!(selector.label, "from-macro");
    assert_eq!(selector.pids[0].values, [1]);
    let Place { mark, path } = &selector.pids[0].place;
    assert_eq!((mark.line, path.as_str()), (8, "spec.selectorsMacros.a.matchPIDs[0]"));
    assert!(selector.workloads.as_ref().is_some_and(Scope::is_restricted));
    assert_eq!(selector.actions[0].value, Action::NoPost);
    assert_eq!(selector.place.path, "spec.kprobes[0].selectors[0]");
}

#[test]
fn lists_and_defaults() {
    let policy = read(
        "  lists:\n  - {name: s, type: syscalls, values: [sys_dup, __ia32_sys_dup, arm32/sys_dup]}\n  \
         - {name: f, values: [vfs_read]}\n  kprobes:\n  - {call: 'list:s', syscall: false}\n  \
         - {call: 'list:f', syscall: false}\n  - call: sys_read\n",
    );
    let syscalls: Vec<bool> = policy
        .hooks
        .iter()
        .map(|hook| match &hook.target {
            Target::Kprobe(function) => function.syscall,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(syscalls, [true, false, true]);
    let Target::Kprobe(function) = &policy.hooks[0].target else { panic!("a kprobe") };
    assert_eq!(function.call, Call::List("s".to_owned()));
    let Some(Members::Syscalls(members)) = policy.list("s").map(|list| &list.members) else {
        panic!("a list of system calls");
    };
    let abis: Vec<Option<SyscallAbi>> = members.iter().map(|member| member.abi).collect();
    assert_eq!(abis, [None, Some(SyscallAbi::I386), Some(SyscallAbi::Arm32)]);
    assert!(members.iter().all(|member| member.name == "dup"));
    assert_eq!(policy.key("static").domain, "static");
}

#[test]
fn json_says_the_same_as_yaml() {
    let yaml = read("  kprobes:\n  - call: f\n    args: [{index: 1, type: int}]\n");
    let json = CheckedPolicy::read(
        "p",
        "{\"apiVersion\": \"cilium.io/v1alpha1\",\t\"kind\": \"TracingPolicy\",\n\
         \"metadata\": {\"name\": \"p\", \"creationTimestamp\": null, \"managedFields\": [{\"a\": 1}]},\n\
         \"spec\": {\"kprobes\": [{\"call\": \"f\", \"args\": [{\"index\": 1, \"type\": \"int\"}]}]}}\n",
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(json.hooks[0].target, yaml.hooks[0].target);
    assert_eq!(json.hooks[0].args[0].kind, yaml.hooks[0].args[0].kind);
}

#[test]
fn actions_of_older_releases_have_no_effect() {
    let policy = read(
        "  kprobes:\n  - call: sys_f\n    args: [{index: 0, type: fd}, {index: 1, type: filename}]\n    \
         selectors:\n    - matchActions: [{action: FollowFD, argFd: 0, argName: 1}]\n    \
         - matchActions: [{action: UnfollowFD, argFd: 0, argName: 1}]\n    \
         - matchActions: [{action: CopyFD, argFd: 0, argName: 1}]\n",
    );
    assert_eq!(policy.notes.len(), 3);
    for (note, name) in policy.notes.iter().zip(["FollowFD", "UnfollowFD", "CopyFD"]) {
        let wanted = format!("{name} is not needed any more and has no effect");
        assert!(note.message.starts_with(&wanted), "{}", note.message);
    }
    assert!(policy.hooks[0].selectors.iter().all(|selector| selector.actions.is_empty()));
}

#[test]
fn notes_tell_what_has_no_effect() {
    let policy = read(&format!(
        "  options: [{{name: policymode, value: a}}]\n  kprobes:\n  - call: sys_f\n    \
         message: {}\n    args: [{{index: 0, type: fd, label: a}}, {{index: 1, type: int, label: a}}]\n    \
         returnArgAction: Post\n    selectors:\n    - matchBinaries: [{{operator: In, values: []}}]\n      \
         matchActions: [{{action: FollowFD, argFd: 0, argName: 1}}, {{action: Override}}, \
         {{action: Sigkill, argSig: 9}}, {{action: NoPost}}, \
         {{action: DnsLookup, argFqdn: a}}]\n",
        "m".repeat(257)
    ));
    let notes: Vec<String> = policy.notes.iter().map(|note| note.line("p")).collect();
    assert_eq!(
        notes,
        [
            "p:5:20 spec.options[0].name: unknown option `policymode` has no effect: did you mean \
             `policy-mode`?",
            "p:8:14 spec.kprobes[0].message: the message is cut to 256 bytes",
            "p:9:73 spec.kprobes[0].args[1].label: label `a` is that of args[0] too: events cannot \
             tell them apart",
            "p:10:22 spec.kprobes[0].returnArgAction: returnArgAction: Post has no effect any more: \
             returns are posted",
            "p:12:38 spec.kprobes[0].selectors[0].matchBinaries[0].values: there are no values, so \
             this filters nothing",
            "p:13:31 spec.kprobes[0].selectors[0].matchActions[0].action: FollowFD is not needed any \
             more and has no effect: fd arguments name their file",
            "p:13:64 spec.kprobes[0].selectors[0].matchActions[1]: Override has no argError: the call \
             will return 0, as if it succeeded",
            "p:13:110 spec.kprobes[0].selectors[0].matchActions[2].argSig: argSig has no effect with \
             Sigkill",
            "p:13:132 spec.kprobes[0].selectors[0].matchActions: the request is made when the event \
             arrives: with NoPost there is none",
        ]
    );
    assert_eq!(policy.hooks[0].message.len(), 256);
}
