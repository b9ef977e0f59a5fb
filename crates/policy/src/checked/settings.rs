//! A policy's settings (`spec.options`) and mode.

use super::checker::Checker;
use crate::document::Setting;
use crate::problem::{Path, excerpt, hint};
use std::collections::HashSet;

/// Settings of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Never attach to many functions at once.
    pub disable_kprobe_multi: bool,
    /// Never attach to many places of programs at once.
    pub disable_uprobe_multi: bool,
    /// How results are replaced; `None`: as the kernel offers.
    pub override_method: Option<OverrideMethod>,
    /// The mode that is asked for; `None`: enforce.
    pub mode: Option<Mode>,
    /// Load it even where its enforcing actions cannot all be carried out.
    pub allow_degraded_enforcement: bool,
    /// Load it even where a rule without filters would stop every process.
    pub allow_unrestricted_enforcement: bool,
    /// Entries of the map in which text of user space is read ahead; `None`: the agent's own.
    pub sleepable_preload_size: Option<u32>,
}

/// How results of functions are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverrideMethod {
    /// By a `fmod_ret` program.
    FmodRet,
    /// By `bpf_override_return`.
    OverrideReturn,
}

/// Whether a policy's enforcing actions take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// They do.
    Enforce,
    /// They are only counted and named in events.
    Monitor,
    /// There are none, so the mode cannot be changed.
    MonitorOnly,
}

impl Mode {
    /// The mode that is in force, given what is asked for and whether there is an enforcing action.
    #[must_use]
    pub fn effective(asked: Option<Self>, enforcing: bool) -> Self {
        match asked {
            _ if !enforcing => Self::MonitorOnly,
            Some(Self::Monitor) => Self::Monitor,
            _ => Self::Enforce,
        }
    }
}

const NAMES: [&str; 7] = [
    "allow-degraded-enforcement",
    "allow-unrestricted-enforcement",
    "disable-kprobe-multi",
    "disable-uprobe-multi",
    "override-method",
    "policy-mode",
    "sleepable-preload-size",
];

pub(crate) fn check(written: &[Setting], path: &Path<'_>, checker: &mut Checker<'_>) -> Settings {
    let mut settings = Settings::default();
    let mut seen = HashSet::new();
    for (index, setting) in written.iter().enumerate() {
        let path = path.index(index);
        let name = setting.name.as_str();
        if NAMES.contains(&name) && !seen.insert(name) {
            checker.error(&path.key("name"), format!("option `{name}` is given twice"));
        }
        let text = setting.value.as_deref().unwrap_or_default();
        let at = path.key("value");
        match name {
            "allow-unrestricted-enforcement" => {
                settings.allow_unrestricted_enforcement =
                    checker.ok(&at, boolean(text)).unwrap_or_default();
            }
            "allow-degraded-enforcement" => {
                settings.allow_degraded_enforcement =
                    checker.ok(&at, boolean(text)).unwrap_or_default();
            }
            "disable-kprobe-multi" => {
                settings.disable_kprobe_multi = checker.ok(&at, boolean(text)).unwrap_or_default();
            }
            "disable-uprobe-multi" => {
                settings.disable_uprobe_multi = checker.ok(&at, boolean(text)).unwrap_or_default();
            }
            "override-method" => {
                let choices = [
                    ("fmod-ret", OverrideMethod::FmodRet),
                    ("override-return", OverrideMethod::OverrideReturn),
                ];
                settings.override_method = checker.ok(&at, choice(text, &choices));
            }
            "policy-mode" => {
                let choices = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];
                settings.mode = checker.ok(&at, choice(text, &choices));
            }
            "sleepable-preload-size" => {
                let size = text.parse().ok().filter(|size| *size > 0).ok_or_else(|| {
                    format!("`{}` is no size: write a number above 0", excerpt(text))
                });
                settings.sleepable_preload_size = checker.ok(&at, size);
            }
            _ => {
                let message = format!(
                    "unknown option `{}` has no effect: {}",
                    excerpt(name),
                    hint(name, &NAMES)
                );
                checker.note(&path.key("name"), message);
            }
        }
    }
    settings
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("`{}` is no boolean: write true or false", excerpt(text))),
    }
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("`{}` is unknown: {}", excerpt(text), hint(text, &names))
    })
}

#[cfg(test)]
mod tests {
    use super::Mode;

    #[test]
    fn only_enforcing_policies_have_a_mode() {
        for (asked, enforcing, wanted) in [
            (None, true, Mode::Enforce),
            (Some(Mode::Enforce), true, Mode::Enforce),
            (Some(Mode::Monitor), true, Mode::Monitor),
            (None, false, Mode::MonitorOnly),
            (Some(Mode::Enforce), false, Mode::MonitorOnly),
            (Some(Mode::Monitor), false, Mode::MonitorOnly),
        ] {
            assert_eq!(Mode::effective(asked, enforcing), wanted, "{asked:?} {enforcing}");
        }
    }
}
