//! `tetra tracingpolicy add`, `modify`: a policy from a file, with its own mode or another.

use std::path::Path;

use api::tetragon::AddTracingPolicyRequest;
use tonic::Code;

use super::{Chosen, read};
use crate::error::Error;
use crate::server::Server;

/// What the agent calls the text of a policy that it was sent.
const SENT: &str = "policy:";

/// Puts the policy of a file in force. What is wrong with it is told by the file's name and lines.
pub(super) async fn add(
    server: &Server,
    file: &Path,
    mode: Option<Chosen>,
    domain: &str,
    replace: bool,
) -> Result<String, Error> {
    let text = read(file)?;
    let yaml = match mode {
        Some(mode) => with_mode(file, &text, mode)?,
        None => text.clone(),
    };
    let added_lines = AddedLines::between(&text, &yaml);
    let request = AddTracingPolicyRequest { yaml, domain: domain.to_owned(), replace };
    let added = server.call(async |client| client.add_tracing_policy(request.clone()).await).await;
    match added {
        Ok(_) => Ok(format!("tracing policy \"{}\" added\n", file.display())),
        // It is wrong; or the kernel does not take it.
        Err(Error::Refused {
            code: Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied,
            message,
            ..
        }) => Err(Error::Policy(renamed(&message, &file.display().to_string(), added_lines))),
        Err(Error::Refused { code: Code::AlreadyExists, message, .. }) => {
            Err(Error::Policy(format!(
                "{message}:\n`tetra tracingpolicy delete` does; --replace puts this one in its place \
                 without a gap; or choose another --domain"
            )))
        }
        Err(error) => Err(error),
    }
}

/// The policy of a file with another mode.
pub(super) fn set_mode(file: &Path, mode: Chosen) -> Result<String, Error> {
    with_mode(file, &read(file)?, mode)
}

fn with_mode(file: &Path, text: &str, mode: Chosen) -> Result<String, Error> {
    policy::set_mode(&file.display().to_string(), text, mode.into())
        .map_err(|problems| Error::Policy(problems.to_string()))
}

/// Lines that the text which is sent has and the file does not.
#[derive(Clone, Copy)]
struct AddedLines {
    /// How many lines stand before them.
    after: usize,
    number: usize,
}

impl AddedLines {
    fn between(file: &str, sent: &str) -> Self {
        let same = file.lines().zip(sent.lines()).take_while(|(file, sent)| file == sent);
        let number = sent.lines().count().saturating_sub(file.lines().count());
        Self { after: same.count(), number }
    }

    /// `LINE:COLUMN …` as of the file, of a place in what was sent.
    fn undo(self, place: &str) -> Option<String> {
        let (line, rest) = place.split_once(':')?;
        let line: usize = line.parse().ok()?;
        let behind = line > self.after + self.number;
        let line = if behind { line - self.number } else { line };
        Some(format!("{line}:{rest}"))
    }
}

/// The agent's message, with the file's name and lines where it speaks of the text that it was sent.
fn renamed(message: &str, file: &str, added: AddedLines) -> String {
    let line = |line: &str| match line.strip_prefix(SENT) {
        Some(rest) => format!("{file}:{}", added.undo(rest).unwrap_or_else(|| rest.to_owned())),
        None => line.to_owned(),
    };
    message.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_by_the_files_name() {
        let message = "policy:3:5 spec.x: wrong\npolicy: and 3 more\nelse";
        let expected = "a.yaml:3:5 spec.x: wrong\na.yaml: and 3 more\nelse";
        let none = AddedLines::between("a", "a");
        assert_eq!(renamed(message, "a.yaml", none), expected);
    }

    #[test]
    fn places_are_those_of_the_file_when_a_mode_is_set() {
        let file = "kind: X\nspec:\n  kprobes: 1\n  lists: 2\n";
        let sent = "kind: X\nspec:\n  options:\n  - a\n  kprobes: 1\n  lists: 2\n";
        let added = AddedLines::between(file, sent);
        let of_file = |message| renamed(message, "a.yaml", added);
        assert_eq!(of_file("policy:2:1 spec: x"), "a.yaml:2:1 spec: x");
        assert_eq!(of_file("policy:4:3 spec.options: x"), "a.yaml:4:3 spec.options: x");
        assert_eq!(of_file("policy:6:3 spec.lists: x"), "a.yaml:4:3 spec.lists: x");
        let changed = AddedLines::between(file, "kind: Y\nspec:\n  kprobes: 1\n  lists: 2\n");
        assert_eq!(renamed("policy:4:3 x", "a.yaml", changed), "a.yaml:4:3 x");
    }
}
