//! Which selector acts, at entry and at return.

use super::{evaluate, read};
use policy::evaluate::{Event, Selectors, Value};

fn event(arg: i128, returned: Option<Value>) -> Event {
    Event { args: vec![Value::Integer(arg)], returned, ..Event::default() }
}

#[test]
fn the_first_selector_that_holds_acts() {
    let none = read("  kprobes: [{call: f}]\n");
    assert_eq!(evaluate(&none, &Event::default()).map(|found| found.selector), Some(None));
    let policy = read(
        "  kprobes:\n  - call: f\n    args: [{index: 0, type: int}]\n    selectors:\n    \
         - matchArgs: [{index: 0, operator: Equal, values: [1]}]\n    \
         - matchArgs: [{index: 0, operator: GT, values: [0]}]\n    \
         - matchArgs: [{index: 0, operator: LT, values: [-5]}]\n",
    );
    let selector = |arg| evaluate(&policy, &event(arg, None)).map(|found| found.selector);
    assert_eq!(selector(1), Some(Some(0)));
    assert_eq!(selector(2), Some(Some(1)));
    assert_eq!(selector(-6), Some(Some(2)));
    assert_eq!(selector(0), None);
    let empty = read("  kprobes: [{call: f, selectors: [{}]}]\n");
    assert_eq!(evaluate(&empty, &Event::default()).map(|found| found.selector), Some(Some(0)));
}

/// Selectors that differ in the return value, for arguments above 0; and one without return filters, for
/// those above 10.
const RETURNS: &str = "  kprobes:\n  - call: f\n    return: true\n    \
    returnArg: {index: 0, type: int}\n    args: [{index: 0, type: int}]\n    selectors:\n    \
    - matchArgs: [{index: 0, operator: GT, values: [0]}]\n      \
    matchReturnArgs: [{index: 0, operator: Equal, values: [0]}]\n    \
    - matchArgs: [{index: 0, operator: GT, values: [0]}]\n      \
    matchReturnArgs: [{index: 0, operator: LT, values: [0]}, \
    {index: 0, operator: NotEqual, values: [-11]}]\n    \
    - matchArgs: [{index: 0, operator: GT, values: [10]}]\n";

#[test]
fn return_filters_belong_to_their_selector() {
    let policy = read(RETURNS);
    let selector = |arg, returned| {
        evaluate(&policy, &event(arg, Some(returned))).map(|found| found.selector.unwrap())
    };
    let int = Value::Integer;
    assert_eq!(selector(1, int(0)), Some(0));
    assert_eq!(selector(1, int(-1)), Some(1));
    assert_eq!(selector(1, int(-11)), None);
    assert_eq!(selector(1, int(5)), None);
    assert_eq!(selector(11, int(5)), Some(2));
    assert_eq!(selector(11, int(-1)), Some(1));
    assert_eq!(selector(1, Value::Fault), None);
    assert_eq!(selector(11, Value::Fault), Some(2));
    assert_eq!(selector(0, int(0)), None, "what did not match at entry does not at return");
}

#[test]
fn entry_acts_before_the_return_is_known() {
    let policy = read(RETURNS);
    let selectors = Selectors::new(&policy.hooks[0].selectors, &policy.lists, |_| None).unwrap();
    let entry = selectors.at_entry(&event(11, None)).unwrap();
    assert_eq!((entry.first.selector, entry.holding.as_slice()), (Some(0), &[0, 1, 2][..]));
    let found = selectors.at_return(&entry, &Value::Integer(7)).unwrap();
    assert_eq!(found.selector, Some(2));
    assert!(selectors.at_entry(&event(0, None)).is_none());

    let none = read("  kprobes: [{call: f, return: true, returnArg: {index: 0, type: int}}]\n");
    let selectors = Selectors::new(&none.hooks[0].selectors, &none.lists, |_| None).unwrap();
    let entry = selectors.at_entry(&Event::default()).unwrap();
    assert_eq!(selectors.at_return(&entry, &Value::Fault), Some(entry.first));
}
