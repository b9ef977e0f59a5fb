//! Paths of members, as policies and programs write them: `mm.exe_file.f_path`, `subsys[4].cgroup`.

use super::BtfError;

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Member(&'a str),
    Index(u32),
}

/// A parsed path: steps, each with where it ends in the text.
#[derive(Debug)]
pub(super) struct Path<'a> {
    pub(super) text: &'a str,
    steps: Vec<(Step<'a>, usize)>,
}

impl<'a> Path<'a> {
    /// Parses `name`, then any number of `.name` and `[number]`. A path may start with an index.
    pub(super) fn parse(text: &'a str) -> Result<Self, BtfError> {
        let bad = |what, at| BtfError::BadPath { path: text.into(), what, at };
        let mut steps = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            if let Some(index) = rest.strip_prefix('[') {
                let length = index.find(']').ok_or(bad("`[` without `]`", at))?;
                let digits = &index[..length];
                // `parse` alone would take a sign.
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let number = digits.parse().ok().filter(|_| plain);
                let number = number.ok_or(bad("an index is a decimal number", at + 1))?;
                at += length + 2;
                steps.push((Step::Index(number), at));
                continue;
            }
            let name = match (rest.strip_prefix('.'), at) {
                (Some(name), 1..) => name,
                (None, 0) => rest,
                _ => return Err(bad("expected a member name, `.` or `[`", at)),
            };
            let start = text.len() - name.len();
            let length = name.find(['.', '[']).unwrap_or(name.len());
            let name = &name[..length];
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(word) {
                return Err(bad("a member name consists of letters, digits and `_`", start));
            }
            at = start + length;
            steps.push((Step::Member(name), at));
        }
        if steps.is_empty() {
            return Err(bad("it is empty", 0));
        }
        Ok(Self { text, steps })
    }

    /// The steps, each with the text of the path before it.
    pub(super) fn steps(&self) -> impl Iterator<Item = (Step<'a>, &'a str)> {
        let text = self.text;
        let before = std::iter::once(0).chain(self.steps.iter().map(|&(_, end)| end));
        self.steps.iter().zip(before).map(move |(&(step, _), end)| (step, &text[..end]))
    }
}
