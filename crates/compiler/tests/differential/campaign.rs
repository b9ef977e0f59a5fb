//! Policy after policy, call after call, and making what fails smaller.

use crate::laboratory::{self, Failure};
use crate::real::{self, Given, Words};
use compiler::trial;
use policy::document::TypeName;
use policy::evaluate::generate::{Call, Draft, Generator};
use policy::evaluate::{Event, Namespaces, Process};
use std::time::{Duration, Instant};

/// Calls that each policy is tried on.
const CALLS: usize = 60;
/// Calls to try in all, unless told otherwise.
const CASES: usize = 120_000;
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

/// Where policies are tried.
pub(crate) trait Bench {
    /// The process in which calls are made, where it is known as the kernel knows it.
    fn process(&self) -> Option<&Process>;

    /// Namespaces of the host.
    fn host(&self) -> &Namespaces;

    /// How long to go on, unless told otherwise.
    fn time(&self) -> Duration;

    /// Tries the one hook of a policy; gives how many of the calls matched, unless the policy is more than
    /// the verifier has patience for.
    fn check(&mut self, yaml: &str, call: &Call, calls: &[Given])
    -> Result<Option<usize>, Failure>;
}

/// What is tried.
pub(crate) struct Tried<'a> {
    /// The hook's first fields.
    pub(crate) hook: &'a str,
    /// Types of arguments.
    pub(crate) kinds: &'a [TypeName],
    /// How many arguments there can be, lengths of others included.
    pub(crate) most: usize,
    /// Whether there is a result.
    pub(crate) returns: bool,
}

impl<'a> Tried<'a> {
    /// A function of the kernel.
    pub(crate) fn function(kinds: &'a [TypeName]) -> Self {
        let hook = "kprobes: [{call: tried, syscall: false";
        Self { hook, kinds, most: trial::ARGUMENTS, returns: true }
    }
}

/// A call of a hook with some of the types.
fn call(words: &mut Words, tried: &Tried<'_>, kinds: &[TypeName]) -> Call {
    let numbers: Vec<TypeName> =
        kinds.iter().copied().filter(|kind| real::is_number(*kind)).collect();
    let args = (0..1 + words.below(4)).map(|_| words.of(kinds)).collect();
    let returns = !numbers.is_empty() && tried.returns;
    let returned = (returns && words.below(3) == 0).then(|| words.of(&numbers));
    let max_data = words.below(4) == 0;
    let mut call = Call { hook: tried.hook.to_owned(), args, returned, max_data };
    // A buffer's length is one more.
    while call.indices().last().is_some_and(|last| *last as usize + 2 > tried.most) {
        call.args.pop();
    }
    call
}

/// Tries random policies; `make` makes calls of events.
pub(crate) fn run(
    bench: &mut impl Bench,
    tried: &Tried<'_>,
    mut make: impl FnMut(&mut Words, &Call, Event) -> Given,
) {
    let first = number("DIFFERENTIAL_SEED").unwrap_or(0);
    let cases = number("DIFFERENTIAL_CASES");
    let policies = cases.map_or(CASES, |cases| cases as usize).div_ceil(CALLS);
    let kinds = kinds(tried.kinds);
    if kinds.is_empty() {
        return;
    }
    let start = Instant::now();
    let (mut cases_tried, mut matched, mut skipped) = (0, 0, 0);
    for index in 0..policies {
        if cases.is_none() && index >= LEAST && start.elapsed() > bench.time() {
            break;
        }
        // Each policy has a seed of its own, so that one can be tried alone.
        let seed = first.wrapping_add(index as u64);
        let (mut words, mut generator) = (Words::new(seed), Generator::new(seed));
        let call = call(&mut words, tried, &kinds);
        let around = bench.process().cloned().filter(|_| words.below(4) == 0);
        let draft = match &around {
            Some(process) => generator.policy_around(&call, process, bench.host()),
            None => generator.policy(&call),
        };
        let hook = laboratory::read(&draft.to_string()).unwrap();
        let calls: Vec<Given> = (0..CALLS)
            .map(|_| {
                let event = Event {
                    process: around.clone().unwrap_or_default(),
                    host: bench.host().clone(),
                    ..generator.event(&hook.hooks[0])
                };
                make(&mut words, &call, event)
            })
            .collect();
        match bench.check(&draft.to_string(), &call, &calls) {
            Ok(None) => skipped += 1,
            Ok(Some(matches)) => {
                cases_tried += calls.len();
                matched += matches;
            }
            Err(failure) => {
                let (draft, failure) = shrink(bench, &call, draft, failure);
                panic!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_CASES=1:\n{draft}\n{failure}");
            }
        }
    }
    eprintln!(
        "{cases_tried} cases, {matched} of them matches, {skipped} policies too much for the verifier, in {:.1?}",
        start.elapsed()
    );
    assert!(
        skipped <= 1 + cases_tried / CALLS / 50,
        "{skipped} policies are too much for the verifier"
    );
    // Neither all nor none: else nothing is compared.
    assert!(
        matched > cases_tried / 20 && matched < cases_tried - cases_tried / 20,
        "{matched} of {cases_tried} match"
    );
}

/// The smallest policy and call that were found to fail in the same way.
fn shrink(
    bench: &mut impl Bench,
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
        let checked = bench.check(&draft.to_string(), call, given);
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
