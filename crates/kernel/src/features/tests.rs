//! Tests of what failures mean, and of recorded targets. The running kernel is probed in
//! `tests/features.rs`, in a process of its own.

use super::*;
use crate::errno::Errno;
use crate::error::Error;
use crate::program::VerifierError;

fn load(errno: Errno) -> Error {
    Error::Load { program: "probe".into(), program_type: "tracing, trace_fentry".into(), errno }
}

fn rejected() -> Error {
    let log = "0: (85) call bpf_probe_write_user#36\nunknown func bpf_probe_write_user#36\n";
    Error::Rejected(Box::new(VerifierError::new("probe", Errno::EINVAL, log.into(), false)))
}

#[test]
fn a_refusal_counts_only_from_those_who_may_ask() {
    let no = |error, privileged| matches!(Probe::failed_as(&error, privileged), Probe::No { why } if !why.is_empty());
    for privileged in [true, false] {
        assert!(no(load(Errno::EINVAL), privileged));
        assert!(!no(load(Errno::ENOMEM), privileged));
        assert_eq!(no(load(Errno::EPERM), privileged), privileged);
        assert_eq!(no(rejected(), privileged), privileged);
        let file = |number| Error::File {
            action: "pin",
            path: "/sys/fs/bpf/probe".into(),
            source: Errno(number).into(),
        };
        assert!(!no(file(libc::EACCES), privileged));
        assert!(no(file(libc::EINVAL), privileged));
    }
    let why = Probe::failed_as(&load(Errno::EPERM), true).to_string();
    assert!(why.contains("although this process has the capabilities"), "{why}");
    let why = Probe::failed_as(&rejected(), true).to_string();
    assert!(why.contains("unknown func bpf_probe_write_user#36"), "{why}");
}

#[test]
fn every_feature_has_a_name_of_its_own() {
    for (at, feature) in Feature::ALL.iter().enumerate() {
        assert!(!Feature::ALL[..at].iter().any(|other| other.name() == feature.name()));
        assert!(feature.about().ends_with('.') || feature.about().contains(": "), "{feature}");
    }
    for kind in ProgramKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("kprobe.x".parse::<ProgramKind>().is_err());
}

#[test]
fn a_recorded_target_answers_what_was_asked() {
    let mut target =
        Target { release: "6.1.0".into(), architecture: "x86_64".into(), ..Target::default() };
    target.answers.insert("tp_btf".into(), Probe::Yes);
    target.answers.insert("kprobe".into(), Probe::no("no kprobes"));
    target.answers.insert("helper 181 in lsm.s".into(), Probe::Yes);
    let path = std::env::temp_dir().join(format!("target-test-{}.json", std::process::id()));
    target.write(&path).unwrap();
    let read = Target::read(&path);
    std::fs::write(&path, "{\"release\": 1}").unwrap();
    let broken = Target::read(&path);
    std::fs::remove_file(&path).unwrap();

    let read = read.unwrap();
    assert_eq!(read, target);
    let features = Features::recorded(read);
    assert!(features.has(Feature::TpBtf));
    assert_eq!(features.probe(Feature::Kprobe), Probe::no("no kprobes"));
    assert_eq!(features.helper(181, ProgramKind::LsmSleepable), Probe::Yes);
    let unasked = features.helper(181, ProgramKind::Lsm);
    assert!(
        matches!(&unasked, Probe::Unknown { why } if why.contains("`helper 181 in lsm`")),
        "{unasked}"
    );
    assert!(matches!(broken, Err(TargetError::Content { .. })));
    assert!(matches!(Target::read("/nonexistent"), Err(TargetError::File { .. })));
}

#[test]
fn reports_the_names_that_users_know() {
    let names: Vec<_> =
        Features::recorded(Target::default()).compat().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names.join(" "),
        "override_return buildid kprobe_multi uprobe_multi fmodret fmodret_syscall signal large \
         link_pin lsm missed_stats_kprobe_multi missed_stats_kprobe batch_update uprobe_refctroff \
         audit_loginuid probe_write_user uprobe_regs_change mix_bpf_and_tail_calls fentry \
         get_func_ret substring_kfunc copy_from_user_str"
    );
}
