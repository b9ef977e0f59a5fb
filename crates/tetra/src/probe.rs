//! `tetra probe`: what this machine's kernel can do, and how it was built. Asks the kernel, not
//! the agent.

use std::sync::Arc;

use kernel::btf::{Btf, KERNEL_BTF};
use kernel::capability::{self, Capabilities};
use kernel::features::{Features, Probe};
use kernel::kconfig::{ConfigValue, KernelConfig};

use crate::error::Error;
use crate::output::complain;

/// Settings that matter to tracing, in order.
const OPTIONS: [&str; 15] = [
    "AUDIT",
    "AUDITSYSCALL",
    "BPF",
    "BPF_EVENTS",
    "BPF_JIT",
    "BPF_JIT_DEFAULT_ON",
    "BPF_KPROBE_OVERRIDE",
    "BPF_SYSCALL",
    "CGROUPS",
    "DEBUG_INFO_BTF",
    "DEBUG_INFO_BTF_MODULES",
    "FTRACE_SYSCALLS",
    "HAVE_BPF_JIT",
    "HAVE_EBPF_JIT",
    "SECURITY",
];

/// Everything that is known of the features, as [`kernel::features::Target`] is read.
pub(crate) fn record() -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(&running()?.record())? + "\n")
}

fn running() -> Result<Features, Error> {
    let failed = |cause: &dyn std::fmt::Display| Error::Kernel(cause.to_string());
    let mine = capability::effective().map_err(|cause| failed(&cause))?;
    if !mine.contains(Capabilities::SYS_ADMIN) {
        complain("Warning: without CAP_SYS_ADMIN most of this cannot be found out: run as root");
    }
    let btf = Btf::from_file(KERNEL_BTF).map_err(|cause| failed(&cause))?;
    Ok(Features::running(Arc::new(btf)))
}

/// `name: true` or `name: false` for each feature. What could not be found out counts as false; with
/// `why`, each false one is followed by its reason, behind ` # `.
pub(crate) fn features(why: bool) -> Result<String, Error> {
    Ok(feature_lines(&running()?.compat(), why))
}

fn feature_lines(features: &[(&str, Probe)], why: bool) -> String {
    let mut text = String::new();
    for (name, probe) in features {
        text.push_str(&format!("{name}: {}", probe.is_yes()));
        if let (true, Some(reason)) = (why, probe.why()) {
            let doubt = if matches!(probe, Probe::Unknown { .. }) { "not known: " } else { "" };
            let words: Vec<&str> = reason.split_whitespace().collect();
            text.push_str(&format!(" # {doubt}{}", words.join(" ")));
        }
        text.push('\n');
    }
    text
}

/// `CONFIG_X:y` for each of [`OPTIONS`]; `n` for those that are not set.
pub(crate) fn config() -> Result<String, Error> {
    let config = KernelConfig::read().map_err(|cause| Error::Kernel(cause.to_string()))?;
    Ok(lines(&config))
}

fn lines(config: &KernelConfig) -> String {
    let mut text = String::new();
    for option in OPTIONS {
        let name = format!("CONFIG_{option}");
        let value = match config.get(&name) {
            None => "n",
            Some(ConfigValue::Yes) => "y",
            Some(ConfigValue::Module) => "m",
            Some(ConfigValue::Text(text)) => text,
        };
        text.push_str(&format!("{name}:{value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_line_for_each_feature() {
        let features = [
            ("fentry", Probe::Yes),
            ("lsm", Probe::No { why: "not in\n/sys/kernel/security/lsm".into() }),
            ("large", Probe::Unknown { why: "no privilege".into() }),
        ];
        assert_eq!(feature_lines(&features, false), "fentry: true\nlsm: false\nlarge: false\n");
        assert_eq!(
            feature_lines(&features, true),
            "fentry: true\n\
             lsm: false # not in /sys/kernel/security/lsm\n\
             large: false # not known: no privilege\n"
        );
    }

    #[test]
    fn a_line_for_each_setting() {
        let file = "CONFIG_BPF=y\n# CONFIG_AUDIT is not set\nCONFIG_SECURITY=m\n";
        let config = KernelConfig::from_bytes(file.as_bytes(), Path::new("config")).unwrap();
        let text = lines(&config);
        assert_eq!(text.lines().count(), OPTIONS.len());
        assert!(OPTIONS.is_sorted());
        for line in ["CONFIG_AUDIT:n", "CONFIG_BPF:y", "CONFIG_SECURITY:m", "CONFIG_CGROUPS:n"] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }
}
