//! Lines of probes in user space and of security hooks.

use api::tetragon::kprobe_argument::Arg;
use api::tetragon::{ProcessLsm, ProcessUprobe, ProcessUsdt};

use super::Subject;
use super::style::{Colour, Style, quoted};

pub(super) fn uprobe(subject: &Subject<'_>, hit: &ProcessUprobe) -> String {
    subject.line("🕵️", "uprobe", &[&quoted(&hit.path), &quoted(&hit.symbol)])
}

pub(super) fn usdt(subject: &Subject<'_>, hit: &ProcessUsdt) -> String {
    let parts = [quoted(&hit.path), quoted(&hit.provider), quoted(&hit.name)];
    subject.line("🕵️", "usdt", &[&parts[0], &parts[1], &parts[2]])
}

pub(super) fn lsm(subject: &Subject<'_>, hit: &ProcessLsm) -> String {
    subject.line("🔒", "LSM", &[&quoted(&hit.function_name)])
}

/// Path and digest of the file that a hook is about, for hooks whose first argument is one.
pub(super) fn write_ima_hash(out: &mut String, style: Style, hit: &ProcessLsm) {
    let path = match hit.args.first().and_then(|argument| argument.arg.as_ref()) {
        Some(Arg::FileArg(file)) => &file.path,
        Some(Arg::LinuxBinprmArg(binary)) => &binary.path,
        _ => return,
    };
    if hit.ima_hash.is_empty() || path.is_empty() {
        return;
    }
    out.push_str(&style.paint(Colour::Green, &format!("   {}", quoted(path))));
    out.push_str(&style.paint(Colour::Blue, &format!(" {}\n", quoted(&hit.ima_hash))));
}
