//! Tests of plans: on the types of the running kernel, with the features of several machines.

use super::*;
use crate::Machine;
use kernel::btf::Btf;
use kernel::features::{Feature, Probe, Target};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const HEAD: &str =
    "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n";

/// The types of the running kernel.
fn types() -> Arc<Btf> {
    static BTF: OnceLock<Arc<Btf>> = OnceLock::new();
    BTF.get_or_init(|| Arc::new(Btf::vmlinux::<&str>(&[]).unwrap())).clone()
}

/// A kernel with the types of the running one, and with these features only.
fn kernel(features: &[Feature]) -> Machine {
    let no = |_| Probe::No { why: "not in this test".to_owned() };
    let yes = features.iter().map(|feature| (feature.name().to_owned(), Probe::Yes));
    let answers = Feature::ALL.iter().map(|feature| (feature.name().to_owned(), no(feature)));
    let target = Target {
        release: "test".to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        answers: answers.chain(yes).collect(),
    };
    Machine::recorded(types(), target)
}

const ALL: &[Feature] = &[
    Feature::Fentry,
    Feature::Fexit,
    Feature::Kprobe,
    Feature::Kretprobe,
    Feature::Lsm,
    Feature::TpBtf,
    Feature::Tracepoint,
];
const KPROBES: &[Feature] = &[Feature::Kprobe, Feature::Kretprobe, Feature::TpBtf];

/// The policies beside the repository; empty where there are none.
fn policies(folder: &str) -> Vec<PathBuf> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/policies").join(folder);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: there is no {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map_while(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

#[test]
fn users_policies_are_planned_or_refused_for_a_reason() {
    let machine = kernel(ALL);
    for file in ["intro", "field"].into_iter().flat_map(policies) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let Ok(policy) = CheckedPolicy::read(name, &std::fs::read_to_string(&file).unwrap()) else {
            continue;
        };
        match Plan::new(Arc::new(policy), &machine) {
            Ok(plan) => println!("{name}: {} hooks\n{plan}", plan.hooks.len()),
            Err(problems) => println!("{name}: REFUSED\n{problems}"),
        }
    }
}
