//! Answers: yes, no, or that it cannot be told (`None`).
//!
//! A filter holds only when its answer is known; see [`holds`]. Alternatives are combined as in
//! Kleene's logic: one known yes is enough, a no needs all to be known.

/// Whether one of the alternatives holds.
pub(super) fn any(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut all_known = true;
    for answer in answers {
        match answer {
            Some(true) => return Some(true),
            Some(false) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(false)
}

/// Whether a filter holds: the question is answered, and not by what the operator excludes.
pub(super) fn holds(answer: Option<bool>, negated: bool) -> bool {
    answer.is_some_and(|answer| answer != negated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_holds_in_neither_form() {
        for (answer, plain, not) in
            [(Some(true), true, false), (Some(false), false, true), (None, false, false)]
        {
            assert_eq!((holds(answer, false), holds(answer, true)), (plain, not));
        }
        assert_eq!(any([None, Some(true)]), Some(true));
        assert_eq!(any([None, Some(false)]), None);
        assert_eq!(any([Some(false), Some(false)]), Some(false));
        assert_eq!(any([]), Some(false));
    }
}
