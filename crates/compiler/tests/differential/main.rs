//! Random policies on random calls: the program in the kernel and the reference evaluator agree on
//! which selector matches, and what is captured is what was given.
//!
//! - `DIFFERENTIAL_SEED`: where to begin, a number; the same one makes the same policies and calls
//! - `DIFFERENTIAL_CASES`: how many calls to try; without it as many as fit into half a minute
//! - `DIFFERENTIAL_TYPES`: types of values to look at only, separated by commas
//!
//! What fails is made as small as it can be before it is shown.

#![allow(clippy::unwrap_used)]

mod choices;
mod generate;
mod given;
#[path = "../harness/mod.rs"]
mod harness;
mod hook;
mod laboratory;
mod regressions;
mod shrink;

use choices::Choices;
use generate::Wanted;
use laboratory::Laboratory;
use std::time::{Duration, Instant};

/// Calls that each policy is tried on.
const CALLS: usize = 60;
/// Calls to try in all, unless told otherwise.
const CASES: usize = 60_000;
/// How long to go on, unless told otherwise.
const TIME: Duration = Duration::from_secs(30);
/// Policies that are tried however long that takes.
const LEAST: usize = 30;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn random_policies_mean_what_the_evaluator_says() {
    let Some(mut laboratory) = Laboratory::new() else { return };
    let seed = number("DIFFERENTIAL_SEED").unwrap_or(0);
    let cases = number("DIFFERENTIAL_CASES");
    let policies = cases.map_or(CASES, |cases| cases as usize).div_ceil(CALLS);
    let wanted = Wanted::from_environment();
    let start = Instant::now();
    let (mut tried, mut matched) = (0, 0);
    for number in 0..policies {
        if cases.is_none() && number >= LEAST && start.elapsed() > TIME {
            break;
        }
        // Each policy has a seed of its own, so that one can be tried alone.
        let seed = seed.wrapping_add(number as u64);
        let mut choices = Choices::new(seed);
        let hook = generate::hook(&mut choices, &wanted);
        let calls: Vec<_> = (0..CALLS).map(|_| generate::call(&mut choices, &hook)).collect();
        match laboratory.check(&hook, &calls) {
            Ok(matches) => {
                tried += calls.len();
                matched += matches;
            }
            Err(failure) => {
                let (hook, failure) = shrink::shrink(&mut laboratory, hook, failure);
                panic!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_CASES=1:\n{}", failure.show(&hook));
            }
        }
    }
    eprintln!("{tried} cases, {matched} of them matches, in {:.1?}", start.elapsed());
    // Neither all nor none: else nothing is compared.
    assert!(matched > tried / 20 && matched < tried - tried / 20, "{matched} of {tried} match");
}
