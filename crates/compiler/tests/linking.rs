//! Policies that come, change and go while threads make the calls that they hook: a policy that stays
//! misses no call and sees none twice, and none is seen for a policy before it came or after it went.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{Observation, Observed};
use compiler::policies::Policies;
use harness::{Harness, is_emulated, policy};
use policy::{CheckedPolicy, PolicyKey};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Threads that call.
const THREADS: usize = 2;
/// Changes of policies, and those in an emulated machine.
const CHANGES: [usize; 2] = [120, 40];
/// Names of policies that come and go.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Calls that a thread makes before what they gave is read.
const AHEAD: u64 = 500;
/// Calls are told apart by the offset that they seek to: thread, then number.
const THREAD: u64 = 1 << 32;

/// How far a thread is.
#[derive(Default)]
struct Progress {
    /// Number of the last call that began.
    began: AtomicU64,
    /// Number of the last call that is over.
    over: AtomicU64,
    /// Number of the last call that was read about.
    read: AtomicU64,
}

/// What a policy of a name was expected to see, from one change on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// Each call once.
    Once,
    /// None.
    Never,
    /// At most once: a change is under way.
    Perhaps,
}

/// A change of what is expected, with the first call of each thread that it holds for.
struct Step {
    from: [u64; THREADS],
    expected: Expected,
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// A policy that sees the calls of [`call`]; there are several ways to write it.
fn seeker(name: &str, variant: u64) -> String {
    let returned =
        if variant & 1 == 1 { "return: true\nreturnArg: {index: 0, type: int64}\n" } else { "" };
    let selector = if variant & 2 == 2 {
        "InRange, values: ['0:99999999999999']"
    } else {
        "GreaterThan, values: ['-1']"
    };
    let hook = format!(
        "call: sys_lseek\nsyscall: true\nmessage: variant {variant}\n{returned}args:\n- {{index: 1, type: int64}}\n\
         selectors:\n- matchPIDs:\n  - {{operator: In, values: [{}]}}\n  matchArgs:\n  - {{index: 1, operator: {selector}}}\n",
        std::process::id()
    );
    let mut text = policy(name, "kprobes", &hook);
    // Another hook at the same place, which never matches.
    if variant & 4 == 4 {
        text.push_str(
            "  - call: sys_lseek\n    args: [{index: 2, type: int}]\n    selectors:\n    - matchArgs:\n      - {index: 2, operator: Equal, values: ['77']}\n",
        );
    }
    text
}

fn key(name: &str) -> PolicyKey {
    PolicyKey { domain: "static".to_owned(), namespace: String::new(), name: name.to_owned() }
}

fn add(policies: &mut Policies, name: &str, variant: u64) {
    let policy = CheckedPolicy::read("test.yaml", &seeker(name, variant)).unwrap();
    policies.add(key(name), Arc::new(policy)).unwrap();
}

/// Calls until it is told to stop.
fn call(thread: usize, progress: &Progress, stop: &AtomicBool) {
    let mut file = File::open("/proc/self/exe").unwrap();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        progress.began.store(number, Ordering::SeqCst);
        file.seek(SeekFrom::Start(thread as u64 * THREAD + number)).unwrap();
        progress.over.store(number, Ordering::SeqCst);
        // The ring holds what the reader has still to read.
        while number > progress.read.load(Ordering::Relaxed) + AHEAD
            && !stop.load(Ordering::Relaxed)
        {
            std::thread::yield_now();
        }
    }
}

/// How often each call was seen, by policy and thread.
type Seen = HashMap<String, [HashMap<u64, u32>; THREADS]>;

fn note(seen: &mut Seen, progress: &[Progress; THREADS], observation: &Observation) {
    if observation.process.pid != std::process::id() {
        return;
    }
    let Some(Some(Observed::Long(offset))) = observation.args.first() else {
        panic!("{observation:?}")
    };
    let (thread, number) = (*offset as u64 / THREAD, *offset as u64 % THREAD);
    let calls = seen.entry(observation.policy.name.clone()).or_default();
    *calls[thread as usize].entry(number).or_default() += 1;
    progress[thread as usize].read.fetch_max(number, Ordering::Relaxed);
}

#[test]
fn policies_come_and_go_without_gaps_and_doubles() {
    let Some(harness) = Harness::new() else { return };
    let Harness { base, mut policies, mut decoder, mut ring, .. } = harness;
    let progress: [Progress; THREADS] = Default::default();
    let (stop, stop_reading) = (AtomicBool::new(false), AtomicBool::new(false));
    let at = |which: fn(&Progress) -> &AtomicU64| {
        std::array::from_fn(|thread| which(&progress[thread]).load(Ordering::SeqCst) + 1)
    };
    add(&mut policies, "always", 0);
    add(&mut policies, "always-too", 1);
    let mut steps: BTreeMap<&str, Vec<Step>> = BTreeMap::new();
    let seed = std::env::var("LINKING_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut state: u64 = seed;

    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = Seen::new();
            loop {
                let last = stop_reading.load(Ordering::SeqCst);
                ring.wait(Some(Duration::from_millis(1))).unwrap();
                ring.consume(|_, bytes| {
                    if let Some(observation) = decoder.decode(bytes).unwrap() {
                        note(&mut seen, &progress, &observation);
                    }
                });
                if last {
                    return seen;
                }
            }
        });
        let callers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (progress, stop) = (&progress[thread], &stop);
                scope.spawn(move || call(thread, progress, stop))
            })
            .collect();
        let start = Instant::now();
        let changes = CHANGES[usize::from(is_emulated())];
        for _ in 0..changes {
            let name = NAMES[random(&mut state) as usize % NAMES.len()];
            let variant = random(&mut state);
            let loaded = policies.keys().any(|loaded| loaded.name == name);
            let replace = loaded && variant % 8 < 5;
            // Before: whatever was over before the change began. After: what began when it was over.
            let before = at(|progress| &progress.over);
            if loaded && !replace {
                assert!(policies.remove(&key(name)).unwrap());
            } else {
                add(&mut policies, name, variant);
            }
            let after = at(|progress| &progress.began);
            let steps = steps.entry(name).or_default();
            let (during, then) = match (loaded, replace) {
                (true, true) => (Expected::Once, Expected::Once),
                (true, false) => (Expected::Perhaps, Expected::Never),
                (false, _) => (Expected::Perhaps, Expected::Once),
            };
            steps.push(Step { from: before, expected: during });
            steps.push(Step { from: after, expected: then });
        }
        eprintln!("{:.1?} for a change", start.elapsed() / changes as u32);
        stop.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.join().unwrap();
        }
        stop_reading.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });

    for name in ["always", "always-too"] {
        let counters = policies.counters(&key(name)).unwrap().unwrap();
        assert!(counters.iter().all(|c| c.lost + c.no_scratch + c.no_call == 0), "{counters:?}");
        let all = Step { from: [1; THREADS], expected: Expected::Once };
        steps.insert(name, vec![all]);
    }
    drop((policies, base));
    let (mut wrong, mut checked) = (Vec::new(), 0_u64);
    for (name, steps) in &steps {
        for thread in 0..THREADS {
            let last = progress[thread].over.load(Ordering::SeqCst);
            let none = HashMap::new();
            let counts = seen.get(*name).map_or(&none, |threads| &threads[thread]);
            let mut current = 0;
            for number in 1..=last {
                while steps.get(current).is_some_and(|step| step.from[thread] <= number) {
                    current += 1;
                }
                let expected =
                    current.checked_sub(1).map_or(Expected::Never, |step| steps[step].expected);
                let count = counts.get(&number).copied().unwrap_or(0);
                let fine = match expected {
                    Expected::Once => count == 1,
                    Expected::Never => count == 0,
                    Expected::Perhaps => count <= 1,
                };
                checked += 1;
                if !fine {
                    wrong.push(format!(
                        "{name}, thread {thread}, call {number}: seen {count} times, expected {expected:?}, step {current}"
                    ));
                }
            }
        }
    }
    eprintln!("{checked} calls and policies checked, {} wrong", wrong.len());
    let shown: Vec<&str> = wrong.iter().take(40).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{}", shown.join("\n"));
}
