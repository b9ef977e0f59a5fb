//! A path says where a file is, not which one: a hard link, a rename or a bind mount gives it another.

use policy::checked::{Comparison, Filter, FilterTest, Subject};
use policy::document::TypeName;

use super::{At, Rule};
use crate::plan::{EventKind, HookPlan};

/// What makes another name, and the LSM hook that is asked before.
const WAYS: [(&str, &[&str]); 3] = [
    ("a hard link", &["inode_link", "path_link"]),
    ("a rename", &["inode_rename", "path_rename"]),
    ("a bind mount", &["sb_mount"]),
];

pub(super) fn judge(rule: &Rule<'_>) -> Option<String> {
    let At::Security(at) = rule.at else { return None };
    let is_path = |filter: &&Filter| {
        let kind = match filter.subject {
            Subject::Argument(index) => rule.hook.args.get(index).map(|input| input.kind),
            Subject::Data(index) => rule.hook.data.get(index).map(|input| input.kind),
            _ => None,
        };
        kind.is_some_and(names_a_file) && is_text(&filter.test)
    };
    if !rule.selector.filters.iter().any(|filter| is_path(&filter)) {
        return None;
    }
    let hooked = |hooks: &[&str]| rule.plan.hooks.iter().any(|hook| is_at(hook, hooks));
    let open = WAYS.iter().filter(|(_, hooks)| !hooks.contains(&at) && !hooked(hooks));
    let open: Vec<String> =
        open.map(|(way, hooks)| format!("{way} ({})", hooks.first().unwrap_or(&""))).collect();
    if open.is_empty() {
        return None;
    }
    Some(format!(
        "a path is where a file is, not which one: who may make {} gives it another; hook those too",
        super::joined(&open).replace(" and ", " or ")
    ))
}

fn names_a_file(kind: TypeName) -> bool {
    matches!(
        kind,
        TypeName::File | TypeName::Path | TypeName::Dentry | TypeName::Fd | TypeName::Kiocb
    )
}

/// Whether it asks for a name, and not for the type of the file.
fn is_text(test: &FilterTest) -> bool {
    let FilterTest::Known(test) = test else { return false };
    matches!(
        test.comparison,
        Comparison::Equal(_)
            | Comparison::Prefix(_)
            | Comparison::Postfix(_)
            | Comparison::Contains(_)
            | Comparison::ContainsIgnoringCase(_)
    )
}

fn is_at(hook: &HookPlan, hooks: &[&str]) -> bool {
    match &hook.event {
        EventKind::Lsm { hook } => hooks.contains(&hook.as_str()),
        EventKind::Kprobe { function } => {
            function.strip_prefix("security_").is_some_and(|name| hooks.contains(&name))
        }
        _ => false,
    }
}
