//! What a process has mapped where, of what it can execute: `/proc/PID/maps`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest list of mappings that is read; `vm.max_map_count` allows 65530, usually of 100 bytes.
const MAPS_MAX: u64 = 16 << 20;

/// Code in the memory of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// First address.
    pub(super) start: u64,
    /// Address behind the last.
    pub(super) end: u64,
    /// Where in the file it begins.
    pub(super) offset: u64,
    /// Whether there is a file.
    pub(super) has_file: bool,
    /// What it is called: the file's path, `[vdso]`, `[anonymous]` for memory of no name.
    pub(super) name: String,
}

/// Reads what a process can execute.
///
/// # Errors
/// It is no more, or may not be looked at.
pub(super) fn read(procfs: &Path, pid: u32) -> io::Result<Vec<Mapping>> {
    let mut text = Vec::new();
    let file = File::open(procfs.join(pid.to_string()).join("maps"))?;
    file.take(MAPS_MAX).read_to_end(&mut text)?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Vec<Mapping> {
    text.lines().filter_map(mapping).collect()
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE  NAME`
fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    if permissions.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let offset = number(words.next()?)?;
    let (_device, inode) = (words.next()?, words.next()?);
    let name = words.next().unwrap_or_default().trim_start();
    let name = if name.is_empty() { "[anonymous]" } else { name };
    Some(Mapping {
        start: number(start)?,
        end: number(end)?,
        offset,
        has_file: inode != "0",
        name: name.to_owned(),
    })
}

impl Mapping {
    /// A name that leads to the file, also if it was deleted or is of another mount namespace.
    pub(super) fn path(&self, procfs: &Path, pid: u32) -> PathBuf {
        let range = format!("{:x}-{:x}", self.start, self.end);
        procfs.join(pid.to_string()).join("map_files").join(range)
    }
}

/// The mapping that an address is in. `maps`: in the order of addresses, as the kernel has them.
pub(super) fn find(maps: &[Mapping], address: u64) -> Option<usize> {
    let index = maps.partition_point(|mapping| mapping.end <= address);
    (maps.get(index)?.start <= address).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55a0f8a00000-55a0f8a02000 r--p 00000000 08:01 1234                       /usr/bin/my app
55a0f8a02000-55a0f8a05000 r-xp 00002000 08:01 1234                       /usr/bin/my app
55a0f9000000-55a0f9021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000001000 rwxp 00000000 00:00 0 
7ffd10000000-7ffd10002000 r-xp 00000000 00:00 0                          [vdso]
garbage
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    #[test]
    fn only_code_is_kept() {
        let maps = parse(MAPS);
        let names: Vec<_> = maps.iter().map(|map| (map.name.as_str(), map.has_file)).collect();
        assert_eq!(
            names,
            [
                ("/usr/bin/my app", true),
                ("[anonymous]", false),
                ("[vdso]", false),
                ("[vsyscall]", false)
            ]
        );
        assert_eq!(maps[0].offset, 0x2000);
        assert_eq!(
            maps[0].path(Path::new("/proc"), 7),
            Path::new("/proc/7/map_files/55a0f8a02000-55a0f8a05000")
        );
        assert_eq!(find(&maps, 0x55a0_f8a0_2000), Some(0));
        assert_eq!(find(&maps, 0x55a0_f8a0_4fff), Some(0));
        assert_eq!(find(&maps, 0x55a0_f8a0_5000), None);
        assert_eq!(find(&maps, 0x55a0_f8a0_1fff), None);
        assert_eq!(find(&maps, 0xffff_ffff_ff60_0001), Some(3));
        assert_eq!(find(&maps, u64::MAX), None);
    }

    #[test]
    fn own_code_is_found() {
        let maps = read(Path::new("/proc"), std::process::id()).unwrap();
        let index = find(&maps, own_code_is_found as fn() as usize as u64).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(maps[index].name, exe.to_str().unwrap());
        assert!(maps[index].has_file);
        assert!(read(Path::new("/proc"), u32::MAX).is_err());
    }
}
