//! Which hook of which policy an error is about, when a program is made for several.
//!
//! What makes programs knows functions, and the verifier instructions; whoever wrote a policy knows
//! neither. An error that cannot be told from the others' is told with all hooks that it may be about.

use super::Place;
use crate::Error;
use crate::emit::program::section_of;
use crate::emit::section::Section;
use kernel::Errno;

/// Hooks that are named when it can be any.
const NAMED: usize = 5;

/// The error with the place of the hook that it is about, and with what to do.
pub(super) fn blame(place: &Place, sections: &[Section], error: Error) -> Error {
    let (section, cause) = match error {
        // That has a place.
        Error::Hook { .. } => return error,
        Error::Program { error, .. } if error.is_size() => {
            let section = error.functions().iter().find_map(|name| section_of(name));
            (section.and_then(|index| sections.get(index)), Error::TooLarge(error.to_string()))
        }
        Error::Kernel(error) if error.errno() == Some(Errno::E2BIG) => {
            (None, Error::TooLarge(error.to_string()))
        }
        other => (None, other),
    };
    let place = match (section, sections) {
        (Some(section), _) | (None, [section]) => section.place(),
        (None, sections) => {
            let mut places: Vec<String> = sections.iter().take(NAMED).map(Section::place).collect();
            if sections.len() > NAMED {
                places.push(format!("{} more", sections.len() - NAMED));
            }
            format!("one of the hooks on {} ({})", place.name(), places.join(", "))
        }
    };
    Error::Hook { place, cause: Box::new(cause) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_sections() {
        assert_eq!(section_of("section_0"), Some(0));
        assert_eq!(section_of("section_12_rows"), Some(12));
        assert_eq!(section_of("tg_acquire"), None);
        let chain = vec!["tg_place (64)".to_owned(), "section_3 (480)".to_owned()];
        let error = ebpf::Error::Stack { chain, bytes: 544 };
        assert!(error.is_size());
        assert_eq!(error.functions().iter().find_map(|name| section_of(name)), Some(3));
    }
}
