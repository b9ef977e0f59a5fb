//! Policies that rules make.

use std::collections::BTreeMap;

use policy::{CheckedPolicy, PolicyKey};

use super::super::errors::{AddError, ChangeError};
use super::super::outcome::Outcome;
use super::super::text::{Origin, Text};
use super::super::{REGO, Store};
use super::Rules;

/// The policies that were made last, with the texts that are in force.
#[derive(Default)]
pub struct Made {
    texts: BTreeMap<PolicyKey, Option<String>>,
    /// Somebody was just changing one of them.
    again: bool,
}

impl Made {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether something is left to be done that could not be.
    pub(in crate::policies) fn is_unfinished(&self) -> bool {
        self.again
    }

    /// Has those policies in force that the rules make now: new ones come, changed ones take the place of
    /// what they were without a gap, others go. What cannot be is logged; what it was stays. If the rules
    /// cannot be evaluated all stay.
    pub fn follow(&mut self, rules: &Rules, store: &Store) -> Outcome {
        let mut outcome = Outcome::default();
        self.again = false;
        let made = match rules.bundle().policies() {
            Ok(made) => made,
            Err(error) => {
                outcome.failed += 1;
                tracing::error!("policies that rules make stay as they are: {error}");
                return outcome;
            }
        };
        let mut texts = BTreeMap::new();
        let mut unread = false;
        for text in made {
            let key = match CheckedPolicy::read("policy", &text) {
                Ok(policy) => policy.key(REGO),
                Err(problems) => {
                    outcome.fail("made by rules", &format!("{problems}\n{text}"));
                    unread = true;
                    continue;
                }
            };
            if texts.contains_key(&key) {
                outcome.fail("made by rules", &format!("two policies are called `{}`", key.name));
                continue;
            }
            let before = self.texts.get(&key).cloned().flatten();
            if before.as_ref() == Some(&text) {
                texts.insert(key, before);
                continue;
            }
            let named = format!("rego:{}", key.name);
            let in_force = match store.put(REGO, &Text::new(Origin::Rego, named, text.clone())) {
                Ok(_) => {
                    outcome.loaded += 1;
                    Some(text)
                }
                Err(AddError::Busy(_)) => {
                    self.again = true;
                    before
                }
                Err(error) => {
                    outcome.fail(&format!("rego:{}", key.name), &error.to_string());
                    before
                }
            };
            texts.insert(key, in_force);
        }
        let gone = self.texts.iter().filter(|(key, _)| !texts.contains_key(*key));
        let gone: Vec<_> = gone.map(|(key, text)| (key.clone(), text.clone())).collect();
        for (key, text) in gone {
            if unread {
                // It may be the one that cannot be read.
                texts.insert(key, text);
                continue;
            }
            match store.delete(&key) {
                Ok(()) | Err(ChangeError::Missing { .. }) => {}
                Err(ChangeError::Busy(_)) => {
                    self.again = true;
                    texts.insert(key, None);
                }
                Err(error) => {
                    tracing::error!(%error, "a policy that rules do not make any more stays");
                }
            }
        }
        self.texts = texts;
        outcome
    }
}
