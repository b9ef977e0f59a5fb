//! Reads the test binary's output: one line per test and a closing line with the counts.

use std::time::Duration;

/// What the output of one run says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Number of tests that passed.
    pub(crate) passed: usize,
    /// Names of tests that failed.
    pub(crate) failed: Vec<String>,
    /// Names of tests that were skipped, with the reason.
    pub(crate) skipped: Vec<(String, String)>,
    closing: Option<(usize, usize, usize)>,
}

impl Report {
    /// Takes in one line of output.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some((name, outcome)) = parse_test(line) {
            match outcome {
                Outcome::Passed => self.passed += 1,
                Outcome::Failed => self.failed.push(name.to_owned()),
                Outcome::Skipped(why) => self.skipped.push((name.to_owned(), why.to_owned())),
            }
        } else if let Some(counts) = parse_closing(line) {
            self.closing = Some(counts);
        }
    }

    /// Ends the reading. A run whose closing line is missing, or says other than the lines before,
    /// did not go as it should: that counts as one more failure, with the given name.
    pub(crate) fn finish(&mut self, name: &str) {
        let counted = (self.passed, self.failed.len(), self.skipped.len());
        if self.closing != Some(counted) {
            self.failed.push(name.to_owned());
        }
    }
}

enum Outcome<'a> {
    Passed,
    Failed,
    Skipped(&'a str),
}

/// Reads `test NAME ... ok (0.1s)`, `… FAILED (0.1s)` or `… skipped: REASON`.
fn parse_test(line: &str) -> Option<(&str, Outcome<'_>)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = if let Some(why) = outcome.strip_prefix("skipped: ") {
        Outcome::Skipped(why)
    } else if outcome.starts_with("ok") {
        Outcome::Passed
    } else if outcome.starts_with("FAILED") {
        Outcome::Failed
    } else {
        return None;
    };
    Some((name, outcome))
}

/// Reads `N passed, N failed, N skipped`.
fn parse_closing(line: &str) -> Option<(usize, usize, usize)> {
    let mut parts = line.split(", ");
    let mut count = |what: &str| parts.next()?.strip_suffix(what)?.parse().ok();
    let counts = (count(" passed")?, count(" failed")?, count(" skipped")?);
    parts.next().is_none().then_some(counts)
}

/// Seconds with one decimal.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Report {
        let mut report = Report::default();
        text.lines().for_each(|line| report.line(line));
        report.finish("run");
        report
    }

    #[test]
    fn outcomes_are_counted() {
        let report = read(
            "running 3 tests\ntest a::b ... ok (0.1s)\ntest c ... FAILED (2.0s)\n\
             test d ... skipped: needs this\n---- c ----\ntest nonsense\n\
             1 passed, 1 failed, 1 skipped",
        );
        assert_eq!(report.passed, 1);
        assert_eq!(report.failed, ["c"]);
        assert_eq!(report.skipped, [("d".to_owned(), "needs this".to_owned())]);
    }

    #[test]
    fn a_run_that_breaks_off_has_failed() {
        assert_eq!(read("test a ... ok (0.1s)\n").failed, ["run"]);
        assert_eq!(read("").failed, ["run"]);
    }

    #[test]
    fn a_lost_line_is_noticed() {
        assert_eq!(read("test a ... ok (0.1s)\n2 passed, 0 failed, 0 skipped").failed, ["run"]);
    }
}
