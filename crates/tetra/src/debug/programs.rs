//! `tetra debug progs`: how often the agent's programs run, and what time they take. `tetra debug
//! enable-stats`: has the kernel count that, which costs a little at every run.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use kernel::program::{AttachType, Program, Statistics, enable_statistics, program_ids};

use super::{OURS, kernel};
use crate::duration;
use crate::error::Error;
use crate::output::{complain, print};
use crate::table;

/// Which programs, and how often.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// All BPF programs, not only the agent's
    #[arg(long)]
    all: bool,
    /// Print once, and end
    #[arg(long)]
    once: bool,
    /// Do not clear the screen
    #[arg(long)]
    no_clear: bool,
    /// Time between two tables, in seconds or as a duration
    #[arg(long = "interval", visible_alias = "every", value_name = "TIME", default_value = "1s",
          value_parser = duration::parse)]
    interval: Duration,
}

/// A program and what it did so far.
struct Counted {
    name: String,
    statistics: Statistics,
}

/// Prints a table after each interval. The kernel counts as long as this runs.
pub(crate) async fn run(flags: &Flags) -> Result<String, Error> {
    let _counting = enable_statistics().map_err(kernel)?;
    let mut before = programs(flags.all)?;
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(flags.interval).await;
        let now = programs(flags.all)?;
        let text = text(&before, &now, since.elapsed());
        if flags.once {
            return Ok(text);
        }
        let clear = !flags.no_clear && std::io::stdout().is_terminal();
        print(&format!("{}{text}", if clear { "\x1b[2J\x1b[H" } else { "" }))?;
        (before, since) = (now, Instant::now());
    }
}

/// Counts until Ctrl-C.
pub(crate) async fn enable_stats() -> Result<String, Error> {
    let _counting = enable_statistics().map_err(kernel)?;
    complain("BPF statistics are enabled until Ctrl-C");
    std::future::pending().await
}

fn programs(all: bool) -> Result<HashMap<u32, Counted>, Error> {
    let mut found = HashMap::new();
    for id in program_ids().map_err(kernel)? {
        // Some may go meanwhile.
        let Ok(program) = Program::from_id(id, AttachType(0)) else { continue };
        let info = program.info().map_err(kernel)?;
        if all || info.name.starts_with(OURS) {
            found.insert(id, Counted { name: info.name, statistics: info.statistics });
        }
    }
    Ok(found)
}

/// The programs by the time that they took, the dearest first: share of one CPU, number, runs, time, name.
fn text(before: &HashMap<u32, Counted>, now: &HashMap<u32, Counted>, passed: Duration) -> String {
    let mut took: Vec<(Duration, u64, u32, &str)> = now
        .iter()
        .map(|(id, Counted { name, statistics })| {
            let old = before.get(id).map(|old| old.statistics).unwrap_or_default();
            let time = statistics.run_time.saturating_sub(old.run_time);
            (time, statistics.runs.saturating_sub(old.runs), *id, name.as_str())
        })
        .collect();
    took.sort_by(|one, other| (other.0, other.1, one.2).cmp(&(one.0, one.1, other.2)));
    let mut rows = vec![["Ovh(%)", "Id", "Cnt", "Time", "Name"].map(str::to_owned).to_vec()];
    rows.extend(took.into_iter().map(|(time, runs, id, name)| {
        let share = 100.0 * time.as_secs_f64() / passed.as_secs_f64().max(f64::MIN_POSITIVE);
        vec![
            format!("{share:.2}"),
            id.to_string(),
            runs.to_string(),
            time.as_nanos().to_string(),
            name.to_owned(),
        ]
    }));
    table::lines(&rows).into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearest_comes_first() {
        let counted = |name: &str, runs, millis| Counted {
            name: name.to_owned(),
            statistics: Statistics {
                run_time: Duration::from_millis(millis),
                runs,
                recursion_misses: 0,
            },
        };
        let before = HashMap::from([(1, counted("tg_a", 5, 10)), (2, counted("tg_b", 1, 1))]);
        let now = HashMap::from([
            (1, counted("tg_a", 6, 20)),
            (2, counted("tg_b", 11, 101)),
            (3, counted("tg_c", 0, 0)),
        ]);
        assert_eq!(
            text(&before, &now, Duration::from_secs(1)),
            "Ovh(%)   Id   Cnt   Time        Name\n\
             10.00    2    10    100000000   tg_b\n\
             1.00     1    1     10000000    tg_a\n\
             0.00     3    0     0           tg_c\n"
        );
    }
}
