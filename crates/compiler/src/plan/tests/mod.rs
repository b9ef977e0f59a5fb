//! Tests of plans: on an invented kernel, and on the types of the running one.

use super::*;
use crate::Machine;
use crate::invented::{ALL, Invented, features, target};
use kernel::btf::Btf;
use kernel::features::{Feature, Features, Target};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEAD: &str =
    "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n";

/// What a machine makes of a spec.
fn plan(machine: &Machine, spec: &str) -> Result<Plan, policy::Problems> {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let policy = CheckedPolicy::read("p", &format!("{HEAD}{indented}"));
    Plan::new(Arc::new(policy.unwrap_or_else(|problems| panic!("{problems}\n{spec}"))), machine)
}

/// `rules.txt` holds cases: the spec of a policy, and after `=>` its plan or what is said about it, with
/// the spec's lines counted from 1. With the environment variable BLESS set, the answers are written
/// anew.
#[test]
fn every_rule_speaks() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/tests/rules.txt");
    let text = std::fs::read_to_string(&file).unwrap();
    let invented = Invented::new("rules");
    let mut blessed = String::new();
    let mut cases = 0;
    for case in text.split("---\n") {
        let (spec, _) = case.split_once("=>\n").unwrap_or((case, ""));
        let machine = invented.machine(&features(spec));
        let said = match plan(&machine, spec) {
            Ok(plan) => moved(&plan.to_string()),
            Err(problems) => moved(&format!("{problems}\n")),
        };
        let separator = if cases == 0 { "" } else { "---\n" };
        let answered = format!("{spec}=>\n{said}");
        if std::env::var_os("BLESS").is_none() && case != answered {
            panic!(
                "should be\n{case}but is\n{answered}run with BLESS=1 if the new answer is right"
            );
        }
        write!(blessed, "{separator}{answered}").unwrap();
        cases += 1;
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, blessed).unwrap();
    }
    assert!(cases >= 30, "only {cases} cases");
}

/// Places (`p:9:5 spec...`) by the spec's own lines and columns.
fn moved(text: &str) -> String {
    let head = HEAD.lines().count();
    let line = |line: &str| {
        let (before, after) = match line.split_once("p:") {
            Some((before @ ("" | "note: "), after)) => (before, after),
            _ => return format!("{line}\n"),
        };
        let mut parts = after.splitn(3, [':', ' ']);
        let mut number = || parts.next().unwrap().parse::<usize>().unwrap();
        let (line, column) = (number() - head, number() - 2);
        format!("{before}p:{line}:{column} {}\n", parts.next().unwrap())
    };
    text.lines().map(line).collect()
}

#[test]
fn sources_and_loads_are_those_of_the_types() {
    let files = Invented::new("loads");
    let machine = files.machine(ALL);
    let spec = "
kprobes:
- call: security_file_open
  syscall: false
  args:
  - {index: 0, type: auto}
  - {index: 0, type: auto, resolve: f_path.dentry.d_name.name}
  - {index: 0, type: auto, resolve: f_path}
  data:
  - {index: 0, type: auto, source: current_task, resolve: cred.uid}
  - {index: 0, type: char_buf, source: current_task, resolve: digest}
";
    let plan = plan(&machine, spec).unwrap();
    let hook = &plan.hooks[0];
    let file = machine.btf.find_struct("file").unwrap();
    let source = Source::Argument { index: 0, pointee: Some(file), hidden: false };
    assert!(hook.args.iter().all(|input| input.source == source));
    let loads = |input: &Input| -> Vec<(u32, u32)> {
        input.hops.iter().map(|hop| (hop.offset, hop.size)).collect()
    };
    assert_eq!(loads(&hook.args[0]), []);
    // file.f_path is at 16 and its dentry at 8 in it; dentry.d_name is at 32 and its name at 8 in it.
    assert_eq!(loads(&hook.args[1]), [(24, 8), (40, 8)]);
    assert_eq!((loads(&hook.args[2]), hook.args[2].kind), (vec![(16, 16)], TypeName::Path));
    assert_eq!(loads(&hook.data[0]), [(32, 8), (4, 4)]);
    assert_eq!(
        (hook.data[0].kind, hook.data[0].resolve.as_str()),
        (TypeName::Uint32, "cred.uid.val")
    );
    assert_eq!((loads(&hook.data[1]), hook.data[1].length.clone()), (vec![(48, 32)], None));
}

#[test]
fn the_verifier_knows_types_only_where_it_does() {
    let invented = Invented::new("typed");
    let pointee = |features: &[Feature], spec: &str| {
        let plan = plan(&invented.machine(features), spec).unwrap();
        match plan.hooks[0].args[0].source.clone() {
            Source::Argument { pointee, .. } => pointee.is_some(),
            other => panic!("{other:?}"),
        }
    };
    let function = "
kprobes:
- {call: tcp_connect, syscall: false, args: [{index: 0, type: sock}]}
";
    assert!(pointee(ALL, function));
    assert!(!pointee(&[Feature::Kprobe], function));
    assert!(pointee(ALL, "lsmhooks:\n- {hook: file_open, args: [{index: 0, type: file}]}\n"));
    let raw = "
tracepoints:
- {subsystem: sched, event: sched_process_exec, raw: true, args: [{index: 2, type: auto}]}
";
    assert!(pointee(ALL, raw));
    assert!(!pointee(ALL, "kprobes:\n- {call: sys_openat, args: [{index: 1, type: string}]}\n"));
}

#[test]
fn structures_in_registers_are_passed_on_where_trampolines_can() {
    let files = Invented::new("structures");
    let mut machine = files.machine(ALL);
    let spec = "kprobes:\n- {call: from_kuid, syscall: false, args: [{index: 1}]}\n";
    let attached = |machine: &Machine| plan(machine, spec).unwrap().hooks[0].attachment.clone();
    assert!(matches!(attached(&machine), Attachment::Trampoline { parameters: 2, .. }));
    let arm = Target { architecture: "aarch64".to_owned(), ..target(ALL) };
    machine.features = Features::recorded(arm);
    assert!(matches!(attached(&machine), Attachment::Kprobe { .. }));
}

#[test]
fn selectors_ask_the_type_that_the_kernel_gives() {
    let files = Invented::new("selectors");
    let machine = files.machine(ALL);
    let spec = "
kprobes:
- call: security_file_permission
  syscall: false
  args: [{index: 0}, {index: 1}]
  selectors:
  - matchArgs:
    - {index: 0, operator: Prefix, values: [/data/]}
    - {index: 1, operator: Equal, values: ['-1']}
";
    let plan = plan(&machine, spec).unwrap();
    use policy::checked::{Comparison, FilterTest};
    let tests: Vec<_> =
        plan.hooks[0].selectors[0].filters.iter().map(|filter| &filter.test).collect();
    let [FilterTest::Known(prefix), FilterTest::Known(equal)] = tests.as_slice() else {
        panic!("{tests:?}")
    };
    assert_eq!(prefix.comparison, Comparison::Prefix(vec![b"/data/".to_vec()]));
    assert_eq!(equal.comparison, Comparison::Integers(vec![-1..=-1]));
}

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

/// The running kernel's types with these features; `None` where it has no types.
fn described(features: &[Feature]) -> Option<Machine> {
    match Btf::vmlinux::<&str>(&[]) {
        Ok(btf) => Some(Machine::recorded(Arc::new(btf), target(features))),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// Policies that must have a plan on every kernel with trampolines, kprobes and BPF LSM.
const PLANNED: &[&str] = &[
    "file-monitoring.yaml",
    "filename_monitoring.yaml",
    "hardlink-observe.yaml",
    "kprobe_commit_creds.yaml",
    "list-syscalls.yaml",
    "list-syscalls-generated.yaml",
    "lsm_bprm_check.yaml",
    "modules-nohost.yaml",
    "openat_write.yaml",
    "privileges-setuid-root.yaml",
    "process-creds-installed.yaml",
    "process-exec-elf-begin.yaml",
    "restrict-symlink.yaml",
    "security-socket-connect-block-others.yaml",
    "security_bprm_check.yaml",
    "security_inode_follow_link.yaml",
    "symlink-observe.yaml",
    "sys_clock_settime.yaml",
    "sys_pivot_root.yaml",
    "sys_ptrace.yaml",
    "sys_setuid.yaml",
    "tcp-connect-only-private-addrs.yaml",
    "tcp-connect-with-selectors.yaml",
    "tcp-connect.yaml",
    "write.yaml",
];

/// Why others may be refused.
const REASONS: &[&str] = &[
    "this build",
    // programs that are not on this machine, or without names
    "No such file or directory",
    "its name was stripped",
    "the tracing file system is not mounted",
    "this kernel's BTF has no function",
    // before Linux 6.9
    "security_inode_copy_up_xattr(struct dentry *src, const char *name)",
    // `tty_write` of before Linux 5.10
    "tty_write(struct kiocb",
];

#[test]
fn users_policies_are_planned_or_refused_for_a_reason() {
    let Some(machine) = described(ALL) else { return };
    if !std::env::consts::ARCH.starts_with("x86_64") {
        return println!("skipped: the features are those of x86-64");
    }
    let mut unexpected = String::new();
    for file in ["intro", "field"].into_iter().flat_map(policies) {
        let name = file.file_name().unwrap().to_str().unwrap();
        // Templates are no policies.
        let Ok(policy) = CheckedPolicy::read(name, &std::fs::read_to_string(&file).unwrap()) else {
            continue;
        };
        match Plan::new(Arc::new(policy), &machine) {
            Ok(plan) => {
                crate::protect::check(&plan).unwrap_or_else(|problems| panic!("{problems}"));
                let kinds: std::collections::BTreeSet<_> =
                    plan.hooks.iter().map(|hook| hook.attachment.to_string()).collect();
                let shown: Vec<_> = kinds.into_iter().take(4).collect();
                println!("{name:45} {:4} hooks: {}", plan.hooks.len(), shown.join(", "));
            }
            Err(problems) => {
                println!("{problems}");
                let known = |problem: &policy::Problem| {
                    REASONS.iter().any(|reason| problem.message.contains(reason))
                };
                let unknown = !problems.list.iter().all(known);
                if unknown || PLANNED.contains(&name) {
                    writeln!(unexpected, "{problems}").unwrap();
                }
            }
        }
    }
    assert!(unexpected.is_empty(), "{unexpected}");
}

#[test]
fn the_introduction_needs_no_more_than_typed_tracepoints_for_system_calls() {
    let Some(machine) = described(&[Feature::TpBtf]) else { return };
    let Some(file) =
        policies("intro").into_iter().find(|file| file.ends_with("restrict-symlink.yaml"))
    else {
        return;
    };
    let policy = CheckedPolicy::read("p", &std::fs::read_to_string(file).unwrap()).unwrap();
    let plan = Plan::new(Arc::new(policy), &machine).unwrap();
    let hook = &plan.hooks[0];
    assert_eq!(hook.attachment, Attachment::Syscall { number: 266, compat: false });
    assert_eq!(hook.event, EventKind::Kprobe { function: "__x64_sys_symlinkat".to_owned() });
    assert!(!hook.attachment.is_compat() && !hook.at_return());
}

#[test]
fn what_is_inferred_can_be_read() {
    let Some(machine) = described(ALL) else { return };
    let btf = machine.btf.clone();
    let (mut planned, mut refused) = (0, std::collections::BTreeMap::new());
    for (id, name) in btf.list_funcs().step_by(11) {
        let count = btf.prototype(id).unwrap().params.len();
        let args: Vec<_> = (0..count).map(|index| format!("{{index: {index}}}")).collect();
        let args = args.join(", ");
        let spec = format!("kprobes:\n- {{call: {name}, syscall: false, args: [{args}]}}\n");
        let plan = match plan(&machine, &spec) {
            Ok(plan) => plan,
            Err(problems) => {
                for problem in problems.list {
                    let known =
                        ["no type stands for", "not in a register", "by value", "needs a length"];
                    let message = problem.message;
                    let why = known.into_iter().find(|known| message.contains(known));
                    let why = why.unwrap_or_else(|| panic!("{name}: {message}"));
                    *refused.entry(why).or_insert(0) += 1;
                }
                continue;
            }
        };
        planned += 1;
        let [hook] = plan.hooks.as_slice() else { panic!("{name}: {plan}") };
        assert_eq!(hook.args.len(), count, "{name}");
        for input in &hook.args {
            assert_ne!(input.kind, TypeName::Auto, "{name}");
            let Source::Argument { pointee, .. } = &input.source else { panic!("{name}") };
            let typed = matches!(hook.attachment, Attachment::Trampoline { .. });
            assert!(pointee.is_none_or(|to| typed && btf.is_composite(to)), "{name}");
        }
    }
    println!("{planned} planned, refused: {refused:?}");
    assert!(planned > 100 || refused.is_empty());
}

#[test]
fn all_system_calls_are_those_that_the_kernel_is_known_to_serve() {
    let spec = "lists: [{name: all, type: generated_syscalls}]\nkprobes:\n- {call: 'list:all'}\n";
    let served = |machine: &Machine| -> Vec<String> {
        let plan = plan(machine, spec).unwrap();
        let name = |hook: &Arc<HookPlan>| match &hook.event {
            EventKind::Kprobe { function } => function.clone(),
            other => panic!("{other:?}"),
        };
        plan.hooks.iter().map(name).collect()
    };
    let files = Invented::new("served");
    let invented = files.machine(ALL);
    let typed = ["__x64_sys_stat", "__x64_sys_connect", "__x64_sys_openat"];
    // The symbols of those without arguments are known of the running kernel only.
    let recorded = Machine::recorded(invented.btf.clone(), target(ALL));
    assert_eq!(served(&recorded), typed);
    let all = served(&invented);
    assert!(typed.iter().all(|name| all.contains(&(*name).to_owned())), "{all:?}");
    assert!(all.contains(&"__x64_sys_getuid".to_owned()) && all.len() == 5, "{all:?}");
}

#[test]
fn what_records_of_tracepoints_hold_can_be_read() {
    let (Some(mut machine), Ok(tracefs)) = (described(ALL), kernel::tracefs::Tracefs::find())
    else {
        return println!("skipped: no types or no tracing file system");
    };
    let mut refused = std::collections::BTreeMap::new();
    let mut fields = 0;
    machine.tracefs = Some(tracefs.clone());
    for subsystem in tracefs.subsystems().unwrap() {
        for event in tracefs.events(&subsystem).unwrap().into_iter().step_by(7) {
            // Some groups are there for ftrace itself and have no format.
            let Ok(format) = tracefs.event(&subsystem, &event) else { continue };
            for index in 0..format.fields.len() {
                let head = format!("subsystem: {subsystem}, event: {event}");
                let spec = format!("tracepoints:\n- {{{head}, args: [{{index: {index}}}]}}\n");
                fields += 1;
                let Err(problems) = plan(&machine, &spec) else { continue };
                let message = &problems.list[0].message;
                let known = ["no type stands for", "do not see"];
                let why = known.into_iter().find(|known| message.contains(known));
                let why = why.unwrap_or_else(|| panic!("{subsystem}/{event}: {message}"));
                *refused.entry(why).or_insert(0) += 1;
            }
        }
    }
    println!("{fields} fields, refused: {refused:?}");
    assert!(fields > 500);
}

#[test]
fn calls_of_32_bit_programs_are_known_whatever_the_attachment() {
    let files = Invented::new("compat");
    let spec = "
kprobes:
- {call: __ia32_sys_openat}
- {call: sys_openat}
- {call: tcp_connect, syscall: false}
";
    for features in [&[Feature::Fentry, Feature::Kprobe][..], &[Feature::Kprobe, Feature::TpBtf]] {
        let plan = plan(&files.machine(features), spec).unwrap();
        let compat: Vec<_> = plan.hooks.iter().map(|hook| hook.attachment.is_compat()).collect();
        assert_eq!(compat, [true, false, false], "{plan}");
    }
    let calls = "kprobes:\n- {call: __ia32_sys_openat}\n- {call: sys_openat}\n";
    let plan = plan(&files.machine(&[Feature::TpBtf]), calls).unwrap();
    let compat: Vec<_> = plan.hooks.iter().map(|hook| hook.attachment.is_compat()).collect();
    assert_eq!(compat, [true, false]);
}

#[test]
fn what_enforcing_actions_become_is_told() {
    let text = "kprobes:\n- call: sys_symlinkat\n  syscall: true\n  selectors:\n  - matchActions: [{action: \
                Sigkill}, {action: Override, argError: -1}]\n- call: sys_mkdir\n  syscall: true\n";
    let told = |features: &[Feature]| {
        let plan = plan(&described(features)?, text).unwrap();
        assert!(plan.effects(&plan.policy.hooks[1]).is_empty());
        let effects = plan.effects(&plan.policy.hooks[0]);
        assert!(effects.iter().all(|effect| effect.selector == 0 && effect.becomes.len() == 1));
        let told = effects
            .into_iter()
            .map(|effect| (effect.action, effect.becomes.concat(), effect.in_full));
        Some(told.collect::<Vec<_>>())
    };
    let Some(by_lsm) = told(&[Feature::TpBtf, Feature::Lsm]) else { return };
    let kill = ("Sigkill".to_owned(), "signal sent at the entry".to_owned(), true);
    let denied = ("Override -1".to_owned(), "denied by LSM, at inode_symlink".to_owned(), true);
    assert_eq!(by_lsm, [kill.clone(), denied]);
    let nowhere = told(&[Feature::TpBtf]).unwrap();
    assert_eq!(nowhere[0], kill);
    let (action, becomes, in_full) = &nowhere[1];
    assert_eq!((action.as_str(), *in_full), ("Override -1", false));
    assert!(becomes.starts_with("not carried out: this kernel runs no LSM programs"), "{becomes}");
}
