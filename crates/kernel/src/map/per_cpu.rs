//! Values of per-CPU maps: one for each possible CPU, side by side.

use super::{Map, Update};
use crate::error::Error;

/// Bytes from one CPU's value to the next: the kernel rounds up to 8 (`bpf_percpu_array_copy`).
pub(super) fn stride(value_size: usize) -> usize {
    value_size.next_multiple_of(8)
}

/// The values of one key, one for each possible CPU in rising order of CPU numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerCpu {
    bytes: Vec<u8>,
    value_size: usize,
}

impl PerCpu {
    /// Views what a lookup in a per-CPU map gave, for instance in [`Map::elements`].
    pub fn new(bytes: Vec<u8>, value_size: usize) -> Self {
        Self { bytes, value_size }
    }

    /// Each CPU's value.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(stride(self.value_size).max(8)).map(|cell| &cell[..self.value_size])
    }

    /// The sum over all CPUs of the u64 at byte `offset` in each value; wraps around. `None`: values
    /// end before.
    pub fn sum_u64(&self, offset: usize) -> Option<u64> {
        let word =
            |value: &[u8]| value.get(offset..)?.first_chunk().map(|c| u64::from_ne_bytes(*c));
        self.iter().try_fold(0_u64, |sum, value| Some(sum.wrapping_add(word(value)?)))
    }
}

impl Map {
    /// The values of `key` in a per-CPU map.
    pub fn lookup_per_cpu(&self, key: &[u8]) -> Result<Option<PerCpu>, Error> {
        self.need(self.map_type.is_per_cpu(), "a per-CPU map")?;
        let bytes = self.lookup(key)?;
        Ok(bytes.map(|bytes| PerCpu::new(bytes, self.value_size)))
    }

    /// Sets the value of `key` to `value` (of [`Map::value_size`] bytes) on all CPUs.
    pub fn update_per_cpu(&self, key: &[u8], value: &[u8], update: Update) -> Result<(), Error> {
        self.need(self.map_type.is_per_cpu(), "a per-CPU map")?;
        self.check("value", value.len(), self.value_size)?;
        let mut cell = value.to_vec();
        cell.resize(stride(self.value_size), 0);
        self.update(key, &cell.repeat(crate::cpu::possible()?.len()), update)
    }

    pub(crate) fn need(&self, is: bool, needed: &'static str) -> Result<(), Error> {
        let found = || self.map_type.to_string();
        if is {
            return Ok(());
        }
        Err(Error::MapType { map: self.name.clone(), found: found(), needed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_up_to_eight_bytes() {
        let bytes = (0..32).collect();
        let values = PerCpu::new(bytes, 12);
        let firsts: Vec<_> = values.iter().map(|value| (value[0], value.len())).collect();
        assert_eq!(firsts, [(0, 12), (16, 12)]);
        assert_eq!(values.sum_u64(5), None);
        let one = u64::from_ne_bytes([4, 5, 6, 7, 8, 9, 10, 11]);
        let two = u64::from_ne_bytes([20, 21, 22, 23, 24, 25, 26, 27]);
        assert_eq!(values.sum_u64(4), Some(one.wrapping_add(two)));
    }
}
