//! `tetra probe`: what this machine's kernel can do, and how it was built. Asks the kernel, not
//! the agent.

use kernel::kconfig::{ConfigValue, KernelConfig};

use crate::error::Error;

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
