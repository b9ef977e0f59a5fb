//! Losses of events of policies, by policy.
//!
//! The kernel side counts what it could not send, by policy, and what arrives but cannot be read is
//! counted here. Both become `events_lost` events and log lines, a burst one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use policy::PolicyKey;

use super::Measures;

/// Least time between two log lines.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Events lost since the last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLoss {
    /// How many.
    pub count: u64,
    /// Why, and of which policy where that is known.
    pub cause: String,
}

/// Accounts of losses in the ring of observations.
#[derive(Debug, Default)]
pub struct PolicyLosses {
    /// What was told of each policy: events that the ring did not take, and those without memory.
    told: HashMap<PolicyKey, (u64, u64)>,
    /// Records that could not be read, and calls whose return did not come; not told yet.
    undecodable: u64,
    /// Calls given up by the decoder, as far as they were taken in.
    forgotten: u64,
    untold_forgotten: u64,
    missed_runs: u64,
    untold_missed_runs: u64,
    pending: Vec<PolicyLoss>,
    total: u64,
    unlogged: u64,
    /// Why the last of them was lost.
    last_cause: String,
    logged: Option<Instant>,
}

impl PolicyLosses {
    /// Takes in what was measured of all policies.
    pub fn measured(&mut self, measures: &HashMap<PolicyKey, Measures>) {
        self.told.retain(|key, _| measures.contains_key(key));
        for (key, now) in measures {
            self.note(key, now);
        }
    }

    fn note(&mut self, key: &PolicyKey, now: &Measures) {
        let told = self.told.entry(key.clone()).or_default();
        // A policy that was replaced counts from the start again.
        if now.lost < told.0 || now.no_memory < told.1 {
            *told = (0, 0);
        }
        let causes = [("ring full", now.lost - told.0), ("no memory", now.no_memory - told.1)];
        *told = (now.lost, now.no_memory);
        for (cause, count) in causes.into_iter().filter(|(_, count)| *count > 0) {
            let cause = format!("{cause}, policy {}", key.name);
            self.pending.push(PolicyLoss { count, cause });
        }
    }

    /// Takes in what was last measured of a policy that is no more in force.
    pub fn departed(&mut self, key: &PolicyKey, last: &Measures) {
        self.note(key, last);
        self.told.remove(key);
    }

    /// Takes in how often the kernel did not run a program of policies, since the agent's start.
    pub fn missed_runs(&mut self, total: u64) {
        self.untold_missed_runs += total.saturating_sub(self.missed_runs);
        self.missed_runs = total;
    }

    /// Takes in how many calls the decoder gave up, since the agent's start.
    pub fn forgotten(&mut self, total: u64) {
        self.untold_forgotten += total.saturating_sub(self.forgotten);
        self.forgotten = total;
    }

    /// Counts a record that could not be read.
    pub fn undecodable(&mut self) {
        self.undecodable += 1;
    }

    /// What was lost since the last time. Also writes the log line.
    pub fn report(&mut self, now: Instant) -> Vec<PolicyLoss> {
        let mut losses = std::mem::take(&mut self.pending);
        let others = [
            (std::mem::take(&mut self.undecodable), "record could not be read"),
            (std::mem::take(&mut self.untold_forgotten), "return did not come"),
            (std::mem::take(&mut self.untold_missed_runs), "program was not run"),
        ];
        for (count, cause) in others.into_iter().filter(|(count, _)| *count > 0) {
            losses.push(PolicyLoss { count, cause: cause.to_owned() });
        }
        let count: u64 = losses.iter().map(|loss| loss.count).sum();
        self.total += count;
        self.unlogged += count;
        if let Some(last) = losses.last() {
            self.last_cause.clone_from(&last.cause);
        }
        self.log(now);
        losses
    }

    /// Events lost since the start.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn log(&mut self, now: Instant) {
        let due = self.logged.is_none_or(|logged| now.duration_since(logged) >= LOG_EVERY);
        if self.unlogged == 0 || !due {
            return;
        }
        self.logged = Some(now);
        let lost = std::mem::take(&mut self.unlogged);
        let cause = std::mem::take(&mut self.last_cause);
        tracing::warn!(
            lost,
            cause,
            "events of policies were lost; narrow the policies' selectors or raise --rb-size-total"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PolicyKey {
        PolicyKey { domain: "static".into(), namespace: String::new(), name: name.into() }
    }

    fn measures(name: &str, lost: u64, no_memory: u64) -> HashMap<PolicyKey, Measures> {
        let measures = Measures { lost, no_memory, ..Measures::default() };
        HashMap::from([(key(name), measures)])
    }

    fn told(losses: &mut PolicyLosses) -> Vec<(u64, String)> {
        let report = losses.report(Instant::now());
        report.into_iter().map(|loss| (loss.count, loss.cause)).collect()
    }

    #[test]
    fn every_loss_is_told_once() {
        let mut losses = PolicyLosses::default();
        losses.measured(&measures("p", 0, 0));
        assert!(told(&mut losses).is_empty());
        losses.measured(&measures("p", 3, 1));
        let expected =
            [(3, "ring full, policy p".to_owned()), (1, "no memory, policy p".to_owned())];
        assert_eq!(told(&mut losses), expected);
        losses.measured(&measures("p", 3, 1));
        assert!(told(&mut losses).is_empty());
        losses.measured(&measures("p", 5, 1));
        assert_eq!(told(&mut losses), [(2, "ring full, policy p".to_owned())]);
        // Replaced by another version, or removed and added again.
        losses.measured(&measures("p", 1, 0));
        assert_eq!(told(&mut losses), [(1, "ring full, policy p".to_owned())]);
        losses.measured(&HashMap::new());
        losses.measured(&measures("p", 1, 0));
        assert_eq!(told(&mut losses), [(1, "ring full, policy p".to_owned())]);
        // Removed, with what was lost since the last look; and there again.
        losses.departed(&key("p"), &Measures { lost: 4, ..Measures::default() });
        losses.measured(&measures("p", 6, 0));
        let expected = [3, 6].map(|count| (count, "ring full, policy p".to_owned()));
        assert_eq!(told(&mut losses), expected);
        assert_eq!(losses.total(), 17);
    }

    #[test]
    fn what_has_no_policy() {
        let mut losses = PolicyLosses::default();
        losses.undecodable();
        losses.undecodable();
        losses.forgotten(4);
        losses.missed_runs(7);
        let expected = [
            (2, "record could not be read".to_owned()),
            (4, "return did not come".to_owned()),
            (7, "program was not run".to_owned()),
        ];
        assert_eq!(told(&mut losses), expected);
        losses.forgotten(4);
        losses.missed_runs(9);
        assert_eq!(told(&mut losses), [(2, "program was not run".to_owned())]);
        assert_eq!(losses.total(), 15);
    }
}
