//! How fast it is, and how much memory it takes. Run with
//! `cargo test --release -p agent --lib pipeline::bench -- --ignored --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use compiler::base::record::{Flags, Identity};

use super::tests::{id, no_proc};
use super::{KERNEL, Pipeline, PipelineConfig};
use crate::test_records::{self as records, ExecRecord, Stamp};

/// Resident bytes of this process.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

struct Load {
    pipeline: Pipeline,
    sent: Arc<AtomicU64>,
    seq: u64,
}

impl Load {
    fn new(config: PipelineConfig) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let count = sent.clone();
        let config = PipelineConfig { node_name: "a-node.of-some.cluster".to_owned(), ..config };
        let emit = move |event| {
            drop(std::hint::black_box(event));
            count.fetch_add(1, Ordering::Relaxed);
        };
        Self { pipeline: Pipeline::new(config, Box::new(emit)), sent, seq: 0 }
    }

    fn stamp(&mut self) -> Stamp {
        self.seq += 1;
        Stamp { cpu: 0, seq: self.seq, time: self.seq * 1000 }
    }

    fn exec(&mut self, process: Identity, previous: Identity, parent: Identity) {
        let record = ExecRecord {
            stamp: self.stamp(),
            process,
            previous,
            parent,
            flags: Flags::EXECVE | Flags::CLONE,
            filename: b"/usr/bin/x86_64-linux-gnu-ld.bfd".to_vec(),
            cwd: b"/home/user/project/build".to_vec(),
            exe: b"/usr/bin/x86_64-linux-gnu-ld.bfd".to_vec(),
            args: b"ld\0-plugin\0/usr/lib/gcc/liblto_plugin.so\0-o\0a b\0main.o\0-lc\0".repeat(3),
            ..ExecRecord::default()
        };
        self.pipeline.record(&record.encode());
    }

    fn triple(&mut self, number: u64, parent: Identity) {
        let pid = 1000 + (number % 30_000) as u32;
        let (clone, image) = (id(pid, 2 * number), id(pid, 2 * number + 1));
        let stamp = self.stamp();
        self.pipeline.record(&records::fork(stamp, clone, parent, Flags::CLONE, 1));
        self.exec(image, clone, parent);
        let stamp = self.stamp();
        self.pipeline.record(&records::exit(stamp, image, parent, 0));
    }
}

fn run(name: &str, config: PipelineConfig) {
    const TRIPLES: u64 = 100_000;
    let before = resident();
    let mut load = Load::new(config);
    let init = id(1, 1);
    load.exec(init, Identity::default(), KERNEL);
    for pid in 2..1002 {
        load.exec(id(pid + 40_000, 1), Identity::default(), init);
    }
    let live = resident();
    let mut now = Instant::now();
    let start = Instant::now();
    for number in 1..=TRIPLES {
        load.triple(number, init);
        // As if there were 5,000 a second.
        if number % 500 == 0 {
            now += Duration::from_millis(100);
            load.pipeline.tick(now);
        }
    }
    let took = start.elapsed();
    assert_eq!(load.sent.load(Ordering::Relaxed), 2 * TRIPLES + 1001);
    let stats = load.pipeline.stats();
    let kib = |to: usize, from: usize| to.saturating_sub(from) / 1024;
    println!(
        "{name}: {:.0} fork+exec+exit a second; {} KiB with 1,000 processes, {} KiB after the storm \
         ({} entries, {} KiB of images, {} dropped early)",
        TRIPLES as f64 / took.as_secs_f64(),
        kib(live, before),
        kib(resident(), before),
        stats.table_size,
        stats.table_bytes / 1024,
        stats.table.evicted_ended,
    );
}

#[test]
#[ignore = "measures, checks little"]
fn storm() {
    run("default", no_proc());
    let all = PipelineConfig {
        ancestors: true,
        credentials: true,
        namespaces: true,
        environment: true,
        ..no_proc()
    };
    run("all flags", all);
}
