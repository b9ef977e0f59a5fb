//! Maps of all kinds that are used, on the running kernel.

#![allow(clippy::unwrap_used)] // also in functions that tests share

mod support;

use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::Ordering;

use kernel::btf::TypeId;
use kernel::btf_object::{BtfObject, MapBtf};
use kernel::map::{Map, MapFlags, MapSpec, MapType, Update, map_ids};
use kernel::program::{Program, TestRun};
use kernel::{Errno, Error, cpu, pidfd};
use support::{call, copy, exit, insn, load_map, map_spec, mov, raw_tracepoint, store};

fn create(map_type: MapType, key: u32, value: u32, max: u32) -> Map {
    Map::create(&map_spec(map_type, key, value, max)).unwrap()
}

#[test]
fn hash_elements_come_and_go() {
    need_bpf!();
    for (map_type, flags) in [
        (MapType::HASH, MapFlags::empty()),
        (MapType::HASH, MapFlags::NO_PREALLOC),
        (MapType::LRU_HASH, MapFlags::empty()),
    ] {
        let map = Map::create(&MapSpec { flags, ..map_spec(map_type, 4, 8, 3000) }).unwrap();
        let keys: Vec<u8> = (0..2000_u32).flat_map(u32::to_ne_bytes).collect();
        let values: Vec<u8> = (0..2000_u64).flat_map(u64::to_ne_bytes).collect();
        map.update_all(&keys, &values, Update::Any).unwrap();
        assert_eq!(map.lookup(&7_u32.to_ne_bytes()).unwrap().unwrap(), 7_u64.to_ne_bytes());
        assert_eq!(map.lookup(&9999_u32.to_ne_bytes()).unwrap(), None);
        assert_eq!(map.keys().unwrap().len(), 2000);
        let elements = map.elements().unwrap();
        assert_eq!(elements.len(), 2000);
        assert!(elements.iter().all(|(key, value)| key == &value[..4]));
        // 2500 is not there.
        let some = [1_u32, 2500, 2].map(u32::to_ne_bytes).concat();
        assert_eq!(map.delete_all(&some).unwrap(), 2);
        assert!(!map.delete(&1_u32.to_ne_bytes()).unwrap());
        assert_eq!(map.drain().unwrap().len(), 1998);
        assert!(map.elements().unwrap().is_empty());
    }
}

#[test]
fn updates_keep_to_their_flag() {
    need_bpf!();
    let map = create(MapType::HASH, 4, 4, 1);
    let (one, two) = (1_u32.to_ne_bytes(), 2_u32.to_ne_bytes());
    let errno = |result: Result<(), Error>| result.unwrap_err().errno();
    assert_eq!(errno(map.update(&one, &one, Update::Replace)), Some(Errno::ENOENT));
    map.update(&one, &one, Update::Create).unwrap();
    assert_eq!(errno(map.update(&one, &two, Update::Create)), Some(Errno::EEXIST));
    map.update(&one, &two, Update::Replace).unwrap();
    assert_eq!(map.lookup_and_delete(&one).unwrap(), Some(two.to_vec()));
    assert_eq!(map.lookup_and_delete(&one).unwrap(), None);
    map.update(&one, &one, Update::Any).unwrap();
    let full = map.update(&two, &two, Update::Any).unwrap_err().to_string();
    assert!(full.ends_with("(E2BIG): the map is full, or the index is beyond its end"), "{full}");
}

#[test]
fn arrays_hold_all_their_elements() {
    need_bpf!();
    let map = create(MapType::ARRAY, 4, 3, 5);
    map.update(&4_u32.to_ne_bytes(), b"abc", Update::Any).unwrap();
    let elements = map.elements().unwrap();
    assert_eq!(elements.iter().last().unwrap(), (&4_u32.to_ne_bytes()[..], &b"abc"[..]));
    assert_eq!(elements.len(), 5);
    assert_eq!(map.delete(&0_u32.to_ne_bytes()).unwrap_err().errno(), Some(Errno::EINVAL));
    assert_eq!(map.lookup(&5_u32.to_ne_bytes()).unwrap(), None);
}

#[test]
fn each_cpu_has_a_value() {
    need_bpf!();
    let cpus = cpu::possible().unwrap().len();
    for map_type in [MapType::PERCPU_ARRAY, MapType::PERCPU_HASH, MapType::LRU_PERCPU_HASH] {
        let map = create(map_type, 4, 12, 2);
        assert_eq!(map.value_len().unwrap(), 16 * cpus);
        let key = 1_u32.to_ne_bytes();
        let value: Vec<u8> = (0..12).collect();
        map.update_per_cpu(&key, &value, Update::Any).unwrap();
        let values = map.lookup_per_cpu(&key).unwrap().unwrap();
        assert_eq!(values.iter().collect::<Vec<_>>(), vec![&value[..]; cpus]);
        let found = map.elements().unwrap();
        let (_, last) = found.iter().find(|(found, _)| *found == key).unwrap();
        assert_eq!(&last[..12], &value);
    }
}

#[test]
fn a_per_cpu_counter_adds_up() {
    need_bpf!();
    let map = create(MapType::PERCPU_ARRAY, 4, 8, 1);
    let [first, second] = load_map(1, &map);
    let code = [
        mov(2, 0),
        store(10, -8, 2),
        first,
        second,
        copy(2, 10),
        insn(0x07, 2, 0, 0, -8),
        call(1),                // bpf_map_lookup_elem
        insn(0x15, 0, 0, 2, 0), // if r0 == 0 goto +2
        mov(1, 1),
        insn(0xdb, 0, 1, 0, 0), // lock *(u64 *)(r0 + 0) += r1
        mov(0, 0),
        exit(),
    ]
    .concat();
    let program = Program::load(&raw_tracepoint("count", &code)).unwrap();
    for cpu in cpu::online().unwrap() {
        let run = TestRun { cpu: Some(cpu), ..TestRun::default() };
        program.test_run(&run).unwrap();
        program.test_run(&run).unwrap();
    }
    let values = map.lookup_per_cpu(&[0; 4]).unwrap().unwrap();
    assert_eq!(values.sum_u64(0), Some(2 * cpu::online().unwrap().len() as u64));
    let used: Vec<_> = values.iter().filter(|value| value[0] == 2).collect();
    assert_eq!(used.len(), cpu::online().unwrap().len());
}

#[test]
fn programs_see_what_is_written_to_mapped_memory() {
    need_bpf!();
    let flags = MapFlags::MMAPABLE;
    let map = Map::create(&MapSpec { flags, ..map_spec(MapType::ARRAY, 4, 24, 1) }).unwrap();
    let memory = map.map_memory().unwrap();
    assert_eq!((memory.stride(), memory.u64s().len(), memory.u32s().len()), (24, 3, 6));
    memory.u64s()[2].store(77, Ordering::Relaxed);
    assert_eq!(map.lookup(&[0; 4]).unwrap().unwrap()[16..], 77_u64.to_ne_bytes());
    // r0 = word 2; word 2 = 78
    let address = [insn(0x18, 6, 2, 0, fd(&map)), insn(0, 0, 0, 0, 16)]; // BPF_PSEUDO_MAP_VALUE
    let code = [address[0], address[1], insn(0x79, 0, 6, 0, 0), mov(1, 78), store(6, 0, 1), exit()]
        .concat();
    let program = Program::load(&raw_tracepoint("touch", &code)).unwrap();
    assert_eq!(program.test_run(&TestRun::default()).unwrap().returned, 77);
    assert_eq!(memory.u64s()[2].load(Ordering::Relaxed), 78);
    let mut bytes = [0; 8];
    assert!(memory.read(16, &mut bytes) && bytes == 78_u64.to_ne_bytes());
    assert!(!memory.read(17, &mut bytes));
    let other = create(MapType::ARRAY, 4, 8, 3).map_memory().unwrap_err();
    assert_eq!(other.errno(), Some(Errno::EINVAL));
}

#[test]
fn mapped_values_are_rounded_up_to_eight_bytes() {
    need_bpf!();
    let flags = MapFlags::MMAPABLE;
    let map = Map::create(&MapSpec { flags, ..map_spec(MapType::ARRAY, 4, 5, 3000) }).unwrap();
    let memory = map.map_memory().unwrap();
    assert_eq!((memory.stride(), memory.bytes().len()), (8, 24_000));
    memory.bytes()[2999 * 8 + 4].store(9, Ordering::Relaxed);
    assert_eq!(map.lookup(&2999_u32.to_ne_bytes()).unwrap().unwrap(), [0, 0, 0, 0, 9]);
}

fn fd(map: &Map) -> i32 {
    use std::os::fd::AsRawFd;
    map.as_fd().as_raw_fd()
}

#[test]
fn a_frozen_map_cannot_be_changed() {
    need_bpf!();
    let map = create(MapType::ARRAY, 4, 4, 1);
    map.freeze().unwrap();
    let error = map.update(&[0; 4], &[1; 4], Update::Any).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EPERM));
    assert!(error.to_string().contains("frozen"));
    assert_eq!(map.lookup(&[0; 4]).unwrap(), Some(vec![0; 4]));
}

#[test]
fn maps_hold_maps() {
    need_bpf!();
    let inner = create(MapType::HASH, 4, 4, 8);
    for map_type in [MapType::ARRAY_OF_MAPS, MapType::HASH_OF_MAPS] {
        let spec = MapSpec { inner: Some(&inner), ..map_spec(map_type, 4, 4, 2) };
        let outer = Map::create(&spec).unwrap();
        let key = 1_u32.to_ne_bytes();
        assert!(outer.lookup_map(&key).unwrap().is_none());
        outer.update_map(&key, &inner, Update::Any).unwrap();
        inner.update(&key, &key, Update::Any).unwrap();
        let found = outer.lookup_map(&key).unwrap().unwrap();
        assert_eq!(found.info().unwrap(), inner.info().unwrap());
        assert_eq!(found.lookup(&key).unwrap().unwrap(), key);
        assert!(outer.update_map(&key, &create(MapType::ARRAY, 4, 4, 8), Update::Any).is_err());
    }
    assert!(matches!(inner.lookup_map(&[0; 4]), Err(Error::MapType { .. })));
}

#[test]
fn longest_prefix_wins() {
    need_bpf!();
    let flags = MapFlags::NO_PREALLOC;
    let map = Map::create(&MapSpec { flags, ..map_spec(MapType::LPM_TRIE, 12, 1, 8) }).unwrap();
    let key = |bits: u32, text: &[u8; 8]| [&bits.to_ne_bytes()[..], text].concat();
    map.update(&key(16, b"/e\0\0\0\0\0\0"), &[1], Update::Any).unwrap();
    map.update(&key(32, b"/etc\0\0\0\0"), &[2], Update::Any).unwrap();
    assert_eq!(map.lookup(&key(64, b"/etc/xyz")).unwrap(), Some(vec![2]));
    assert_eq!(map.lookup(&key(64, b"/exe/xyz")).unwrap(), Some(vec![1]));
    assert_eq!(map.lookup(&key(64, b"/usr/xyz")).unwrap(), None);
    assert_eq!(map.elements().unwrap().len(), 2);
}

#[test]
fn task_storage_is_found_by_pidfd() {
    need_bpf!();
    let btf = BtfObject::load(&support::int_btf()).unwrap();
    let types = MapBtf { object: &btf, key: TypeId(1), value: TypeId(2) };
    let spec = MapSpec {
        flags: MapFlags::NO_PREALLOC,
        btf: Some(types),
        ..map_spec(MapType::TASK_STORAGE, 4, 8, 0)
    };
    let map = Map::create(&spec).unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let task = pidfd::open(child.id()).unwrap().unwrap();
    assert_eq!(map.lookup_task(task.as_fd()).unwrap(), None);
    map.update_task(task.as_fd(), &5_u64.to_ne_bytes(), Update::Create).unwrap();
    assert_eq!(map.lookup_task(task.as_fd()).unwrap().unwrap(), 5_u64.to_ne_bytes());
    let own = pidfd::open(std::process::id()).unwrap().unwrap();
    assert_eq!(map.lookup_task(own.as_fd()).unwrap(), None);
    assert!(map.delete_task(task.as_fd()).unwrap());
    assert!(!map.delete_task(task.as_fd()).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(map.lookup_task(task.as_fd()).unwrap(), None);
    let gone = map.update_task(task.as_fd(), &[0; 8], Update::Any).unwrap_err();
    assert!(gone.to_string().ends_with("(ESRCH): the process has ended"), "{gone}");
    assert!(pidfd::open(child.id()).unwrap().is_none());
    assert!(map.elements().is_err());
}

#[test]
fn storage_without_types_is_refused() {
    need_bpf!();
    let flags = MapFlags::NO_PREALLOC;
    let spec = MapSpec { flags, ..map_spec(MapType::TASK_STORAGE, 4, 8, 0) };
    assert_eq!(Map::create(&spec).unwrap_err().errno(), Some(Errno::EINVAL));
}

#[test]
fn maps_are_listed_opened_and_measured() {
    need_bpf!();
    let map = create(MapType::HASH, 8, 64, 1000);
    let info = map.info().unwrap();
    assert_eq!((info.name.as_str(), info.key_size, info.value_size), ("test", 8, 64));
    assert_eq!((info.map_type, info.max_entries), (MapType::HASH, 1000));
    assert!(map_ids().unwrap().contains(&info.id));
    let opened = Map::from_id(info.id).unwrap();
    assert_eq!((opened.info().unwrap(), opened.value_size()), (info.clone(), 64));
    let clone = opened.try_clone().unwrap();
    assert_eq!(clone.info().unwrap().id, info.id);
    assert!(map.memory_bytes().unwrap() >= 72 * 1000);
    assert!(Map::from_id(u32::MAX).is_err());
}

#[test]
fn illegal_maps_are_refused_with_a_reason() {
    need_bpf!();
    let error = Map::create(&map_spec(MapType::RINGBUF, 0, 0, 1000)).unwrap_err().to_string();
    assert!(error.contains("`test` (ringbuf)") && error.contains("power of two"), "{error}");
    let error = Map::create(&map_spec(MapType(999), 4, 4, 1)).unwrap_err().to_string();
    assert!(error.contains("(type 999)") && error.contains("does not know"), "{error}");
}

#[test]
fn broken_btf_is_refused_with_a_reason() {
    need_bpf!();
    let mut blob = support::int_btf();
    blob[24 + 8] = 3; // an int of three bytes
    let error = BtfObject::load(&blob).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EINVAL));
    assert!(
        error.to_string().starts_with("cannot load BTF: Invalid argument (EINVAL): "),
        "{error}"
    );
    let good = BtfObject::load(&support::int_btf()).unwrap().info().unwrap();
    assert!(!good.is_kernel && good.name.is_empty());
    assert!(BtfObject::of_module("no_such_module").unwrap().is_none());
    assert!(BtfObject::of_module("vmlinux").unwrap().unwrap().info().unwrap().is_kernel);
}
