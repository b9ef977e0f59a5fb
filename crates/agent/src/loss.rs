//! Losses: records that the kernel side counted but that did not arrive.
//!
//! Every record has a sequence number of its CPU; lost ones take numbers too, so a gap tells how many
//! were lost as soon as the next record of that CPU arrives. The kernel side also counts, per CPU and
//! kind, what the full ring did not take; polled, this tells of losses that no record followed yet, and of
//! which kind they were. Both tell of the same records, so what is reported is the larger of the two
//! sums, less what was reported before.
//!
//! A burst of losses is reported once: [`Losses::report`] waits until [`QUIET`] after its first sign.

use std::time::{Duration, Instant};

use compiler::base::record::{Header, kind};

/// How long after its first sign a burst is reported.
pub const QUIET: Duration = Duration::from_millis(100);
/// Least time between two log lines.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// CPU numbers beyond this do not exist (`NR_CPUS` is at most 8192).
const MAX_CPUS: usize = 8192;
/// Names of the kinds, by number.
const KINDS: [&str; kind::COUNT as usize] = ["unknown", "exec", "part", "fork", "exit", "cgroup"];

/// The kernel side's counters of one CPU. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLosses {
    /// Records that the full ring did not take, by kind.
    pub ring_full: [u64; kind::COUNT as usize],
    /// Processes for which no state could be allocated. No record is lost by this.
    pub no_state: u64,
    /// States that could not be handed over from an ended leader. No record is lost by this.
    pub no_handover: u64,
}

/// The kernel side's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelLosses {
    /// By CPU number.
    pub cpus: Vec<CpuLosses>,
    /// Times that the kernel did not run a program, because it was running on that CPU already.
    pub missed_runs: u64,
}

/// Sums over all CPUs, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records lost, for whatever reason.
    pub lost: u64,
    /// Of these, records that the full ring did not take, by kind.
    pub ring_full: [u64; kind::COUNT as usize],
    /// Of these, records that arrived but could not be read.
    pub undecodable: u64,
    /// Of these, records that were not made, because the kernel did not run the program.
    pub missed_runs: u64,
    /// Records that arrived behind a later one of the same CPU.
    pub reordered: u64,
    /// Processes for which no state could be allocated.
    pub no_state: u64,
    /// States that could not be handed over from an ended leader.
    pub no_handover: u64,
}

/// Losses of one CPU in one burst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// CPU, where that is known.
    pub cpu: Option<u32>,
    /// Records lost.
    pub count: u64,
    /// Why.
    pub cause: &'static str,
    /// Sequence number of the first of them; 0 if they have none.
    pub first: u64,
    /// Sequence number of the last of them; 0 if they have none.
    pub last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Cpu {
    /// Sequence number that comes next.
    next: u64,
    /// Numbers left out so far.
    missing: u64,
    /// Records that the kernel side counted as lost so far.
    counted: u64,
    undecodable: u64,
    reported: u64,
    reported_undecodable: u64,
    /// First and last number left out since the last report.
    gap: Option<(u64, u64)>,
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            // The kernel side counts from 1.
            next: 1,
            missing: 0,
            counted: 0,
            undecodable: 0,
            reported: 0,
            reported_undecodable: 0,
            gap: None,
        }
    }
}

impl Cpu {
    fn total(&self) -> u64 {
        self.missing.max(self.counted) + self.undecodable
    }
}

/// Accounts of losses in one ring.
#[derive(Debug, Default)]
pub struct Losses {
    cpus: Vec<Cpu>,
    since: Option<Instant>,
    kernel: Counters,
    reported_missed_runs: u64,
    logged_states: Option<Instant>,
    reordered: u64,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Losses {
    /// Accounts for a record that arrived.
    pub fn arrived(&mut self, header: Header, now: Instant) {
        let Some(cpu) = self.cpu(header.cpu) else { return };
        if header.seq >= cpu.next {
            let missing = header.seq - cpu.next;
            if missing > 0 {
                let first = cpu.gap.map_or(cpu.next, |(first, _)| first);
                cpu.gap = Some((first, header.seq - 1));
                cpu.missing += missing;
                self.since.get_or_insert(now);
                if let Some(cpu) = self.cpu(header.cpu) {
                    cpu.next = header.seq + 1;
                }
                return;
            }
            cpu.next = header.seq + 1;
        } else {
            cpu.missing = cpu.missing.saturating_sub(1);
            self.reordered += 1;
        }
    }

    /// Accounts for a record that arrived but could not be read; its header may still be known.
    pub fn undecodable(&mut self, header: Option<Header>, now: Instant) {
        let cpu = header.map_or(0, |header| header.cpu);
        if let Some(header) = header {
            self.arrived(header, now);
        }
        if let Some(cpu) = self.cpu(cpu) {
            cpu.undecodable += 1;
        }
        self.since.get_or_insert(now);
    }

    /// Takes in the kernel side's counters.
    pub fn kernel(&mut self, losses: &KernelLosses, now: Instant) {
        let mut sums = Counters::default();
        for (number, counters) in losses.cpus.iter().enumerate() {
            for (sum, count) in sums.ring_full.iter_mut().zip(counters.ring_full) {
                *sum += count;
            }
            sums.no_state += counters.no_state;
            sums.no_handover += counters.no_handover;
            let counted = counters.ring_full.iter().sum();
            let Some(cpu) = self.cpu(number as u32) else { continue };
            if counted > cpu.counted {
                cpu.counted = counted;
                if cpu.total() > cpu.reported {
                    self.since.get_or_insert(now);
                }
            }
        }
        sums.missed_runs = losses.missed_runs;
        if sums.missed_runs > self.reported_missed_runs {
            self.since.get_or_insert(now);
        }
        self.log_states(sums, now);
        self.kernel = sums;
    }

    /// Says when states could not be kept: no record is lost, but identities are less exact.
    fn log_states(&mut self, sums: Counters, now: Instant) {
        let (before, after) =
            (self.kernel.no_state + self.kernel.no_handover, sums.no_state + sums.no_handover);
        let due = self.logged_states.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if after > before && due {
            self.logged_states = Some(now);
            tracing::warn!(
                not_allocated = sums.no_state,
                not_handed_over = sums.no_handover,
                "the kernel could not keep the state of some processes; their parents may be wrong"
            );
        }
    }

    /// Whether losses wait to be reported.
    pub fn is_pending(&self) -> bool {
        self.since.is_some()
    }

    /// The losses of a burst, once it is [`QUIET`] old. Also writes the log line.
    pub fn report(&mut self, now: Instant) -> Vec<Loss> {
        match self.since {
            Some(since) if now.duration_since(since) >= QUIET => self.since = None,
            _ => return Vec::new(),
        }
        let mut losses = Vec::new();
        for (number, cpu) in self.cpus.iter_mut().enumerate() {
            let count = cpu.total().saturating_sub(cpu.reported);
            if count == 0 {
                cpu.gap = None;
                continue;
            }
            let undecodable = cpu.undecodable - cpu.reported_undecodable;
            let cause = match undecodable {
                0 => "ring full",
                some if some == count => "record could not be read",
                _ => "ring full, record could not be read",
            };
            // Without a gap no record has followed yet: they are the next ones.
            let (first, last) = cpu.gap.take().unwrap_or(if undecodable == count {
                (cpu.next.saturating_sub(count), cpu.next.saturating_sub(1))
            } else {
                (cpu.next, cpu.next + count - 1)
            });
            cpu.reported = cpu.total();
            cpu.reported_undecodable = cpu.undecodable;
            losses.push(Loss { cpu: Some(number as u32), count, cause, first, last });
        }
        let missed = self.kernel.missed_runs.saturating_sub(self.reported_missed_runs);
        if missed > 0 {
            self.reported_missed_runs = self.kernel.missed_runs;
            let cause = "program was not run";
            losses.push(Loss { cpu: None, count: missed, cause, first: 0, last: 0 });
        }
        self.unlogged += losses.iter().map(|loss| loss.count).sum::<u64>();
        self.log(now);
        losses
    }

    /// The losses that wait to be reported, at once.
    pub fn report_rest(&mut self, now: Instant) -> Vec<Loss> {
        self.since = self.since.map(|since| since.min(now.checked_sub(QUIET).unwrap_or(since)));
        self.logged = None;
        self.report(now)
    }

    /// Sums since the start.
    pub fn counters(&self) -> Counters {
        Counters {
            lost: self.cpus.iter().map(Cpu::total).sum::<u64>() + self.kernel.missed_runs,
            undecodable: self.cpus.iter().map(|cpu| cpu.undecodable).sum(),
            reordered: self.reordered,
            ..self.kernel
        }
    }

    /// Writes the log line of losses that were reported since the last one, if it is time.
    pub fn log(&mut self, now: Instant) {
        if self.unlogged == 0
            || self.logged.is_some_and(|logged| now.duration_since(logged) < LOG_EVERY)
        {
            return;
        }
        let counters = self.counters();
        let by_kind: Vec<String> = KINDS
            .iter()
            .zip(counters.ring_full)
            .filter(|&(_, count)| count > 0)
            .map(|(kind, count)| format!("{kind}={count}"))
            .collect();
        tracing::warn!(
            lost = self.unlogged,
            lost_in_all = counters.lost,
            ring_full_in_all = by_kind.join(" "),
            undecodable_in_all = counters.undecodable,
            not_run_in_all = counters.missed_runs,
            "base records were lost; raise --rb-size-total if this happens again"
        );
        self.logged = Some(now);
        self.unlogged = 0;
    }

    fn cpu(&mut self, number: u32) -> Option<&mut Cpu> {
        let at = number as usize;
        if at >= MAX_CPUS {
            return None;
        }
        if at >= self.cpus.len() {
            self.cpus.resize_with(at + 1, Cpu::default);
        }
        self.cpus.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(losses: &mut Losses, cpu: u32, seqs: &[u64], now: Instant) {
        for &seq in seqs {
            losses.arrived(Header { cpu, seq, time: 0 }, now);
        }
    }

    fn counted(exec: u64, fork: u64) -> KernelLosses {
        let mut cpu = CpuLosses::default();
        cpu.ring_full[kind::EXEC as usize] = exec;
        cpu.ring_full[kind::FORK as usize] = fork;
        KernelLosses { cpus: vec![cpu], missed_runs: 0 }
    }

    #[test]
    fn no_gap_no_loss() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        arrive(&mut losses, 0, &[1, 2, 3], now);
        arrive(&mut losses, 3, &[1, 2], now);
        losses.kernel(&counted(0, 0), now);
        assert!(!losses.is_pending());
        assert_eq!(losses.report(now + QUIET), []);
        assert_eq!(losses.counters(), Counters::default());
    }

    #[test]
    fn gaps_of_a_burst_are_one_report_per_cpu() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        arrive(&mut losses, 0, &[1, 4, 5, 7], now);
        arrive(&mut losses, 2, &[3], now);
        assert_eq!(losses.report(now + QUIET / 2), []);
        let cause = "ring full";
        assert_eq!(
            losses.report(now + QUIET),
            [
                Loss { cpu: Some(0), count: 3, cause, first: 2, last: 6 },
                Loss { cpu: Some(2), count: 2, cause, first: 1, last: 2 },
            ]
        );
        assert_eq!(losses.report(now + 9 * QUIET), []);
        arrive(&mut losses, 0, &[9], now);
        assert_eq!(
            losses.report(now + QUIET),
            [Loss { cpu: Some(0), count: 1, cause, first: 8, last: 8 }]
        );
        assert_eq!(losses.counters().lost, 6);
    }

    #[test]
    fn programs_that_were_not_run_are_losses() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        losses.kernel(&KernelLosses { missed_runs: 2, ..KernelLosses::default() }, now);
        let cause = "program was not run";
        let expected = Loss { cpu: None, count: 2, cause, first: 0, last: 0 };
        assert_eq!(losses.report(now + QUIET), [expected]);
        losses.kernel(&KernelLosses { missed_runs: 2, ..KernelLosses::default() }, now);
        assert_eq!(losses.report(now + 9 * QUIET), []);
        assert_eq!(losses.counters().lost, 2);
    }

    #[test]
    fn counter_first_then_gap_is_one_loss() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        arrive(&mut losses, 0, &[1, 2], now);
        losses.kernel(&counted(2, 1), now);
        let reported = losses.report(now + QUIET);
        assert_eq!(
            reported,
            [Loss { cpu: Some(0), count: 3, cause: "ring full", first: 3, last: 5 }]
        );
        arrive(&mut losses, 0, &[6, 7], now);
        assert_eq!(losses.report(now + QUIET), [], "the same ones");
        losses.kernel(&counted(2, 1), now);
        assert_eq!(losses.report(now + QUIET), []);
        let counters = losses.counters();
        assert_eq!(counters.lost, 3);
        assert_eq!(counters.ring_full[kind::EXEC as usize], 2);
    }

    #[test]
    fn gap_first_then_counter_is_one_loss() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        arrive(&mut losses, 0, &[1, 5], now);
        assert_eq!(losses.report(now + QUIET).len(), 1);
        losses.kernel(&counted(3, 0), now);
        assert!(!losses.is_pending());
        losses.kernel(&counted(3, 2), now);
        let reported = losses.report(now + QUIET);
        assert_eq!((reported[0].count, reported[0].first), (2, 6));
    }

    #[test]
    fn late_record_is_not_lost() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        arrive(&mut losses, 0, &[1, 3, 2, 4], now);
        assert_eq!(losses.report(now + QUIET), []);
        let counters = losses.counters();
        assert_eq!((counters.lost, counters.reordered), (0, 1));
    }

    #[test]
    fn undecodable_records_are_losses_too() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        losses.undecodable(Some(Header { cpu: 1, seq: 1, time: 0 }), now);
        losses.undecodable(None, now);
        let reported = losses.report(now + QUIET);
        assert_eq!(reported.len(), 2);
        assert!(reported.iter().all(|loss| loss.count == 1));
        assert_eq!(reported[1].cause, "record could not be read");
        assert_eq!((reported[1].first, reported[1].last), (1, 1));
        assert_eq!(losses.counters().undecodable, 2);
    }

    #[test]
    fn nonsense_cpu_does_not_take_memory() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        arrive(&mut losses, u32::MAX, &[9], now);
        assert!(losses.cpus.is_empty());
    }
}
