//! Making what fails smaller, as long as it fails in the same way.

use crate::given::{Call, Given};
use crate::hook::{Filter, Hook, Selector};
use crate::laboratory::{Failure, Laboratory};

/// How many attempts it may take.
const ATTEMPTS: usize = 3000;

/// The smallest hook that was found to fail in the same way, and its failure.
pub(crate) fn shrink(
    laboratory: &mut Laboratory,
    mut hook: Hook,
    mut failure: Failure,
) -> (Hook, Failure) {
    let mut attempts = 0;
    'smaller: loop {
        let calls: Vec<Call> = failure.call.iter().cloned().collect();
        let mut candidates: Vec<(Hook, Vec<Call>)> =
            hooks(&hook).into_iter().map(|hook| (hook, calls.clone())).collect();
        for call in calls.iter().flat_map(simpler_calls) {
            candidates.push((hook.clone(), vec![call]));
        }
        for (candidate, calls) in candidates {
            attempts += 1;
            if attempts > ATTEMPTS {
                return (hook, failure);
            }
            if let Err(next) = laboratory.check(&candidate, &calls)
                && next.kind == failure.kind
            {
                (hook, failure) = (candidate, next);
                continue 'smaller;
            }
        }
        return (hook, failure);
    }
}

/// A list with parts left out: halves first, then single ones.
fn shorter<T: Clone>(list: &[T], least: usize) -> Vec<Vec<T>> {
    let mut all = Vec::new();
    if list.len() / 2 >= least.max(1) && list.len() > 3 {
        let (left, right) = list.split_at(list.len() / 2);
        all.extend([left.to_vec(), right.to_vec()]);
    }
    if list.len() > least {
        for index in 0..list.len() {
            let mut rest = list.to_vec();
            rest.remove(index);
            all.push(rest);
        }
    }
    all
}

/// A list with one element changed.
fn changed<T: Clone>(list: &[T], simpler: impl Fn(&T) -> Vec<T>) -> Vec<Vec<T>> {
    let mut all = Vec::new();
    for (index, element) in list.iter().enumerate() {
        for next in simpler(element) {
            let mut list = list.to_vec();
            list[index] = next;
            all.push(list);
        }
    }
    all
}

fn hooks(hook: &Hook) -> Vec<Hook> {
    let mut all: Vec<Hook> = shorter(&hook.selectors, 0)
        .into_iter()
        .chain(changed(&hook.selectors, selectors))
        .map(|selectors| Hook { selectors, ..hook.clone() })
        .collect();
    if hook.selectors.iter().all(|selector| selector.returns.is_empty()) && hook.returned.is_some()
    {
        all.push(Hook { returned: None, ..hook.clone() });
    }
    // Expressions name arguments in their text.
    let expression = |filter: &Filter| filter.operator == "CelExpr";
    let filters = || hook.selectors.iter().flat_map(|selector| &selector.filters);
    let last = hook.args.len().wrapping_sub(1);
    let sized = hook.args.iter().any(|arg| arg.size == Some(last));
    if !filters().any(|filter| expression(filter) || filter.positions.contains(&last)) && !sized {
        let args = hook.args.iter().take(last).cloned().collect();
        if !hook.args.is_empty() {
            all.push(Hook { args, ..hook.clone() });
        }
    }
    all
}

fn selectors(selector: &Selector) -> Vec<Selector> {
    let with = |filters| Selector { filters, ..selector.clone() };
    let with_returns = |returns| Selector { returns, ..selector.clone() };
    let with_process = |process| Selector { process, ..selector.clone() };
    let process =
        shorter(&selector.process, 0).into_iter().chain(changed(&selector.process, |clause| {
            let values = shorter(&clause.values, 1).into_iter();
            values.map(|values| crate::hook::Clause { values, ..clause.clone() }).collect()
        }));
    let filters = shorter(&selector.filters, 0)
        .into_iter()
        .chain(changed(&selector.filters, simpler_filters));
    let returns = shorter(&selector.returns, 0)
        .into_iter()
        .chain(changed(&selector.returns, simpler_filters));
    filters.map(with).chain(returns.map(with_returns)).chain(process.map(with_process)).collect()
}

fn simpler_filters(filter: &Filter) -> Vec<Filter> {
    let fewer = shorter(&filter.values, 1).into_iter();
    let simpler = changed(&filter.values, |value| {
        let number = value.bytes().all(|byte| byte.is_ascii_digit() || b"-:x".contains(&byte));
        if number || filter.operator == "CelExpr" { Vec::new() } else { shorter_texts(value) }
    });
    fewer.chain(simpler).map(|values| Filter { values, ..filter.clone() }).collect()
}

fn shorter_texts(text: &String) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    shorter(&letters, 1).into_iter().map(|letters| letters.into_iter().collect()).collect()
}

fn simpler_calls(call: &Call) -> Vec<Call> {
    let mut all: Vec<Call> = changed(&call.args, simpler_given)
        .into_iter()
        .map(|args| Call { args, ..call.clone() })
        .collect();
    if call.returned != 0 {
        all.push(Call { returned: call.returned >> 1, ..call.clone() });
    }
    all
}

fn simpler_given(given: &Given) -> Vec<Given> {
    match given {
        Given::Word(0) => Vec::new(),
        Given::Word(word) => [0, word & 0xffff_ffff, word & 0xff, word >> 1, word - 1]
            .into_iter()
            .filter(|next| next < word)
            .map(Given::Word)
            .collect(),
        Given::Text(text) => shorter(text, 0).into_iter().map(Given::Text).collect(),
        Given::Nowhere(0) => Vec::new(),
        Given::Nowhere(_) => vec![Given::Nowhere(0)],
    }
}
