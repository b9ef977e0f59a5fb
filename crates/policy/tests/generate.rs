//! Generated policies and events: valid, reproducible, and neither always nor never a match.

use policy::CheckedPolicy;
use policy::checked::{Comparison, FilterTest};
use policy::document::{NamespaceKind, TypeName};
use policy::evaluate::generate::{Call, Draft, Generator};
use policy::evaluate::{Capabilities, Image, Namespaces, Process, Selectors, Value};
use std::collections::HashMap;

fn call(args: &[TypeName]) -> Call {
    let hook = "kprobes: [{call: f, syscall: false".to_owned();
    Call { hook, args: args.to_vec(), returned: Some(TypeName::Int), max_data: false }
}

fn read(draft: &Draft) -> CheckedPolicy {
    CheckedPolicy::read("drawn", &draft.to_string())
        .unwrap_or_else(|problems| panic!("{problems}\n{draft}"))
}

/// Every type that filters know.
fn types() -> Vec<TypeName> {
    let known = |kind: &TypeName| {
        !matches!(kind, TypeName::Auto | TypeName::Syscall64 | TypeName::CharIovec)
            && !kind.kind().operators().is_empty()
    };
    TypeName::ALL.iter().copied().filter(known).collect()
}

#[test]
fn every_type_is_asked_about_in_both_ways() {
    for kind in types() {
        let (mut matched, mut missed) = (0, 0);
        for seed in 0..60 {
            let mut generator = Generator::new(seed);
            let policy = read(&generator.policy(&call(&[kind, TypeName::Int64, kind])));
            let hook = &policy.hooks[0];
            let selectors = Selectors::new(&hook.selectors, &policy.lists, |_| None).unwrap();
            for _ in 0..10 {
                match selectors.evaluate(&generator.event(hook)) {
                    Some(_) => matched += 1,
                    None => missed += 1,
                }
            }
        }
        assert!(matched > 60 && missed > 60, "{kind}: {matched} match, {missed} do not");
    }
}

#[test]
fn every_operator_is_drawn() {
    let mut seen: HashMap<String, (bool, bool)> = HashMap::new();
    for seed in 0..400 {
        let mut generator = Generator::new(seed);
        let kinds = types();
        let at = |offset: u64| kinds[(seed + offset) as usize % kinds.len()];
        let policy = read(&generator.policy(&call(&[at(0), TypeName::Int, at(0)])));
        let hook = &policy.hooks[0];
        for filter in hook.selectors.iter().flat_map(|selector| &selector.filters) {
            let FilterTest::Known(test) = &filter.test else { panic!("every type is known") };
            let policy::checked::Subject::Argument(position) = filter.subject else { continue };
            let name = format!("{:?}", test.comparison);
            let name = name.split(['(', ' ']).next().unwrap().to_owned();
            for _ in 0..40 {
                let event = generator.event(hook);
                let entry = seen.entry(name.clone()).or_default();
                let answer = match test.comparison {
                    Comparison::CapabilitiesGained { before } => {
                        let Value::CapabilitySet(before) = event.args[before] else { continue };
                        let Value::CapabilitySet(after) = event.args[position] else { continue };
                        Some(after & !before != 0)
                    }
                    _ => test.comparison.holds(&event.args[position]),
                };
                entry.0 |= answer == Some(true);
                entry.1 |= answer == Some(false);
            }
        }
    }
    let mut names: Vec<&str> = seen.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "CapabilitiesGained",
            "Contains",
            "ContainsIgnoringCase",
            "DestinationAddress",
            "DestinationPort",
            "Equal",
            "Family",
            "FileType",
            "Greater",
            "Integers",
            "Less",
            "Mask",
            "Postfix",
            "Prefix",
            "Protocol",
            "SourceAddress",
            "SourcePort",
            "State",
        ]
    );
    for (name, (held, failed)) in seen {
        assert!(held && failed, "{name}: {held} {failed}");
    }
}

#[test]
fn the_seed_decides() {
    let draw = |seed| {
        let mut generator = Generator::new(seed);
        let draft = generator.policy(&call(&[TypeName::Sock, TypeName::String]));
        let event = generator.event(&read(&draft).hooks[0]);
        (draft, event)
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5).0, draw(6).0);
}

#[test]
fn shrinking_leaves_what_matters() {
    // Fails as long as a Prefix filter with a value of 3 bytes or more is in it.
    let fails = |draft: &Draft| {
        read(draft).hooks[0].selectors.iter().flat_map(|selector| &selector.filters).any(|filter| {
            let FilterTest::Known(test) = &filter.test else { return false };
            matches!(&test.comparison, Comparison::Prefix(values)
                if values.iter().any(|value| value.len() >= 3))
        })
    };
    let mut shrunk = 0;
    for seed in 0..60 {
        let draft = Generator::new(seed).policy(&call(&[TypeName::String, TypeName::Int]));
        if !fails(&draft) {
            continue;
        }
        shrunk += 1;
        let small = read(&draft.shrink(fails));
        let [selector] = small.hooks[0].selectors.as_slice() else { panic!("{small:?}") };
        let [filter] = selector.filters.as_slice() else { panic!("{small:?}") };
        let FilterTest::Known(test) = &filter.test else { panic!("{small:?}") };
        let Comparison::Prefix(values) = &test.comparison else { panic!("{small:?}") };
        let lengths: Vec<usize> = values.iter().map(Vec::len).collect();
        assert_eq!(lengths, [3]);
    }
    assert!(shrunk > 5, "{shrunk}");
}

/// A process in a container, whose namespaces and capabilities changed.
fn process() -> (Process, Namespaces) {
    let image = |pid, nspid, pid_namespace, binary: &str| Image {
        pid,
        pid_in_namespace: nspid,
        pid_namespace,
        binary: Some(binary.as_bytes().to_vec()),
    };
    let all = |first: u32| {
        let kinds = NamespaceKind::ALL.iter().zip(first..);
        kinds.map(|(kind, inode)| (*kind, inode)).collect::<Namespaces>()
    };
    let mut recorded = all(200);
    recorded.insert(NamespaceKind::Net, 7);
    let capabilities = Capabilities { effective: 0xff, permitted: 0xffff, inheritable: 0 };
    let process = Process {
        image: image(900, 7, 203, "/usr/bin/cat"),
        ancestors: vec![image(800, 1, 203, "/usr/bin/sh"), image(1, 0, 103, "/sbin/init")],
        namespaces: all(200),
        capabilities,
        recorded_namespaces: Some(recorded),
        recorded_capabilities: Some(Capabilities { effective: 0x7f, ..capabilities }),
        ..Process::default()
    };
    (process, all(100))
}

#[test]
fn every_filter_by_process_holds_and_fails() {
    let (process, host) = process();
    let mut seen: HashMap<&str, [u32; 2]> = HashMap::new();
    for seed in 0..1200 {
        let mut generator = Generator::new(seed);
        let policy = read(&generator.policy_around(&call(&[]), &process, &host));
        let hook = &policy.hooks[0];
        for selector in &hook.selectors {
            let mut event = generator.event(hook);
            (event.process, event.host) = (process.clone(), host.clone());
            let mut selector = selector.clone();
            selector.return_filters.clear();
            let parts = [
                ("matchPIDs", selector.pids.len()),
                ("matchBinaries", selector.binaries.len()),
                ("matchParentBinaries", selector.parent_binaries.len()),
                ("matchNamespaces", selector.namespaces.len()),
                ("matchNamespaceChanges", selector.namespace_changes.len()),
                ("matchCapabilities", selector.capabilities.len()),
                ("matchCapabilityChanges", selector.capability_changes.len()),
                ("matchWorkloads", selector.workloads.iter().count()),
            ];
            let mut present = parts.into_iter().filter(|(_, count)| *count > 0);
            // What one part alone says.
            let (Some((part, _)), None) = (present.next(), present.next()) else { continue };
            let selectors = Selectors::new(&[selector], &policy.lists, |_| None).unwrap();
            let holds = selectors.at_entry(&event).is_some();
            seen.entry(part).or_default()[usize::from(holds)] += 1;
        }
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
    for (part, [failed, held]) in seen {
        assert!(failed > 5 && held > 5, "{part}: {held} hold, {failed} do not");
    }
}
