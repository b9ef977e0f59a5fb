//! Counting by what is counted, and how much of it comes per second.

use std::collections::HashMap;
use std::time::Duration;

/// Names in a table, at most. What has no place is counted under [`OTHERS`].
const NAMES_MAX: usize = 10_000;

/// What names without a place of their own are counted under.
pub(super) const OTHERS: &str = "(others)";

/// A number that grows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counter {
    /// All of it.
    pub(super) total: u64,
    /// What came per second, in the interval before.
    pub(super) rate: f64,
    fresh: u64,
}

impl Counter {
    /// Adds to it.
    pub(super) fn add(&mut self, count: u64) {
        self.total += count;
        self.fresh += count;
    }

    /// An interval is over.
    pub(super) fn tick(&mut self, passed: Duration) {
        self.rate = self.fresh as f64 / passed.as_secs_f64().max(f64::MIN_POSITIVE);
        self.fresh = 0;
    }
}

/// Counters by name.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<String, Counter>);

impl Counts {
    /// Counts one.
    pub(super) fn add(&mut self, name: &str, count: u64) {
        let full = self.0.len() >= NAMES_MAX;
        match self.0.get_mut(name) {
            Some(counter) => counter.add(count),
            None if full => self.0.entry(OTHERS.to_owned()).or_default().add(count),
            None => self.0.entry(name.to_owned()).or_default().add(count),
        }
    }

    /// An interval is over. Where there are too many names, those of which nothing came go to the others.
    pub(super) fn tick(&mut self, passed: Duration) {
        self.0.values_mut().for_each(|counter| counter.tick(passed));
        if self.0.len() >= NAMES_MAX {
            let mut others = self.0.remove(OTHERS).unwrap_or_default();
            self.0.retain(|_, counter| {
                let stays = counter.rate > 0.0;
                others.total += if stays { 0 } else { counter.total };
                stays
            });
            self.0.insert(OTHERS.to_owned(), others);
        }
    }

    /// A name's counter.
    pub(super) fn get(&self, name: &str) -> Counter {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// All of them, those first of which most came; with `by_total`, of which most came ever.
    pub(super) fn sorted(&self, by_total: bool) -> Vec<(&str, Counter)> {
        let mut all: Vec<(&str, Counter)> =
            self.0.iter().map(|(name, counter)| (name.as_str(), *counter)).collect();
        all.sort_by(|(name, one), (other_name, other)| {
            let rate = other.rate.total_cmp(&one.rate);
            let total = other.total.cmp(&one.total);
            let order = if by_total { total.then(rate) } else { rate.then(total) };
            order.then(name.cmp(other_name))
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_interval_before() {
        let mut counter = Counter::default();
        counter.add(30);
        counter.tick(Duration::from_secs(2));
        assert_eq!((counter.total, counter.rate), (30, 15.0));
        counter.tick(Duration::from_secs(2));
        assert_eq!((counter.total, counter.rate), (30, 0.0));
    }

    #[test]
    fn the_busiest_is_first() {
        let mut counts = Counts::default();
        counts.add("old", 100);
        counts.tick(Duration::from_secs(1));
        counts.add("b", 2);
        counts.add("a", 2);
        counts.tick(Duration::from_secs(1));
        let names = |by_total| -> Vec<&str> {
            counts.sorted(by_total).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(false), ["a", "b", "old"]);
        assert_eq!(names(true), ["old", "a", "b"]);
    }

    #[test]
    fn names_are_bounded_and_nothing_is_lost() {
        let mut counts = Counts::default();
        let total = |counts: &Counts| -> u64 {
            counts.sorted(false).iter().map(|(_, counter)| counter.total).sum()
        };
        for number in 0..NAMES_MAX + 500 {
            counts.add(&number.to_string(), 1);
        }
        assert!(counts.0.len() <= NAMES_MAX + 1, "{}", counts.0.len());
        assert_eq!((counts.get(OTHERS).total, total(&counts)), (500, NAMES_MAX as u64 + 500));
        counts.tick(Duration::from_secs(1));
        counts.add("0", 1);
        counts.tick(Duration::from_secs(1));
        assert_eq!((counts.0.len(), total(&counts)), (2, NAMES_MAX as u64 + 501));
    }
}
