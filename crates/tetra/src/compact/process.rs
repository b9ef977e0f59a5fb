//! Lines of processes: exec, exit, mapped libraries, and throttled cgroups.

use api::tetragon::{ProcessExec, ProcessExit, ProcessLoader, ProcessThrottle, ThrottleType};

use super::Subject;
use super::style::{Colour, Style, quoted, quoted_words, tag};

pub(super) fn exec(subject: &Subject<'_>, _: &ProcessExec) -> String {
    let arguments = subject.value(&quoted_words(&subject.process.arguments));
    subject.line("🚀", "process", &[&arguments])
}

pub(super) fn exit(subject: &Subject<'_>, exit: &ProcessExit) -> String {
    let arguments = subject.value(&quoted_words(&subject.process.arguments));
    let status = match exit.signal.as_str() {
        "" => exit.status.to_string(),
        signal => quoted(signal).into_owned(),
    };
    subject.line("💥", "exit", &[&arguments, &subject.style.paint(Colour::Red, &status)])
}

pub(super) fn loader(subject: &Subject<'_>, loader: &ProcessLoader) -> String {
    let path = subject.style.paint(Colour::Yellow, &quoted(&loader.path));
    if loader.buildid.is_empty() {
        return subject.line("🧬", "loader", &[&path]);
    }
    let id: String = loader.buildid.iter().map(|byte| format!("{byte:02x}")).collect();
    subject.line("🧬", "loader", &[&id, &path])
}

pub(super) fn throttle(style: Style, throttle: &ProcessThrottle) -> String {
    let what = match throttle.r#type() {
        ThrottleType::ThrottleStart => style.paint(Colour::Red, "START"),
        ThrottleType::ThrottleStop => style.paint(Colour::Green, "STOP "),
        ThrottleType::ThrottleUnknown => String::new(),
    };
    // Older agents leave the padding of the kernel's buffer on the name.
    let cgroup = quoted(throttle.cgroup.trim_end_matches('\0'));
    format!("{} {what} {cgroup}", tag(style, Colour::Red, "🧬", "throttle"))
}
