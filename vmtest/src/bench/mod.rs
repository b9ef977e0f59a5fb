//! What things cost, as ratios to the bare system within one run. Run only when asked for by name
//! (`cargo xtask bench`).
//!
//! A benchmark measures its variants in turns, A B C A B C, after a warm-up each, and gives medians and
//! the spread. A line of its output that starts with [`RESULT`] is a result in JSON.

mod floor;
mod loading;
mod path_prefix;

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::test::{Need, Test};

/// What a line with a result starts with.
const RESULT: &str = "result ";

/// The benchmarks.
pub(crate) const TESTS: &[Test] = &[
    Test::new("bench::path_prefix", path_prefix::run).needs(&[Need::Vm]).seconds(900),
    Test::new("bench::loading", loading::run).seconds(600),
];

/// How a variant fared.
struct Times {
    name: &'static str,
    times: Vec<Duration>,
}

impl Times {
    fn new(name: &'static str) -> Self {
        Self { name, times: Vec::new() }
    }

    fn median(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort();
        times[times.len() / 2].as_secs_f64()
    }

    fn least(&self) -> f64 {
        self.times.iter().min().map_or(0.0, Duration::as_secs_f64)
    }

    fn most(&self) -> f64 {
        self.times.iter().max().map_or(0.0, Duration::as_secs_f64)
    }
}

/// Prints a table of variants, the first of which is the bare system.
fn report(benchmark: &str, variants: &[Times]) -> Result<()> {
    println!("| {benchmark} | median | least | most | added |");
    println!("|---|---|---|---|---|");
    let bare = variants.first().map_or(f64::NAN, Times::median);
    for variant in variants {
        let (name, median) = (variant.name, variant.median());
        let (least, most) = (variant.least(), variant.most());
        let added = median / bare - 1.0;
        println!(
            "| {name} | {median:.4} s | {least:.4} s | {most:.4} s | {:+.1} % |",
            100.0 * added
        );
        let result = json!({
            "benchmark": benchmark, "variant": name, "unit": "s",
            "median": median, "least": least, "most": most, "added": added,
        });
        println!("{RESULT}{}", serde_json::to_string(&result)?);
    }
    Ok(())
}
