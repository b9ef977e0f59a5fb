//! Many elements in one system call (hashes and arrays since Linux 5.6, per-CPU arrays 5.13), one by
//! one where the kernel or the map type does not have it.

use std::os::fd::AsFd;

use super::{Map, Update};
use crate::errno::Errno;
use crate::error::Error;
use crate::sys::attr::MapBatch;
use crate::sys::{Command, address_of, address_of_mut, bpf, fd_number};

/// Elements per call: enough to make the call's cost vanish, little enough to stay small.
const ROOM: usize = 1024;
/// Most elements that one bucket of a hash is taken to hold before listing one by one.
const MOST_ROOM: usize = 1 << 20;

/// Keys and values of a map, side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements {
    key_size: usize,
    value_len: usize,
    count: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Elements {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each key with its value ([`Map::value_len`] bytes).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.count).map(|index| {
            let key = &self.keys[index * self.key_size..(index + 1) * self.key_size];
            let value = &self.values[index * self.value_len..(index + 1) * self.value_len];
            (key, value)
        })
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value);
        self.count += 1;
    }
}

/// A batch command that this kernel does not know, or not for this map type: `bpf_map_do_batch`
/// gives ENOTSUPP for map types without it, bpf(2) EINVAL for commands it does not know.
fn is_unsupported(errno: Errno) -> bool {
    [Errno::EINVAL, Errno::ENOTSUPP, Errno::EOPNOTSUPP].contains(&errno)
}

impl Map {
    /// All elements. Those that come or go meanwhile may be missing or there; none is there twice
    /// in a map that nobody changes.
    pub fn elements(&self) -> Result<Elements, Error> {
        match self.read_batches(Command::MapLookupBatch) {
            // EINTR: elements kept going away under generic_map_lookup_batch().
            Err(errno) if is_unsupported(errno) || errno == Errno::EINTR => {
                self.elements_one_by_one()
            }
            result => result.map_err(|errno| self.error("list", errno)),
        }
    }

    /// Takes all elements out of a hash. What is added meanwhile may stay in it. When it fails after
    /// some were taken it gives those, and the next call gives the error.
    pub fn drain(&self) -> Result<Elements, Error> {
        match self.read_batches(Command::MapLookupAndDeleteBatch) {
            Err(errno) if is_unsupported(errno) => {
                let elements = self.elements_one_by_one()?;
                for (key, _) in elements.iter() {
                    self.delete(key)?;
                }
                Ok(elements)
            }
            result => result.map_err(|errno| self.error("take all elements from", errno)),
        }
    }

    /// Sets many elements: `keys` and `values` hold as many keys and values, without gaps. On
    /// failure those before the one that failed are set.
    pub fn update_all(&self, keys: &[u8], values: &[u8], update: Update) -> Result<(), Error> {
        let (key_size, value_len) = (self.key_size, self.value_len()?);
        let count = self.count_of(keys)?;
        self.check("values", values.len(), count * value_len)?;
        let mut done = 0;
        // generic_map_update_batch() takes no other flag.
        if update == Update::Any && count > 0 {
            let mut attr = self.batch(keys, count);
            attr.values = address_of(values);
            // SAFETY: both slices hold `count` whole keys and values of the kernel's sizes.
            match unsafe { bpf(Command::MapUpdateBatch, &mut attr) } {
                Ok(_) => return Ok(()),
                Err(errno) if is_unsupported(errno) => done = attr.done_before_failure(count),
                Err(errno) => return Err(self.error("set values in", errno)),
            }
        }
        for index in done..count {
            let key = &keys[index * key_size..][..key_size];
            self.update(key, &values[index * value_len..][..value_len], update)?;
        }
        Ok(())
    }

    /// Removes many elements: `keys` holds them without gaps. Keys that are not there are no error.
    /// Gives the number removed.
    pub fn delete_all(&self, keys: &[u8]) -> Result<usize, Error> {
        let count = self.count_of(keys)?;
        let (mut at, mut removed) = (0, 0);
        while at < count {
            let mut attr = self.batch(&keys[at * self.key_size..], count - at);
            // SAFETY: the slice holds `count - at` whole keys of the kernel's size.
            match unsafe { bpf(Command::MapDeleteBatch, &mut attr) } {
                Ok(_) => return Ok(removed + count - at),
                // generic_map_delete_batch() stops at the first key that is not there.
                Err(Errno::ENOENT) => {
                    let done = attr.done_before_failure(count - at);
                    removed += done;
                    at += done + 1;
                }
                Err(errno) if is_unsupported(errno) => {
                    let done = attr.done_before_failure(count - at);
                    removed += done;
                    at += done;
                    break;
                }
                Err(errno) => return Err(self.error("delete keys from", errno)),
            }
        }
        for key in keys.chunks_exact(self.key_size.max(1)).skip(at) {
            removed += usize::from(self.delete(key)?);
        }
        Ok(removed)
    }

    fn count_of(&self, keys: &[u8]) -> Result<usize, Error> {
        let count = keys.len().checked_div(self.key_size).unwrap_or(0);
        self.check("keys", keys.len(), count * self.key_size)?;
        Ok(count)
    }

    fn batch(&self, keys: &[u8], count: usize) -> MapBatch {
        MapBatch {
            keys: address_of(keys),
            // A batch of more than 4 billion elements does not fit in memory.
            count: count as u32,
            map_fd: fd_number(self.as_fd()),
            ..MapBatch::default()
        }
    }

    fn read_batches(&self, command: Command) -> Result<Elements, Errno> {
        let (key_size, value_len) = (self.key_size, self.value_len().map_err(|_| Errno::EINVAL)?);
        let mut found = Elements { key_size, value_len, ..Elements::default() };
        // Where the kernel goes on: a key for arrays, a bucket number (u32) for hashes.
        let mut next = vec![0_u8; key_size.max(4)];
        let mut start = vec![0_u8; key_size.max(4)];
        let mut room = ROOM.min(self.max_entries as usize).max(1);
        let mut first = true;
        loop {
            let mut keys = vec![0_u8; room * key_size];
            let mut values = vec![0_u8; room * value_len];
            let mut attr = MapBatch {
                in_batch: if first { 0 } else { address_of(&start) },
                out_batch: address_of_mut(&mut next),
                keys: address_of_mut(&mut keys),
                values: address_of_mut(&mut values),
                count: room as u32,
                map_fd: fd_number(self.as_fd()),
                ..MapBatch::default()
            };
            // SAFETY: room for `room` keys and values of the kernel's sizes, and for a key or bucket
            // number at either batch address.
            let result = unsafe { bpf(command, &mut attr) };
            match result {
                Ok(_) | Err(Errno::ENOENT) => {}
                // A bucket with more elements than there is room for.
                Err(Errno::ENOSPC) if room < MOST_ROOM => {
                    room = (room * 2).min(MOST_ROOM);
                    continue;
                }
                // What was taken out is gone from the map: give it, and fail the next time.
                Err(_) if command == Command::MapLookupAndDeleteBatch && !found.is_empty() => {
                    return Ok(found);
                }
                Err(errno) => return Err(errno),
            }
            // Set to 0 before the kernel looks at anything that could be ENOENT.
            let count = (attr.count as usize).min(room);
            found.keys.extend_from_slice(&keys[..count * key_size]);
            found.values.extend_from_slice(&values[..count * value_len]);
            found.count += count;
            // ENOENT: these were the last.
            if result.is_err() {
                return Ok(found);
            }
            std::mem::swap(&mut start, &mut next);
            first = false;
        }
    }

    fn elements_one_by_one(&self) -> Result<Elements, Error> {
        let (key_size, value_len) = (self.key_size, self.value_len()?);
        let mut found = Elements { key_size, value_len, ..Elements::default() };
        for key in self.keys()? {
            // Keys that went since they were listed have no value.
            if let Some(value) = self.lookup(&key)? {
                found.push(&key, &value);
            }
        }
        Ok(found)
    }
}

impl MapBatch {
    /// Elements done out of `asked` by an update or delete that failed. The kernel writes the count
    /// once it has begun, so what still is what was asked means that it did not begin.
    fn done_before_failure(&self, asked: usize) -> usize {
        if self.count as usize >= asked { 0 } else { self.count as usize }
    }
}
