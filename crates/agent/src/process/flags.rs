//! The `flags` text of a process: words in a fixed order.
//!
//! Clients compare the whole text (`execve clone`), so the order never changes. Words that this agent
//! added (`truncEnvs`, `truncExe`) appear only where the text would otherwise hide a cut.

use compiler::base::record::Flags;

/// Words that follow from a flag alone, up to where the working directory speaks.
const BEFORE_CWD: [(Flags, &str); 8] = [
    (Flags::EXECVE, "execve"),
    (Flags::PROCFS, "procFS"),
    (Flags::ERROR_ENVS, "errorEnvs"),
    (Flags::TRUNC_ENVS, "truncEnvs"),
    (Flags::TRUNC_ARGS, "truncArgs"),
    (Flags::NO_STATE, "miss"),
    (Flags::ERROR_FILENAME, "errorFilename"),
    (Flags::ERROR_ARGS, "errorArgs"),
];

/// Those behind it.
const AFTER_CWD: [(Flags, &str); 7] = [
    (Flags::ERROR_CWD, "errorCWD"),
    (Flags::CLONE, "clone"),
    (Flags::ERROR_CGROUP_NAME, "errorCgroupName"),
    (Flags::ERROR_CGROUP_ID, "errorCgroupID"),
    (Flags::TRUNC_CWD, "errorPathResolutionCwd"),
    (Flags::TRUNC_EXE, "truncExe"),
    (Flags::IN_INIT_TREE, "inInitTree"),
];

/// The words for `flags` of an image with this working directory.
pub fn text(flags: Flags, cwd: &str) -> String {
    let mut text = String::with_capacity(32);
    let mut word = |word| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    };
    for (flag, name) in BEFORE_CWD {
        if flags.contains(flag) {
            word(name);
        }
    }
    // A process that only forked has its parent's directory, which nobody read for it.
    if flags.intersects(Flags::EXECVE | Flags::PROCFS) {
        match cwd {
            "" if !flags.contains(Flags::ERROR_CWD) => word("nocwd"),
            "/" => word("rootcwd"),
            _ => {}
        }
    }
    for (flag, name) in AFTER_CWD {
        if flags.contains(flag) {
            word(name);
        }
    }
    text
}

/// Marks a process that nothing but its identity is known of.
pub fn add_unknown(text: &mut String) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str("unknown");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_texts() {
        let cases = [
            (Flags::EXECVE | Flags::CLONE, "/home", "execve clone"),
            (Flags::EXECVE | Flags::CLONE, "/", "execve rootcwd clone"),
            (Flags::EXECVE, "/tmp", "execve"),
            (Flags::CLONE, "/", "clone"),
            (Flags::CLONE, "", "clone"),
            (Flags::PROCFS, "/", "procFS rootcwd"),
            (Flags::PROCFS, "", "procFS nocwd"),
            (Flags::PROCFS | Flags::ERROR_CWD, "", "procFS errorCWD"),
            (Flags::PROCFS | Flags::TRUNC_ARGS, "/x", "procFS truncArgs"),
            (Flags::CLONE | Flags::IN_INIT_TREE, "/", "clone inInitTree"),
            (Flags::KTHREAD | Flags::PROCFS, "/", "procFS rootcwd"),
        ];
        for (flags, cwd, expected) in cases {
            assert_eq!(text(flags, cwd), expected);
        }
    }

    #[test]
    fn order_is_fixed() {
        assert_eq!(
            text(Flags::all(), "/"),
            "execve procFS errorEnvs truncEnvs truncArgs miss errorFilename errorArgs rootcwd \
             errorCWD clone errorCgroupName errorCgroupID errorPathResolutionCwd truncExe \
             inInitTree"
        );
    }
}
