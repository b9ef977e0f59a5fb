//! Policy after policy, call after call, and making what fails smaller.

use crate::laboratory::{self, Failure, Laboratory};
use crate::real::{self, Given, Words};
use policy::document::TypeName;
use policy::evaluate::Event;
use policy::evaluate::generate::{Call, Draft, Generator};
use std::time::{Duration, Instant};

/// Calls that each policy is tried on.
const CALLS: usize = 60;
/// Calls to try in all, unless told otherwise.
const CASES: usize = 120_000;
/// How long to go on, unless told otherwise.
const TIME: Duration = Duration::from_secs(20);
/// How long to look for something smaller that fails.
const SHRINKING: Duration = Duration::from_secs(60);
/// Policies that are tried however long that takes.
const LEAST: usize = 30;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Those of the types that are wanted.
fn kinds(of: &[TypeName]) -> Vec<TypeName> {
    let only = std::env::var("DIFFERENTIAL_TYPES").ok();
    let wanted = |kind: &&TypeName| {
        only.as_ref().is_none_or(|only| only.split(',').any(|one| one == kind.name()))
    };
    of.iter().filter(wanted).copied().collect()
}

/// A call of a hook with some of the types; `hook`: its first fields.
fn call(words: &mut Words, kinds: &[TypeName], hook: &str) -> Call {
    let numbers: Vec<TypeName> =
        kinds.iter().copied().filter(|kind| real::is_number(*kind)).collect();
    let args = (0..1 + words.below(4)).map(|_| words.of(kinds)).collect();
    let returns = !numbers.is_empty() && hook == FUNCTION;
    let returned = (returns && words.below(3) == 0).then(|| words.of(&numbers));
    Call { hook: hook.to_owned(), args, returned, max_data: words.below(4) == 0 }
}

/// The hook on a function.
pub(crate) const FUNCTION: &str = "kprobes: [{call: tried, syscall: false";

/// Tries random policies on arguments of these types; `hook`: its first fields; `make` makes calls of
/// events.
pub(crate) fn run(
    laboratory: &mut Laboratory,
    hook: &str,
    kinds_of: &[TypeName],
    mut make: impl FnMut(&mut Words, &Call, Event) -> Given,
) {
    let first = number("DIFFERENTIAL_SEED").unwrap_or(0);
    let cases = number("DIFFERENTIAL_CASES");
    let policies = cases.map_or(CASES, |cases| cases as usize).div_ceil(CALLS);
    let kinds = kinds(kinds_of);
    if kinds.is_empty() {
        return;
    }
    let start = Instant::now();
    let (mut tried, mut matched, mut skipped) = (0, 0, 0);
    for index in 0..policies {
        if cases.is_none() && index >= LEAST && start.elapsed() > TIME {
            break;
        }
        // Each policy has a seed of its own, so that one can be tried alone.
        let seed = first.wrapping_add(index as u64);
        let (mut words, mut generator) = (Words::new(seed), Generator::new(seed));
        let call = call(&mut words, &kinds, hook);
        let around = laboratory.process.clone().filter(|_| words.below(4) == 0);
        let draft = match &around {
            Some(process) => generator.policy_around(&call, process, &laboratory.host),
            None => generator.policy(&call),
        };
        let hook = laboratory::read(&draft.to_string()).unwrap();
        let calls: Vec<Given> = (0..CALLS)
            .map(|_| {
                let event = Event {
                    process: around.clone().unwrap_or_default(),
                    host: laboratory.host.clone(),
                    ..generator.event(&hook.hooks[0])
                };
                make(&mut words, &call, event)
            })
            .collect();
        match laboratory.check(&draft.to_string(), &call, &calls) {
            Ok(None) => skipped += 1,
            Ok(Some(matches)) => {
                tried += calls.len();
                matched += matches;
            }
            Err(failure) => {
                let (draft, failure) = shrink(laboratory, &call, draft, failure);
                panic!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_CASES=1:\n{draft}\n{failure}");
            }
        }
    }
    eprintln!(
        "{tried} cases, {matched} of them matches, {skipped} policies too much for the verifier, in {:.1?}",
        start.elapsed()
    );
    assert!(skipped <= 1 + tried / CALLS / 50, "{skipped} policies are too much for the verifier");
    // Neither all nor none: else nothing is compared.
    assert!(matched > tried / 20 && matched < tried - tried / 20, "{matched} of {tried} match");
}

/// The smallest policy and call that were found to fail in the same way.
fn shrink(
    laboratory: &mut Laboratory,
    call: &Call,
    draft: Draft,
    mut failure: Failure,
) -> (Draft, Failure) {
    let kind = failure.kind;
    let start = Instant::now();
    let mut fails = |draft: &Draft, given: &[Given]| {
        if start.elapsed() > SHRINKING {
            return None;
        }
        let checked = laboratory.check(&draft.to_string(), call, given);
        checked.err().filter(|failure| failure.kind == kind)
    };
    let given: Vec<Given> = failure.given.as_deref().into_iter().cloned().collect();
    let draft = draft.shrink(|draft| match fails(draft, &given) {
        Some(smaller) => {
            failure = smaller;
            true
        }
        None => false,
    });
    'smaller: loop {
        for given in failure.given.as_deref().into_iter().flat_map(Given::smaller) {
            if let Some(smaller) = fails(&draft, &[given]) {
                failure = smaller;
                continue 'smaller;
            }
        }
        return (draft, failure);
    }
}
