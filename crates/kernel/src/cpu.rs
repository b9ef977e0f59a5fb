//! Which CPUs there are and could be.
//!
//! Per-CPU maps have a value for each *possible* CPU, which includes those that could be plugged in;
//! perf events are opened on those that are *online*.

use std::path::Path;
use std::sync::OnceLock;

use crate::error::Error;

const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// More CPUs than any kernel is built for (CONFIG_NR_CPUS goes to 8192).
const MOST: u32 = 1 << 16;

/// Numbers of the CPUs that could ever be online, rising. Fixed at boot; read once.
pub fn possible() -> Result<&'static [u32], Error> {
    static LIST: OnceLock<Vec<u32>> = OnceLock::new();
    if let Some(list) = LIST.get() {
        return Ok(list);
    }
    let list = read(POSSIBLE)?;
    Ok(LIST.get_or_init(|| list))
}

/// Numbers of the CPUs that are online now, rising.
pub fn online() -> Result<Vec<u32>, Error> {
    read(ONLINE)
}

fn read(path: &str) -> Result<Vec<u32>, Error> {
    let path = Path::new(path);
    let text = std::fs::read_to_string(path).map_err(|source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    parse(text.trim()).ok_or_else(|| Error::Unreadable {
        path: path.to_owned(),
        expected: "a list of CPUs like 0-3,5",
        found: text.trim().to_owned(),
    })
}

/// Reads the kernel's notation of bit sets (`%*pbl`): rising numbers and ranges with commas between.
fn parse(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= MOST || cpus.last().is_some_and(|&before| before >= first) {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges() {
        assert_eq!(parse("0").unwrap(), [0]);
        assert_eq!(parse("0-3,5,7-8").unwrap(), [0, 1, 2, 3, 5, 7, 8]);
    }

    #[test]
    fn refuses_what_the_kernel_never_writes() {
        for bad in ["", "a", "3-1", "0-", "1,1", "5,2", "0-4294967295", "0-3,"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_machine_has_cpus() {
        let possible = possible().unwrap();
        assert!(online().unwrap().iter().all(|cpu| possible.contains(cpu)));
    }
}
