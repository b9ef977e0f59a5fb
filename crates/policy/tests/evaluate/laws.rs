//! What holds for all values and filters.

use super::{evaluate, holds, read};
use policy::evaluate::{Event, Value};
use proptest::prelude::*;

/// Few different bytes, so that texts have parts in common.
fn text() -> impl Strategy<Value = String> {
    "[abA/]{0,6}"
}

fn list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    format!("[{}]", quoted.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_negation_holds_when_no_value_does(
        operator in prop::sample::select(vec!["Equal", "Prefix", "Postfix"]),
        values in prop::collection::vec("[abA/]{1,4}", 1..4),
        value in text(),
    ) {
        let value = Value::Text(value.into_bytes());
        let single = |one: &String| holds("string", operator, &list(std::slice::from_ref(one)), &value);
        let any = values.iter().any(single);
        prop_assert_eq!(holds("string", operator, &list(&values), &value), any);
        prop_assert_eq!(holds("string", &format!("Not{operator}"), &list(&values), &value), !any);
        let reversed: Vec<String> = values.iter().rev().cloned().collect();
        prop_assert_eq!(holds("string", operator, &list(&reversed), &value), any);
    }

    #[test]
    fn texts_relate(value in text(), part in "[abA/]{1,4}") {
        let one = list(std::slice::from_ref(&part));
        let text = Value::Text(value.clone().into_bytes());
        let is = |operator| holds("string", operator, &one, &text);
        prop_assert_eq!(is("Equal"), value == part);
        prop_assert!(!is("Equal") || is("Prefix") && is("Postfix"));
        prop_assert!(!(is("Prefix") || is("Postfix")) || is("SubString"));
        prop_assert!(!is("SubString") || is("SubStringIgnCase"));
        prop_assert_eq!(is("SubString"), value.contains(&part));
        let folded = value.to_ascii_lowercase().contains(&part.to_ascii_lowercase());
        prop_assert_eq!(is("SubStringIgnCase"), folded);
    }

    #[test]
    fn integers_relate(value in -4_i128..4, least in -4_i128..4, most in -4_i128..4) {
        let int = Value::Integer(value);
        let is = |operator: &str, values: String| holds("int", operator, &values, &int);
        let (least, most) = (least.min(most), least.max(most));
        let range = format!("['{least}:{most}']");
        prop_assert_eq!(is("InRange", range.clone()), (least..=most).contains(&value));
        prop_assert_eq!(is("InMap", range.clone()), is("InRange", range.clone()));
        prop_assert_ne!(is("NotInRange", range.clone()), is("InRange", range));
        let below = is("LT", format!("['{least}']"));
        let above = is("GT", format!("['{least}']"));
        let equal = is("Equal", format!("['{least}']"));
        prop_assert_eq!(u8::from(below) + u8::from(above) + u8::from(equal), 1);
    }

    #[test]
    fn expressions_say_the_same_as_operators(
        value in prop::sample::select(vec![i32::MIN, -2, -1, 0, 1, 2, i32::MAX]),
        bound in prop::sample::select(vec![i32::MIN, -1, 0, 1, i32::MAX]),
    ) {
        let int = Value::Integer(value.into());
        for (operator, sign) in [("Equal", "=="), ("NotEqual", "!="), ("GT", ">"), ("LT", "<")] {
            let policy = read(&format!(
                "  kprobes: [{{call: f, args: [{{index: 0, type: int}}], selectors: [{{matchArgs: \
                 [{{operator: CelExpr, values: ['arg0 {sign} {bound}']}}]}}]}}]\n"
            ));
            let event = Event { args: vec![int.clone()], ..Event::default() };
            let expression = evaluate(&policy, &event).is_some();
            prop_assert_eq!(expression, holds("int", operator, &format!("['{bound}']"), &int));
        }
    }
}
