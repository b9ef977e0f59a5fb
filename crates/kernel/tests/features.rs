//! Probes of the running kernel. One test, in a process of its own: it counts what the process has
//! open.

use std::path::Path;
use std::sync::Arc;

use kernel::btf::Btf;
use kernel::capability::{self, Capabilities};
use kernel::features::{Feature, Features, Probe, ProgramKind};
use kernel::kconfig::KernelConfig;

/// Kernel objects that this process has open.
fn open_objects() -> std::io::Result<Vec<String>> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        // The directory's own descriptor is gone by now.
        if let Ok(target) = std::fs::read_link(entry?.path()) {
            open.push(target.to_string_lossy().into_owned());
        }
    }
    open.retain(|target| target.starts_with("anon_inode:"));
    open.sort();
    Ok(open)
}

#[test]
fn the_running_kernel_answers_as_it_is_built() {
    let btf = match Btf::vmlinux::<&str>(&[]) {
        Ok(btf) => Arc::new(btf),
        Err(error) => return eprintln!("skipped: {error}"),
    };
    if !capability::effective().unwrap().contains(Capabilities::SYS_ADMIN) {
        return eprintln!("skipped: needs CAP_SYS_ADMIN");
    }
    let before = open_objects().unwrap();
    let features = Features::running(btf.clone());
    for feature in Feature::ALL {
        eprintln!("{feature}: {}", features.probe(*feature));
    }

    // What the agent cannot do without.
    for feature in
        [Feature::TpBtf, Feature::RingBuffer, Feature::TaskStorage, Feature::LargePrograms]
    {
        assert_eq!(features.probe(feature), Probe::Yes, "{feature}");
    }
    assert!(features.has(Feature::RawTracepoint) && features.has(Feature::Subprograms));

    // What has a PMU can be attached, and nothing else.
    let pmu = |name: &str| Path::new("/sys/bus/event_source/devices").join(name).exists();
    assert_eq!(features.has(Feature::Kprobe), pmu("kprobe"));
    assert_eq!(features.has(Feature::Kretprobe), pmu("kprobe"));
    assert_eq!(features.has(Feature::Uprobe), pmu("uprobe"));

    // A kernel built without an option does not have what it is for.
    if let Ok(config) = KernelConfig::read() {
        for (option, feature) in [
            ("CONFIG_KPROBES", Feature::Kprobe),
            ("CONFIG_FPROBE", Feature::KprobeMulti),
            ("CONFIG_FPROBE", Feature::KprobeSession),
            ("CONFIG_BPF_LSM", Feature::Lsm),
            ("CONFIG_BPF_KPROBE_OVERRIDE", Feature::OverrideReturn),
            ("CONFIG_FUNCTION_ERROR_INJECTION", Feature::FmodRetSyscall),
            ("CONFIG_UPROBES", Feature::Uprobe),
            ("CONFIG_AUDITSYSCALL", Feature::AuditLoginuid),
        ] {
            let answer = features.probe(feature);
            assert!(config.is_set(option) || !answer.is_yes(), "{feature} without {option}");
        }
        assert_eq!(config.is_set("CONFIG_AUDITSYSCALL"), features.has(Feature::AuditLoginuid));
        // And one built with it has, where nothing else is in the way.
        let injection = config.is_set("CONFIG_FUNCTION_ERROR_INJECTION");
        if injection && features.has(Feature::FmodRet) {
            assert_eq!(features.probe(Feature::FmodRetSyscall), Probe::Yes);
            assert_eq!(features.probe(Feature::SleepableTracing), Probe::Yes);
        }
        if config.is_set("CONFIG_BPF_KPROBE_OVERRIDE") && features.has(Feature::Kprobe) {
            assert_eq!(features.probe(Feature::OverrideReturn), Probe::Yes);
        }
    }

    // Without trampolines there is none of what stands on them.
    if !features.has(Feature::Fentry) {
        assert!(!features.has(Feature::FmodRetSyscall) && !features.has(Feature::Lsm));
    }

    // Helpers: one for all, one for tracing only, one that sleeps, one that no kernel has.
    let tp_btf = ProgramKind::TpBtf;
    assert_eq!(features.helper(1, tp_btf), Probe::Yes);
    assert_eq!(features.helper(14, tp_btf), Probe::Yes);
    assert!(matches!(features.helper(99_999, tp_btf), Probe::No { .. }));
    let redirect = btf.enumerator("bpf_func_id", "BPF_FUNC_redirect").unwrap();
    assert!(matches!(features.helper(redirect as u32, tp_btf), Probe::No { .. }));
    let copy = btf.enumerator("bpf_func_id", "BPF_FUNC_copy_from_user");
    if let Some(copy) = copy.and_then(|copy| u32::try_from(copy).ok()) {
        assert!(matches!(features.helper(copy, tp_btf), Probe::No { .. }));
        if features.kind(ProgramKind::UprobeSleepable).is_yes() {
            assert_eq!(features.helper(copy, ProgramKind::UprobeSleepable), Probe::Yes);
        }
    }

    // Kernel functions: one that is none for programs, one that is not there.
    assert!(matches!(features.kfunc("vfs_read", tp_btf), Probe::No { .. }));
    let absent = features.kfunc("bpf_teleport", tp_btf);
    assert_eq!(absent, Probe::No { why: "this kernel has no function `bpf_teleport`".into() });
    if btf.find_func("bpf_rdonly_cast").is_ok() {
        assert_eq!(features.kfunc("bpf_rdonly_cast", tp_btf), Probe::Yes);
    }
    // Some functions are for programs that may sleep only.
    if features.has(Feature::CopyFromUserStr) {
        let atomic = features.kfunc("bpf_copy_from_user_str", tp_btf);
        assert!(matches!(atomic, Probe::No { .. }), "{atomic}");
    }

    // Answers stay, can be carried elsewhere, and nothing is left behind.
    let target = features.record();
    let recorded = Features::recorded(target.clone());
    for feature in Feature::ALL {
        let answer = features.probe(*feature);
        assert_eq!(answer, recorded.probe(*feature));
        assert!(answer.why().is_none_or(|why| !why.is_empty()));
    }
    assert_eq!(recorded.helper(1, tp_btf), Probe::Yes);
    assert_eq!(recorded.compat(), features.compat());
    assert!(!target.release.is_empty());
    assert_eq!(open_objects().unwrap(), before);
}
