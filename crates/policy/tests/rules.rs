//! What is refused, where, and in which words.
//!
//! `rules.txt` holds cases: the spec of a policy, and after `=>` what is said about it. With the
//! environment variable BLESS set, the answers are written anew.

use policy::CheckedPolicy;
use std::fmt::Write as _;
use std::path::Path;

const HEAD: &str =
    "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n";

/// The problems of a spec, with its lines counted from 1.
fn problems(spec: &str) -> String {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    match CheckedPolicy::read("p", &format!("{HEAD}{indented}")) {
        Ok(_) => String::new(),
        Err(problems) => {
            let list = problems.list.into_iter().map(|mut problem| {
                problem.mark.line -= HEAD.lines().count();
                problem.mark.column -= 2;
                problem.line("p") + "\n"
            });
            list.collect()
        }
    }
}

#[test]
fn every_rule_speaks() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules.txt");
    let text = std::fs::read_to_string(&file).expect("the cases can be read");
    let mut blessed = String::new();
    let mut cases = 0;
    for case in text.split("---\n") {
        let (spec, _) = case.split_once("=>\n").unwrap_or((case, ""));
        let comments = spec.lines().take_while(|line| line.starts_with('#')).count();
        let body: String = spec.lines().skip(comments).map(|line| format!("{line}\n")).collect();
        let said = problems(&body);
        assert!(!said.is_empty(), "nothing is wrong with\n{body}");
        let separator = if cases == 0 { "" } else { "---\n" };
        write!(blessed, "{separator}{spec}=>\n{said}").expect("a string takes everything");
        cases += 1;
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, blessed).expect("the answers can be written");
    } else {
        assert_eq!(text, blessed, "run with BLESS=1 if the new answers are right");
    }
    assert!(cases >= 25, "only {cases} cases");
}
