//! A ring in plain memory, written to as the kernel writes.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::ring::{BUSY, DISCARD, HEADER};
use super::*;
use crate::map::MapSpec;
use crate::sys::{Call, fake};

const PAGE: usize = 4096;

/// Memory laid out as the kernel maps it: a page, another page, the data and its mirror.
struct Memory {
    words: Box<[AtomicU64]>,
    size: usize,
}

impl Memory {
    fn new(size: usize) -> Self {
        let words = (0..(2 * PAGE + 2 * size) / 8).map(|_| AtomicU64::new(0)).collect();
        Self { words, size }
    }

    fn address(&self, offset: usize) -> usize {
        self.words.as_ptr().expose_provenance() + offset
    }

    fn ring(&self) -> Ring {
        let at = |offset| NonNull::new(std::ptr::with_exposed_provenance_mut(self.address(offset)));
        // SAFETY: laid out as `Ring` wants it; tests keep `self` longer than the ring.
        unsafe { Ring::new(at(0).unwrap(), at(PAGE).unwrap(), PAGE, self.size) }
    }

    fn consumer(&self) -> &AtomicU64 {
        &self.words[0]
    }

    fn producer(&self) -> &AtomicU64 {
        &self.words[PAGE / 8]
    }

    /// Both views of the 8 bytes at a position.
    fn put(&self, position: u64, word: u64) {
        let offset = (position % self.size as u64) as usize;
        for half in [0, self.size] {
            self.words[(2 * PAGE + offset + half) / 8].store(word, Ordering::Release);
        }
    }

    /// Reserves and writes a record; the header's flags are `flags`. Gives its position.
    fn write(&self, data: &[u8], flags: u32) -> u64 {
        let position = self.producer().load(Ordering::Relaxed);
        for (index, chunk) in data.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.put(position + 8 + 8 * index as u64, u64::from_ne_bytes(bytes));
        }
        self.header(position, data.len() as u32 | flags);
        let end = position + (HEADER + data.len()).next_multiple_of(8) as u64;
        self.producer().store(end, Ordering::Release);
        position
    }

    fn header(&self, position: u64, word: u32) {
        let [a, b, c, d] = word.to_ne_bytes();
        self.put(position, u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0]));
    }
}

/// All that can be read now.
fn drain(ring: &mut Ring) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    loop {
        match ring.next() {
            Next::Record { data, advance } => {
                records.push(data.to_vec());
                ring.advance(advance);
            }
            Next::Discarded { advance } => ring.advance(advance),
            Next::Wait | Next::Corrupt => return records,
        }
    }
}

#[test]
fn records_come_in_order_and_around_the_end() {
    let memory = Memory::new(64);
    let mut ring = memory.ring();
    for round in 0..50_u8 {
        // 24 bytes each: every position in the ring becomes a start, and records cross the end.
        let data: Vec<u8> = (0..13).map(|byte| byte ^ round).collect();
        memory.write(&data, 0);
        memory.write(&[], 0);
        assert_eq!(drain(&mut ring), [data, vec![]]);
        assert_eq!(ring.next(), Next::Wait);
    }
    assert_eq!(memory.consumer().load(Ordering::Relaxed), 50 * 32);
}

#[test]
fn a_busy_record_holds_back_those_behind_it() {
    let memory = Memory::new(128);
    let mut ring = memory.ring();
    memory.write(b"first", 0);
    let busy = memory.write(b"second", BUSY);
    memory.write(b"third", 0);
    assert_eq!(drain(&mut ring), [b"first"]);
    assert_eq!(ring.available(), 32);
    memory.header(busy, 6);
    assert_eq!(drain(&mut ring), [b"second".to_vec(), b"third".to_vec()]);
    assert_eq!(ring.available(), 0);
}

#[test]
fn discarded_records_are_passed_over() {
    let memory = Memory::new(64);
    let mut ring = memory.ring();
    memory.write(b"given up", DISCARD);
    memory.write(b"kept", 0);
    assert_eq!(drain(&mut ring), [b"kept"]);
}

#[test]
fn a_record_may_fill_the_ring() {
    let memory = Memory::new(64);
    let mut ring = memory.ring();
    memory.write(b"shift", 0);
    drain(&mut ring);
    let data = [7; 56];
    memory.write(&data, 0);
    assert_eq!(ring.available(), 64);
    assert_eq!(drain(&mut ring), [data]);
}

#[test]
fn positions_wrap_around() {
    let memory = Memory::new(64);
    let start = u64::MAX - 15;
    memory.consumer().store(start, Ordering::Relaxed);
    memory.producer().store(start, Ordering::Relaxed);
    let mut ring = memory.ring();
    memory.header(start, 20);
    memory.put(start.wrapping_add(8), u64::from_ne_bytes(*b"abcdefgh"));
    memory.put(start.wrapping_add(16), u64::from_ne_bytes(*b"ijklmnop"));
    memory.put(start.wrapping_add(24), u64::from_ne_bytes(*b"qrst\0\0\0\0"));
    memory.producer().store(start.wrapping_add(32), Ordering::Relaxed);
    assert_eq!(drain(&mut ring), [b"abcdefghijklmnopqrst"]);
    assert_eq!(memory.consumer().load(Ordering::Relaxed), 16);
}

#[test]
fn a_length_beyond_what_is_reserved_is_corrupt() {
    let memory = Memory::new(64);
    let mut ring = memory.ring();
    let position = memory.write(b"12345678", 0);
    for length in [9, 57, 64, DISCARD - 1] {
        memory.header(position, length);
        assert_eq!(ring.next(), Next::Corrupt, "{length}");
        memory.header(position, length | DISCARD);
        assert_eq!(ring.next(), Next::Corrupt, "{length}");
    }
    ring.skip_all();
    memory.write(b"after", 0);
    assert_eq!(drain(&mut ring), [b"after"]);
}

#[test]
fn positions_that_no_kernel_writes_are_corrupt() {
    let memory = Memory::new(64);
    let mut ring = memory.ring();
    for (consumer, producer) in [(0, 72), (8, 0), (0, 4), (4, 20), (0, u64::MAX)] {
        memory.consumer().store(consumer, Ordering::Relaxed);
        memory.producer().store(producer, Ordering::Relaxed);
        assert_eq!(ring.next(), Next::Corrupt, "{consumer} {producer}");
        assert!(ring.available() <= 64);
    }
}

proptest! {
    /// Whatever stands in the memory: each step stays in bounds, and reading ends.
    #[test]
    fn garbage_is_bounded(
        consumer in any::<u64>(),
        ahead in 0..300_u64,
        words in proptest::collection::vec(
            prop_oneof![any::<u64>(), (0..80_u64), (0..80_u64).prop_map(|len| len | 1 << 30)],
            16,
        ),
    ) {
        let memory = Memory::new(128);
        memory.consumer().store(consumer, Ordering::Relaxed);
        memory.producer().store(consumer.wrapping_add(ahead), Ordering::Relaxed);
        for (index, word) in words.iter().enumerate() {
            memory.put(8 * index as u64, *word);
        }
        let mut ring = memory.ring();
        let (mut steps, mut freed) = (0, 0);
        loop {
            steps += 1;
            prop_assert!(steps < 20);
            let advance = match ring.next() {
                Next::Record { data, advance } => {
                    prop_assert!(data.len() + HEADER <= advance && advance < data.len() + 16);
                    // Reads every byte: out of bounds would fault or trip a sanitizer.
                    std::hint::black_box(data.iter().map(|&byte| u64::from(byte)).sum::<u64>());
                    advance
                }
                Next::Discarded { advance } => advance,
                Next::Wait | Next::Corrupt => break,
            };
            freed += advance as u64;
            prop_assert!(freed <= ahead);
            ring.advance(advance);
        }
    }
}

/// A kernel that maps `memory`, and a reader on it.
fn reader(memory: &Memory) -> (fake::FakeKernel, RingBuffer) {
    let (consumer, rest) = (memory.address(0), memory.address(PAGE));
    let size = memory.size;
    let kernel = fake::install(move |call| match call {
        Call::Bpf { .. } => Ok(fake::descriptor()),
        Call::Mmap { length: PAGE, protection, offset: 0, .. } => {
            assert_eq!(*protection, libc::PROT_READ | libc::PROT_WRITE);
            Ok(consumer as i64)
        }
        Call::Mmap { length, protection, offset, .. } => {
            assert_eq!((*length, *offset), (PAGE + 2 * size, PAGE as i64));
            // The kernel refuses to map what it owns for writing (ringbuf_map_mmap_kern()).
            assert_eq!(*protection, libc::PROT_READ);
            Ok(rest as i64)
        }
        Call::Munmap { .. } => Ok(0),
        _ => panic!("no other call is needed"),
    });
    let map_type = MapType::RINGBUF;
    let spec = MapSpec { name: "r", map_type, max_entries: size as u32, ..MapSpec::default() };
    let buffer = RingBuffer::new(Map::create(&spec).unwrap()).unwrap();
    (kernel, buffer)
}

#[test]
fn consume_counts_what_it_frees() {
    let memory = Memory::new(PAGE);
    let (_kernel, mut buffer) = reader(&memory);
    memory.write(b"one", 0);
    memory.write(b"gone", DISCARD);
    memory.write(b"two", 0);
    let mut records = Vec::new();
    let consumed = buffer.consume(|record| records.push(record.to_vec()));
    assert_eq!(records, [b"one", b"two"]);
    assert_eq!(consumed, Consumed { records: 2, discarded: 1, bytes: 48 });
    assert_eq!(buffer.consume(|_| ()), Consumed::default());
}

#[test]
fn consume_stops_when_told_to() {
    let memory = Memory::new(PAGE);
    let (_kernel, mut buffer) = reader(&memory);
    for _ in 0..3 {
        memory.write(b"x", 0);
    }
    let consumed = buffer.consume_while(|_| ControlFlow::Break(()));
    assert_eq!((consumed.records, buffer.available()), (1, 32));
    assert_eq!(buffer.consume(|_| ()).records, 2);
}

#[test]
fn consume_counts_corruption_and_goes_on() {
    let memory = Memory::new(PAGE);
    let (_kernel, mut buffer) = reader(&memory);
    let position = memory.write(b"bad", 0);
    memory.header(position, 5000);
    memory.write(b"lost", 0);
    assert_eq!(buffer.consume(|_| ()).records, 0);
    assert_eq!((buffer.corrupt(), buffer.available()), (1, 0));
    memory.write(b"good", 0);
    assert_eq!(buffer.consume(|_| ()).records, 1);
}

#[test]
fn other_maps_are_refused() {
    let _kernel = fake::install(|_| Ok(fake::descriptor()));
    let map = Map::create(&MapSpec { map_type: MapType::HASH, ..MapSpec::default() }).unwrap();
    let error = RingBuffer::new(map).unwrap_err();
    assert_eq!(error.to_string(), "map `` is a hash map, not a ring buffer");
}

/// A writer on another thread that commits late, as CPUs do: all records arrive, in order, whole.
#[test]
fn a_concurrent_writer_loses_nothing() {
    const COUNT: u64 = 20_000;
    let memory = Memory::new(256);
    let mut ring = memory.ring();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                let data = number.to_ne_bytes().repeat(1 + (number % 3) as usize);
                let need = (HEADER + data.len()) as u64;
                while memory.producer().load(Ordering::Relaxed) + need
                    > memory.consumer().load(Ordering::Acquire) + 256
                {
                    std::thread::yield_now();
                }
                let position = memory.write(&data, BUSY);
                memory.header(position, data.len() as u32);
            }
        });
        let mut expected = 0;
        let begin = std::time::Instant::now();
        while expected < COUNT {
            assert!(begin.elapsed() < Duration::from_secs(60), "stuck at {expected}");
            let records = drain(&mut ring);
            for record in &records {
                let numbers =
                    record.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
                assert!(numbers.clone().all(|number| number == expected));
                assert_eq!(numbers.count() as u64, 1 + expected % 3);
                expected += 1;
            }
            if records.is_empty() {
                std::thread::yield_now();
            }
        }
    });
}
