//! Policies that clients had added, at the next start.

use std::collections::BTreeMap;

use super::{Origin, Outcome, RecordError, Records, Store, Text};

/// Loads the policies that clients had added; those that were disabled are listed as such. What cannot be
/// read or loaded is told, and stays stored.
///
/// # Errors
/// The directory cannot be read.
pub fn restore(store: &Store, records: &Records) -> Result<Outcome, RecordError> {
    let mut outcome = Outcome::default();
    let mut domains: BTreeMap<String, Vec<Text>> = BTreeMap::new();
    for record in records.list()? {
        match record {
            Ok((key, record)) => {
                let text = Text {
                    mode: record.mode.map(Into::into),
                    enabled: record.enabled,
                    ..Text::new(
                        Origin::Stored,
                        records.path(&key).display().to_string(),
                        record.yaml,
                    )
                };
                domains.entry(key.domain).or_default().push(text);
            }
            Err(error) => {
                outcome.failed += 1;
                tracing::error!("{error}");
            }
        }
    }
    for (domain, texts) in domains {
        for (Text { file, enabled, .. }, added) in texts.iter().zip(store.add_all(&domain, &texts))
        {
            match added {
                Ok(_) if *enabled => outcome.loaded += 1,
                Ok(key) => tracing::info!(policy = key.name, "a stored policy is disabled"),
                Err(error) => outcome.fail(file, &error.to_string()),
            }
        }
    }
    Ok(outcome)
}
