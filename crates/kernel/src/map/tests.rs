//! Maps of a fake kernel: what is passed, fallbacks, meaning of errors.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_long;
use std::rc::Rc;

use super::*;
use crate::sys::attr::MapBatch;
use crate::sys::{Call, fake};

/// A map of u32 to u64 inside a kernel that may lack batches.
#[derive(Default)]
struct Hash {
    elements: BTreeMap<u32, u64>,
    /// Batch commands give this.
    no_batches: Option<Errno>,
    /// Elements that a bucket holds: batches with less room give ENOSPC.
    bucket: usize,
    /// Commands seen.
    commands: Vec<Command>,
}

type Shared = Rc<RefCell<Hash>>;

impl Hash {
    fn element(&mut self, command: Command, attr: MapElement) -> Result<c_long, Errno> {
        let key =
            |address| u32::from_ne_bytes(fake::memory(address, 4).try_into().expect("four bytes"));
        match command {
            Command::MapLookup => {
                let value = self.elements.get(&key(attr.key)).ok_or(Errno::ENOENT)?;
                fake::memory(attr.value, 8).copy_from_slice(&value.to_ne_bytes());
            }
            Command::MapUpdate => {
                let value = fake::memory(attr.value, 8).try_into().expect("eight bytes");
                let exists = self.elements.contains_key(&key(attr.key));
                match attr.flags {
                    1 if exists => return Err(Errno::EEXIST),
                    2 if !exists => return Err(Errno::ENOENT),
                    _ => self.elements.insert(key(attr.key), u64::from_ne_bytes(value)),
                };
            }
            Command::MapDelete => {
                self.elements.remove(&key(attr.key)).ok_or(Errno::ENOENT)?;
            }
            Command::MapNextKey => {
                let behind = |&(known, _): &(&u32, &u64)| attr.key == 0 || *known > key(attr.key);
                let (next, _) = self.elements.iter().find(behind).ok_or(Errno::ENOENT)?;
                fake::memory(attr.value, 4).copy_from_slice(&next.to_ne_bytes());
            }
            other => panic!("{other:?}"),
        }
        Ok(0)
    }

    fn batch(&mut self, command: Command, attr: &mut MapBatch) -> Result<c_long, Errno> {
        if let Some(errno) = self.no_batches {
            return Err(errno);
        }
        let asked = std::mem::take(&mut attr.count) as usize;
        let keys = fake::memory(attr.keys, 4 * asked);
        match command {
            Command::MapLookupBatch | Command::MapLookupAndDeleteBatch => {
                let start = match attr.in_batch {
                    0 => 0,
                    address => u32::from_ne_bytes(fake::memory(address, 4).try_into().unwrap()),
                };
                if asked < self.bucket {
                    return Err(Errno::ENOSPC);
                }
                let values = fake::memory(attr.values, 8 * asked);
                let found: Vec<(u32, u64)> =
                    self.elements.range(start..).take(asked).map(|(k, v)| (*k, *v)).collect();
                for (index, (key, value)) in found.iter().enumerate() {
                    keys[4 * index..][..4].copy_from_slice(&key.to_ne_bytes());
                    values[8 * index..][..8].copy_from_slice(&value.to_ne_bytes());
                    if command == Command::MapLookupAndDeleteBatch {
                        self.elements.remove(key);
                    }
                }
                attr.count = found.len() as u32;
                let next = found.last().map_or(start, |(key, _)| key + 1);
                fake::memory(attr.out_batch, 4).copy_from_slice(&next.to_ne_bytes());
                if self.elements.range(next..).next().is_none() {
                    return Err(Errno::ENOENT);
                }
            }
            Command::MapDeleteBatch => {
                for key in keys.chunks(4) {
                    let key = u32::from_ne_bytes(key.try_into().unwrap());
                    self.elements.remove(&key).ok_or(Errno::ENOENT)?;
                    attr.count += 1;
                }
            }
            Command::MapUpdateBatch => {
                let values = fake::memory(attr.values, 8 * asked);
                for (key, value) in keys.chunks(4).zip(values.chunks(8)) {
                    let key = u32::from_ne_bytes(key.try_into().unwrap());
                    let value = u64::from_ne_bytes(value.try_into().unwrap());
                    self.elements.insert(key, value);
                    attr.count += 1;
                }
            }
            other => panic!("{other:?}"),
        }
        Ok(0)
    }
}

fn install(hash: Hash, max_entries: u32) -> (fake::FakeKernel, Shared, Map) {
    let shared = Rc::new(RefCell::new(hash));
    let inner = Rc::clone(&shared);
    let kernel = fake::install(move |call| {
        let Call::Bpf { command, attr } = call else { panic!("only bpf(2) is needed") };
        let mut hash = inner.borrow_mut();
        hash.commands.push(*command);
        match command {
            Command::MapCreate => Ok(fake::descriptor()),
            Command::MapLookupBatch
            | Command::MapLookupAndDeleteBatch
            | Command::MapUpdateBatch
            | Command::MapDeleteBatch => {
                let mut batch: MapBatch = fake::read_attr(attr);
                let result = hash.batch(*command, &mut batch);
                fake::write_attr(attr, &batch);
                result
            }
            _ => hash.element(*command, fake::read_attr(attr)),
        }
    });
    let map_type = MapType::HASH;
    let spec = MapSpec {
        name: "numbers",
        map_type,
        key_size: 4,
        value_size: 8,
        max_entries,
        ..MapSpec::default()
    };
    let map = Map::create(&spec).unwrap();
    (kernel, shared, map)
}

fn filled(count: u32) -> Hash {
    let elements = (0..count).map(|key| (key, u64::from(key) * 10)).collect();
    Hash { elements, ..Hash::default() }
}

fn numbers(elements: &Elements) -> Vec<(u32, u64)> {
    let read = |(key, value): (&[u8], &[u8])| {
        let key = u32::from_ne_bytes(key.try_into().unwrap());
        (key, u64::from_ne_bytes(value.try_into().unwrap()))
    };
    elements.iter().map(read).collect()
}

#[test]
fn create_passes_what_the_spec_says() {
    let _kernel = fake::install(|call| {
        let Call::Bpf { command: Command::MapCreate, attr } = call else { panic!() };
        let attr: MapCreate = fake::read_attr(attr);
        assert_eq!((attr.map_type, attr.key_size, attr.value_size), (1, 4, 8));
        assert_eq!((attr.max_entries, attr.map_flags, attr.numa_node), (10, 1 | 4, 3));
        assert_eq!(&attr.map_name, b"a_long_name_of_\0");
        Ok(fake::descriptor())
    });
    let map = Map::create(&MapSpec {
        name: "a-long-name-of-a-map",
        map_type: MapType::HASH,
        key_size: 4,
        value_size: 8,
        max_entries: 10,
        flags: MapFlags::NO_PREALLOC,
        numa_node: Some(3),
        ..MapSpec::default()
    });
    assert_eq!(map.unwrap().name(), "a-long-name-of-a-map");
}

#[test]
fn eperm_raises_the_memory_limit_and_tries_again() {
    let mut raised = false;
    let _kernel = fake::install(move |call| match call {
        Call::RaiseMemlock => {
            raised = true;
            Ok(0)
        }
        _ if raised => Ok(fake::descriptor()),
        _ => Err(Errno::EPERM),
    });
    assert!(Map::create(&MapSpec::default()).is_ok());
}

#[test]
fn eperm_that_stays_is_reported() {
    let mut calls = 0;
    let _kernel = fake::install(move |call| match call {
        Call::RaiseMemlock => Err(Errno::EPERM),
        _ => {
            calls += 1;
            assert_eq!(calls, 1, "no second try when the limit could not be raised");
            Err(Errno::EPERM)
        }
    });
    let error = Map::create(&MapSpec::default()).unwrap_err();
    assert!(error.to_string().contains("CAP_BPF"), "{error}");
}

#[test]
fn absence_is_an_answer() {
    let (_kernel, _, map) = install(filled(1), 8);
    assert_eq!(map.lookup(&0_u32.to_ne_bytes()).unwrap(), Some(vec![0; 8]));
    assert_eq!(map.lookup(&9_u32.to_ne_bytes()).unwrap(), None);
    assert!(map.delete(&0_u32.to_ne_bytes()).unwrap());
    assert!(!map.delete(&0_u32.to_ne_bytes()).unwrap());
    assert_eq!(map.next_key(None).unwrap(), None);
}

#[test]
fn sizes_are_checked_before_the_kernel_sees_them() {
    let (_kernel, shared, map) = install(filled(1), 8);
    shared.borrow_mut().commands.clear();
    assert!(matches!(map.lookup(&[0; 3]), Err(Error::Size { what: "key", given: 3, .. })));
    let error = map.update(&[0; 4], &[0; 9], Update::Any).unwrap_err();
    assert_eq!(error.to_string(), "map `numbers`: value of 9 bytes where 8 are needed");
    assert!(map.lookup_into(&[0; 4], &mut [0; 7]).is_err());
    assert!(map.delete(&[0; 5]).is_err());
    assert!(map.next_key(Some(&[])).is_err());
    assert!(map.update_all(&[0; 8], &[0; 8], Update::Any).is_err());
    assert!(map.delete_all(&[0; 7]).is_err());
    assert_eq!(shared.borrow().commands, []);
}

#[test]
fn elements_come_in_batches() {
    let (_kernel, shared, map) = install(filled(3000), 5000);
    let elements = map.elements().unwrap();
    assert_eq!(numbers(&elements), (0..3000).map(|k| (k, u64::from(k) * 10)).collect::<Vec<_>>());
    let batches =
        shared.borrow().commands.iter().filter(|c| **c == Command::MapLookupBatch).count();
    assert_eq!(batches, 3);
    assert!(!shared.borrow().commands.contains(&Command::MapLookup));
}

#[test]
fn batches_grow_when_a_bucket_does_not_fit() {
    let (_kernel, shared, map) = install(Hash { bucket: 1500, ..filled(2000) }, 4000);
    assert_eq!(map.elements().unwrap().len(), 2000);
    assert!(!shared.borrow().commands.contains(&Command::MapLookup));
}

#[test]
fn elements_come_one_by_one_where_there_are_no_batches() {
    for errno in [Errno::EINVAL, Errno::ENOTSUPP, Errno::EOPNOTSUPP] {
        let (_kernel, shared, map) = install(Hash { no_batches: Some(errno), ..filled(5) }, 8);
        assert_eq!(numbers(&map.elements().unwrap()).len(), 5);
        assert_eq!(numbers(&map.drain().unwrap())[4], (4, 40));
        assert!(shared.borrow().elements.is_empty());
    }
}

#[test]
fn other_errors_of_batches_are_reported() {
    let (_kernel, _, map) = install(Hash { no_batches: Some(Errno::ENOMEM), ..filled(5) }, 8);
    assert_eq!(map.elements().unwrap_err().errno(), Some(Errno::ENOMEM));
    assert_eq!(map.delete_all(&[0; 4]).unwrap_err().errno(), Some(Errno::ENOMEM));
    let error = map.update_all(&[0; 4], &[0; 8], Update::Any).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENOMEM));
}

#[test]
fn drain_empties_the_map() {
    let (_kernel, shared, map) = install(filled(2000), 4000);
    assert_eq!(map.drain().unwrap().len(), 2000);
    assert!(shared.borrow().elements.is_empty());
    assert!(map.drain().unwrap().is_empty());
}

#[test]
fn deleting_passes_over_missing_keys() {
    for no_batches in [None, Some(Errno::EINVAL)] {
        let (_kernel, shared, map) = install(Hash { no_batches, ..filled(4) }, 8);
        let keys = [9_u32, 0, 8, 1, 3, 7].map(u32::to_ne_bytes).concat();
        assert_eq!(map.delete_all(&keys).unwrap(), 3);
        assert_eq!(shared.borrow().elements.keys().copied().collect::<Vec<_>>(), [2]);
    }
}

#[test]
fn updating_all_keeps_to_the_flag() {
    for no_batches in [None, Some(Errno::ENOTSUPP)] {
        let (_kernel, shared, map) = install(Hash { no_batches, ..filled(1) }, 8);
        let keys = [1_u32, 0].map(u32::to_ne_bytes).concat();
        let values = [11_u64, 12].map(u64::to_ne_bytes).concat();
        let error = map.update_all(&keys, &values, Update::Create).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EEXIST));
        assert_eq!(shared.borrow().elements, BTreeMap::from([(0, 0), (1, 11)]));
        map.update_all(&keys, &values, Update::Any).unwrap();
        assert_eq!(shared.borrow().elements, BTreeMap::from([(0, 12), (1, 11)]));
    }
}

#[test]
fn keys_that_start_over_are_listed_once() {
    // The kernel starts over when the key it was given is gone.
    let mut calls = 0;
    let _kernel = fake::install(move |call| {
        let Call::Bpf { command, attr } = call else { panic!() };
        if *command == Command::MapCreate {
            return Ok(fake::descriptor());
        }
        let attr: MapElement = fake::read_attr(attr);
        calls += 1;
        let keys = [1_u32, 2, 1, 2, 3];
        let next = keys.get(calls - 1).ok_or(Errno::ENOENT)?;
        fake::memory(attr.value, 4).copy_from_slice(&next.to_ne_bytes());
        Ok(0)
    });
    let spec = MapSpec { key_size: 4, max_entries: 4, ..MapSpec::default() };
    let keys = Map::create(&spec).unwrap().keys().unwrap();
    assert_eq!(keys, [1_u32, 2, 3].map(|key| key.to_ne_bytes().to_vec()));
}

#[test]
fn listing_a_map_that_never_ends_ends() {
    let _kernel = fake::install(move |_| Ok(fake::descriptor()));
    let spec = MapSpec { name: "m", key_size: 4, max_entries: 4, ..MapSpec::default() };
    let error = Map::create(&spec).unwrap().keys().unwrap_err();
    assert!(matches!(error, Error::Restless { .. }));
}
