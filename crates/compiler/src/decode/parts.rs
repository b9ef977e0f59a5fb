//! Parts of long buffers, which are in the ring ahead of the record that they belong to.
//!
//! How much is held is bounded: where records stay away, because the ring was full, the oldest parts go.

use crate::emit::record::Position;
use crate::observed::{Observation, Observed};
use std::collections::{HashMap, VecDeque};

/// Bytes held at most: those of some fifty of the longest buffers.
const HELD_MAX: usize = 16 << 20;

/// Which record parts belong to: thread, section, time.
pub(super) type Owner = (u32, u32, u64);

/// A part.
#[derive(Debug)]
struct Part {
    position: Position,
    place: u64,
    bytes: Vec<u8>,
}

/// Parts whose record has not come yet.
#[derive(Debug, Default)]
pub(super) struct Parts {
    held: HashMap<Owner, Vec<Part>>,
    /// Owners in the order of their first parts.
    order: VecDeque<Owner>,
    size: usize,
}

impl Parts {
    /// Holds a part. Gives how many records lost theirs to make room for it.
    pub(super) fn hold(&mut self, owner: Owner, position: u16, place: u64, bytes: &[u8]) -> u64 {
        let mut given_up = 0;
        while self.size + bytes.len() > HELD_MAX {
            let Some(oldest) = self.order.front().copied() else { break };
            self.take(&oldest);
            given_up += 1;
        }
        let position = Position::from_code(position);
        let parts = self.held.entry(owner).or_insert_with(|| {
            self.order.push_back(owner);
            Vec::new()
        });
        parts.push(Part { position, place, bytes: bytes.to_vec() });
        self.size += bytes.len();
        given_up
    }

    fn take(&mut self, owner: &Owner) -> Vec<Part> {
        let Some(parts) = self.held.remove(owner) else { return Vec::new() };
        self.order.retain(|other| other != owner);
        self.size -= parts.iter().map(|part| part.bytes.len()).sum::<usize>();
        parts
    }

    /// Puts what is held for a record to its values. A buffer ends where a part is missing.
    pub(super) fn complete(&mut self, owner: &Owner, observation: &mut Observation) {
        for Part { position, place, bytes } in self.take(owner) {
            let value = match position {
                Position::Argument(index) => {
                    observation.args.get_mut(index).and_then(Option::as_mut)
                }
                Position::Data(index) => observation.data.get_mut(index).and_then(Option::as_mut),
                Position::Returned => observation.returned.as_mut(),
                Position::Stack(_) | Position::Owner => None,
            };
            let Some(Observed::Bytes { bytes: whole, original }) = value else { continue };
            if whole.len() as u64 == place {
                whole.extend_from_slice(&bytes);
                *original = original.filter(|original| *original > whole.len() as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded() {
        let mut parts = Parts::default();
        let part = vec![0; 4096];
        let count = (HELD_MAX / part.len()) as u64;
        let mut given_up = 0;
        for time in 0..count + 10 {
            given_up += parts.hold((1, 2, time), 0, 4096, &part);
            assert!(parts.size <= HELD_MAX);
        }
        assert_eq!((given_up, parts.held.len() as u64), (10, count));
        assert_eq!(parts.order.len(), parts.held.len());
        assert!(parts.take(&(1, 2, 0)).is_empty(), "the oldest went");
        assert_eq!(parts.take(&(1, 2, count)).len(), 1);
        assert_eq!(parts.size, HELD_MAX - part.len());
    }
}
