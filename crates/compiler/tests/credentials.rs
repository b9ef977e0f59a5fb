//! Credentials and capabilities as values.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{Observation, Observed};
use harness::{Harness, hook_number, hooks, own_thread, policy};
use kernel::features::Feature;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// What this thread's calls show while `body` runs.
fn own(harness: &mut Harness, body: impl FnOnce()) -> Vec<Observation> {
    own_thread(harness.during(body))
}

/// With and without pointers of types that the verifier is told.
fn harnesses() -> impl Iterator<Item = Harness> {
    [Harness::new(), Harness::lacking(Feature::RdonlyCast)].into_iter().flatten()
}

/// A policy on umask(2) with a value of the current task, and a filter on that.
fn on_umask(mask: u32, kind: &str, field: &str, filter: &str) -> String {
    policy("umask", "kprobes", &on_umask_hook(mask, kind, field, filter))
}

fn on_umask_hook(mask: u32, kind: &str, field: &str, filter: &str) -> String {
    let mut hook = format!(
        "call: sys_umask\nsyscall: true\nargs:\n- {{index: 0, type: int}}\ndata:\n- {{index: 0, type: {kind}, source: current_task, resolve: {field}}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: ['{mask}']}}\n"
    );
    if !filter.is_empty() {
        hook.push_str(&format!("  matchData:\n  - {{index: 0, {filter}}}\n"));
    }
    hook
}

/// Calls umask(2) in a thread that has all capabilities that it may have, but one in its effective set,
/// which is the only one in its inheritable one.
fn umask_without(harness: &mut Harness, without: CapabilitySet, mask: u32) -> Vec<Observation> {
    let all = capabilities(None).unwrap();
    let mut seen = harness.during(|| {
        let call = move || {
            let effective = all.permitted.difference(without);
            set_capabilities(
                None,
                rustix::thread::CapabilitySets { effective, inheritable: without, ..all },
            )
            .unwrap();
            harness::umask(mask);
        };
        std::thread::spawn(call).join().unwrap();
    });
    seen.retain(|seen| seen.args[0] == Some(Observed::Int(mask as i32)));
    seen
}

#[test]
fn credentials_are_captured() {
    for mut harness in harnesses() {
        harness.load(&on_umask(0o141, "cred", "cred", ""));
        let seen = umask_without(&mut harness, CapabilitySet::SYS_NICE, 0o141);
        assert_eq!(seen.len(), 1, "{seen:?}");
        let Some(Observed::Credentials(creds)) = &seen[0].data[0] else { panic!("{seen:?}") };
        let sets = capabilities(None).unwrap();
        assert_eq!(creds.cap_permitted, sets.permitted.bits());
        assert_eq!(creds.cap_effective, sets.permitted.bits() & !(1 << 23));
        assert_eq!(creds.cap_inheritable, 1 << 23);
        let ids = [creds.uid, creds.euid, creds.suid, creds.fsuid];
        assert_eq!(ids, [rustix::process::getuid().as_raw(); 4]);
        let ids = [creds.gid, creds.egid, creds.sgid, creds.fsgid];
        assert_eq!(ids, [rustix::process::getgid().as_raw(); 4]);
        let user = std::fs::metadata("/proc/self/ns/user").unwrap();
        assert_eq!(u64::from(creds.user_ns.inum), std::os::unix::fs::MetadataExt::ino(&user));
    }
}

#[test]
fn sets_are_captured_and_filtered() {
    let nice = 1_u64 << 23;
    let permitted = capabilities(None).unwrap().permitted.bits();
    let effective = permitted & !nice;
    let table = [
        ("cap_effective", "cred.cap_effective", effective, String::new(), true),
        ("cap_permitted", "cred.cap_permitted", permitted, String::new(), true),
        ("kernel_cap_t", "cred.cap_inheritable", nice, String::new(), true),
        ("kernel_cap_t", "cred.cap_inheritable", nice, equal("CAP_SYS_NICE"), true),
        ("kernel_cap_t", "cred.cap_inheritable", nice, equal("CAP_SYS_NICE,CAP_CHOWN"), false),
        ("cap_effective", "cred.cap_effective", effective, equal(&effective.to_string()), true),
        ("cap_effective", "cred.cap_effective", effective, mask("CAP_SYS_NICE"), false),
        ("cap_effective", "cred.cap_effective", effective, mask("CAP_SYS_NICE,CAP_KILL"), true),
        ("cap_permitted", "cred.cap_permitted", permitted, mask("CAP_SYS_NICE"), true),
        (
            "cap_inheritable",
            "cred.cap_inheritable",
            nice,
            "operator: GreaterThan, values: ['8388607']".to_owned(),
            true,
        ),
        (
            "cap_inheritable",
            "cred.cap_inheritable",
            nice,
            "operator: LessThan, values: ['8388608']".to_owned(),
            false,
        ),
    ];
    let filters =
        table.clone().map(|(kind, field, _, filter, _)| on_umask_hook(0o142, kind, field, &filter));
    for mut harness in harnesses() {
        harness.load(&hooks("umask", "kprobes", &filters));
        let seen = umask_without(&mut harness, CapabilitySet::SYS_NICE, 0o142);
        for (index, (kind, _, value, filter, matches)) in table.iter().enumerate() {
            let seen = seen.iter().filter(|seen| hook_number(seen) == index);
            let values: Vec<_> = seen.map(|seen| seen.data[0].clone()).collect();
            let expected = if *matches { vec![Some(Observed::Size(*value))] } else { vec![] };
            assert_eq!(values, expected, "{kind} {filter}");
        }
    }
}

fn equal(value: &str) -> String {
    format!("operator: Equal, values: ['{value}']")
}

fn mask(value: &str) -> String {
    format!("operator: Mask, values: ['{value}']")
}

#[test]
fn gained_capabilities_are_those_that_the_set_before_lacks() {
    for mut harness in harnesses() {
        for (before, after, matches) in [
            ("cap_inheritable", "cap_permitted", true),
            ("cap_permitted", "cap_effective", false),
            ("cap_effective", "cap_permitted", true),
            ("cap_effective", "cap_effective", false),
        ] {
            let hook = format!(
                "subsystem: task\nevent: task_newtask\nraw: true\nargs:\n- {{index: 0, type: kernel_cap_t, resolve: cred.{before}}}\n- {{index: 0, type: kernel_cap_t, resolve: cred.{after}}}\nselectors:\n- matchArgs:\n  - {{args: [0, 1], operator: CapabilitiesGained}}\n"
            );
            harness.load(&policy("gained", "tracepoints", &hook));
            let all = capabilities(None).unwrap();
            let mut thread = None;
            let seen = harness.during(|| {
                let call = move || {
                    let effective = all.permitted.difference(CapabilitySet::SYS_NICE);
                    let inheritable = CapabilitySet::empty();
                    let sets = rustix::thread::CapabilitySets { effective, inheritable, ..all };
                    set_capabilities(None, sets).unwrap();
                    std::thread::spawn(|| ()).join().unwrap();
                    rustix::thread::gettid().as_raw_nonzero().get() as u32
                };
                thread = Some(std::thread::spawn(call).join().unwrap());
            });
            let count = seen.iter().filter(|seen| Some(seen.tid) == thread).count();
            assert_eq!(count, usize::from(matches), "{before} {after}: {seen:?}");
            harness.remove("gained");
        }
    }
}

#[test]
fn a_capability_is_a_number() {
    let hook = |values: &str| {
        let hook = format!(
            "call: sys_prctl\nsyscall: true\nargs:\n- {{index: 0, type: int}}\n- {{index: 1, type: capability}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: ['23']}}\n  - {{index: 1, {values}}}\n"
        );
        policy("capability", "kprobes", &hook)
    };
    for (filter, wanted) in [
        ("operator: Equal, values: [CAP_NET_ADMIN, '39']", [12].as_slice()),
        ("operator: NotEqual, values: [CAP_NET_ADMIN]", &[13]),
        ("operator: InMap, values: ['11', '14']", &[]),
    ] {
        let Some(mut harness) = Harness::new() else { return };
        harness.load(&hook(filter));
        // PR_CAPBSET_READ
        let seen = own(&mut harness, || {
            for capability in [CapabilitySet::NET_ADMIN, CapabilitySet::NET_RAW] {
                rustix::thread::capability_is_in_bounding_set(capability).unwrap();
            }
        });
        let numbers: Vec<_> = seen.iter().map(|seen| seen.args[1].clone()).collect();
        let wanted: Vec<_> = wanted.iter().map(|number| Some(Observed::Int(*number))).collect();
        assert_eq!(numbers, wanted, "{filter}");
    }
}
