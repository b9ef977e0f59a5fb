//! Golden files: policies, their plans, and the programs that they compile to on an
//! [invented kernel](crate::invented), in the compiler's form and as instructions. Each file in
//! `explain/golden` holds all of it, so that a change of the compiler shows as a change of these files.
//!
//! `BLESS=1 cargo test -p compiler golden` writes what the compiler gives now.
//!
//! A first line `# with` names what the kernel can do. Policies are divided by `---`. The functions that
//! every program has are in the file `shared.txt` and left out of the others.

use super::{Explained, explain};
use crate::invented::{Invented, features};
use crate::plan::Plan;
use policy::CheckedPolicy;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const PLAN: &str = "\n;;; plan\n";
/// The functions of every program, as [`program`](crate::emit::program) names them.
const SHARED: &[&str] = &["tg_acquire", "tg_path_step"];

/// The functions of a text in which each starts with a line of which `name` gives the name, but for
/// those whose name is [`SHARED`].
fn without_shared(text: &str, name: impl Fn(&str) -> Option<&str>) -> String {
    let mut shown = true;
    let mut kept = String::new();
    for line in text.lines() {
        if let Some(name) = name(line) {
            shown = !SHARED.contains(&name);
        }
        if shown {
            let _ = writeln!(kept, "{line}");
        }
    }
    kept
}

fn module_function(line: &str) -> Option<&str> {
    Some(line.strip_prefix("func ")?.split_once('(')?.0)
}

fn program_function(line: &str) -> Option<&str> {
    Some(line.split_once(": ; ")?.0)
}

fn run(name: &str, input: &str) -> String {
    let machine = Invented::new(&format!("golden-{name}")).machine(&features(input));
    let plans: Vec<Plan> = input
        .split("---\n")
        .map(|text| {
            let policy = CheckedPolicy::read("policy.yaml", text);
            let policy = policy.unwrap_or_else(|problems| panic!("{name}: {problems}"));
            Plan::new(Arc::new(policy), &machine).unwrap_or_else(|e| panic!("{name}: {e}"))
        })
        .collect();
    let mut text = format!("{input}{PLAN}");
    plans.iter().for_each(|plan| write!(text, "{plan}").unwrap());
    for Explained { place, module, program, .. } in explain(&plans, &machine).unwrap() {
        let (mut module, mut insns) = (module.to_string(), program.disassemble());
        if name != "shared" {
            module = without_shared(&module, module_function);
            insns = without_shared(&insns, program_function);
        }
        write!(text, "\n;;; program at {place}\n{module}\n;;; instructions\n{insns}").unwrap();
    }
    text
}

/// Programs of system calls and kprobes are of the architecture that the compiler is built for.
#[cfg(target_arch = "x86_64")]
#[test]
fn golden_files_are_what_policies_compile_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explain/golden");
    let bless = std::env::var_os("BLESS").is_some();
    let mut seen = 0;
    let mut differ = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let input = text.split(PLAN).next().unwrap_or_default().trim_end().to_owned() + "\n";
        let now = run(path.file_stem().unwrap().to_str().unwrap(), &input);
        seen += 1;
        if bless {
            fs::write(&path, now).unwrap();
        } else if now != text {
            differ.push(format!("{}:\n{now}", path.display()));
        }
    }
    assert!(seen > 0, "no golden files");
    assert!(differ.is_empty(), "BLESS=1 accepts what follows.\n{}", differ.join("\n"));
}
