//! One policy that users write: what has to be there for it, what makes it report, and what it then says.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::event::{Event, Events};
use crate::lab::Lab;

/// A policy and what becomes of it.
pub(super) struct Case {
    /// Name of the file.
    pub(super) file: &'static str,
    /// What users put in place of words that stand for something else.
    pub(super) filled: &'static [(&'static str, &'static str)],
    /// Makes the files that it names, before it is added.
    pub(super) prepare: fn(&Lab) -> Result<()>,
    /// Does what it reports, and looks whether that had the effect that it should have.
    pub(super) provoke: fn(&Lab) -> Result<()>,
    /// What it provokes is stopped by the policy: looking at it fails where the policy is not in force.
    pub(super) stopped: bool,
    /// What has to be reported then.
    pub(super) reports: &'static [Report],
    /// Why no event can be provoked on this kernel, if so.
    pub(super) never: fn() -> Result<Option<String>>,
}

/// An event that has to come.
pub(super) struct Report {
    /// `process_kprobe` and so on.
    pub(super) kind: &'static str,
    /// Members, by path, and what they have to be; `*` at one end of a text stands for anything, `|` stands
    /// between alternatives.
    pub(super) members: &'static [(&'static str, &'static str)],
}

impl Case {
    /// A policy that is only loaded.
    pub(super) const fn new(file: &'static str) -> Self {
        Self {
            file,
            filled: &[],
            prepare: |_| Ok(()),
            provoke: |_| Ok(()),
            stopped: false,
            reports: &[],
            never: || Ok(None),
        }
    }

    /// The same with words that are replaced.
    pub(super) const fn filled(self, filled: &'static [(&'static str, &'static str)]) -> Self {
        Self { filled, ..self }
    }

    /// The same with something to be made before.
    pub(super) const fn prepare(self, prepare: fn(&Lab) -> Result<()>) -> Self {
        Self { prepare, ..self }
    }

    /// The same with something that it reports.
    pub(super) const fn provoke(self, provoke: fn(&Lab) -> Result<()>) -> Self {
        Self { provoke, ..self }
    }

    /// The same with something that it stops, or changes: an error when that happens all the same. It is
    /// done without the policy, too.
    pub(super) const fn stops(self, provoke: fn(&Lab) -> Result<()>) -> Self {
        Self { provoke, stopped: true, ..self }
    }

    /// The same with events that have to come.
    pub(super) const fn reports(self, reports: &'static [Report]) -> Self {
        Self { reports, ..self }
    }

    /// The same where no event may be possible.
    pub(super) const fn never(self, never: fn() -> Result<Option<String>>) -> Self {
        Self { never, ..self }
    }

    /// The policy, as it stands in the file or with words replaced.
    pub(super) fn text(&self, file: &Path) -> Result<String> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Ok(self.filled.iter().fold(text, |text, (word, other)| text.replace(word, other)))
    }
}

impl Report {
    /// Of a kernel function.
    pub(super) const fn call(members: &'static [(&'static str, &'static str)]) -> Self {
        Self { kind: "process_kprobe", members }
    }

    /// Of another kind.
    pub(super) const fn of(
        kind: &'static str,
        members: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { kind, members }
    }

    /// The first of the events that is the one wanted.
    pub(super) fn among<'a>(&self, events: &'a Events, since: usize) -> Option<&'a Event> {
        events.0.iter().skip(since).find(|event| self.is(event))
    }

    fn is(&self, event: &Event) -> bool {
        event.kind() == self.kind
            && self.members.iter().all(|(path, wanted)| {
                let found = match event.at(path) {
                    serde_json::Value::String(text) => text.clone(),
                    serde_json::Value::Null => String::new(),
                    other => other.to_string(),
                };
                wanted.split('|').any(|wanted| is_like(&found, wanted))
            })
    }
}

fn is_like(text: &str, wanted: &str) -> bool {
    match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(end), _) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => text == wanted,
    }
}

/// Makes a path that a policy names an executable: a copy of this one, for use as `tool`.
pub(super) fn tool_at(path: &str) -> Result<()> {
    put(path, &fs::read(std::env::current_exe()?)?)
}

/// The same, of busybox.
pub(super) fn busybox_at(lab: &Lab, path: &str) -> Result<()> {
    put(path, &fs::read(lab.binary("busybox")?)?)
}

/// Writes an executable file, with the directories above it, in place of one that may be there.
pub(super) fn put(path: &str, content: &[u8]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = PathBuf::from(path);
    fs::create_dir_all(path.parent().context("a path without a directory")?)?;
    // A new file: the old one may be running.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::write(&path, content).with_context(|| path.display().to_string())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_by_their_members() {
        let line = r#"{"process_kprobe":{"function_name":"__x64_sys_dup",
            "args":[{"int_arg":0},{"file_arg":{"path":"/etc/x"}}]}}"#;
        let events = Events(vec![Event::parse(line).unwrap()]);
        let is =
            |members: &'static [(&str, &str)]| Report::call(members).among(&events, 0).is_some();
        assert!(is(&[("function_name", "*_sys_dup"), ("args.0.int_arg", "0")]));
        assert!(is(&[("function_name", "sys_dup|__x64_*"), ("args.1.file_arg.path", "/etc/x")]));
        assert!(is(&[("return", "")]));
        assert!(!is(&[("args.0.int_arg", "1")]) && !is(&[("function_name", "sys_dup")]));
        assert!(Report::of("process_lsm", &[]).among(&events, 0).is_none());
        assert!(Report::call(&[]).among(&events, 1).is_none());
    }
}
