//! From the configuration to what the base programs and the pipeline are told.

use compiler::base::{CgroupOf, Options, Rings};
use kernel::btf::{Btf, BtfError};
use kernel::mount::FileSystem;
use std::path::{Path, PathBuf};

use super::SensorError;
use crate::cgroups::Hierarchy;
use crate::config::{Config, PinConfig, RingConfig, UsernameMetadata};
use crate::pipeline::PipelineConfig;
use crate::procfs::Procfs;
use crate::redaction::Redaction;

/// Ring of process records: room for 3,000 execs with usual arguments.
const BASE_RING: u32 = 2 << 20;
/// Ring of what policies observe.
const OBSERVATION_RING: u32 = 1 << 20;
/// The kernel takes rings of whole pages.
const SMALLEST_RING: u64 = 1 << 12;
/// A ring's size is a power of two in 32 bits.
const LARGEST_RING: u64 = 1 << 31;

/// The types of the running kernel: from the file that is named, else from the kernel. A file that is
/// named must be usable.
pub(super) fn btf(file: Option<&Path>) -> Result<Btf, BtfError> {
    file.map_or_else(|| Btf::vmlinux::<&Path>(&[]), Btf::from_file)
}

/// Where the kernel has its types.
const OWN_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The file of types to use: the one that is named; where the kernel has none itself, one of
/// `--bpf-lib`. `None` for the kernel's own.
pub(super) fn btf_file(config: &Config) -> Option<PathBuf> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    config.btf.clone().or_else(|| candidate(Path::new(OWN_BTF), &config.bpf_lib, &release))
}

fn candidate(own: &Path, lib: &Path, release: &str) -> Option<PathBuf> {
    if own.exists() {
        return None;
    }
    let candidates = [lib.join("metadata").join(format!("vmlinux-{release}")), lib.join("btf")];
    let found = candidates.into_iter().find(|file| file.is_file())?;
    tracing::info!(file = %found.display(), "the kernel has no types of its own: those of a file are used");
    Some(found)
}

/// Where programs are pinned.
pub(super) fn pins(config: &PinConfig) -> Result<PathBuf, kernel::Error> {
    let mounted = FileSystem::Bpf.find()?;
    let root = mounted.unwrap_or_else(|| FileSystem::Bpf.usual_place().to_owned());
    Ok(root.join(&config.dir))
}

pub(super) fn options(
    btf: &Btf,
    config: &Config,
    hierarchy: &Hierarchy,
) -> Result<Options, SensorError> {
    Ok(Options {
        cgroup: CgroupOf::controller(btf, hierarchy.controller)?,
        environment: config.process.enable_environment,
        data_max: i32::try_from(config.process.exec_data_max_size).unwrap_or(i32::MAX) as u32,
    })
}

/// Sizes of the rings: as asked, rounded up to a power of two.
pub(super) fn rings(config: &RingConfig) -> Result<Rings, SensorError> {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let asked = match (config.size_total, config.size_per_cpu) {
        (0, 0) => return Ok(Rings { base: BASE_RING, observation: OBSERVATION_RING }),
        (0, per_cpu) => per_cpu.saturating_mul(cpus),
        (total, _) => total,
    };
    if asked > LARGEST_RING {
        return Err(SensorError::RingSize { asked });
    }
    let size = asked.max(SMALLEST_RING).next_power_of_two() as u32;
    Ok(Rings { base: size, observation: size })
}

pub(super) fn pipeline(
    config: &Config,
    hierarchy: Hierarchy,
) -> Result<PipelineConfig, SensorError> {
    let process = &config.process;
    Ok(PipelineConfig {
        node_name: config.node_name.clone(),
        cluster_name: config.cluster_name.clone(),
        procfs: config.procfs.clone(),
        host: Procfs::new(&config.procfs).host()?,
        hierarchy,
        disable_process_cache: process.disable_cache,
        process_cache_size: process.cache_size,
        process_cache_gc_interval: process.gc_interval,
        event_cache_retries: u32::try_from(process.retries).unwrap_or(u32::MAX),
        event_cache_retry_delay: process.retry_delay,
        ancestors: process.enable_ancestors,
        ancestors_of_hits: process.ancestors_of_hits,
        credentials: process.enable_cred,
        namespaces: process.enable_ns,
        environment: process.enable_environment,
        environment_only: process.filter_environment.iter().cloned().collect(),
        usernames: process.username_metadata == UsernameMetadata::Unix,
        redaction: Redaction::parse(&process.redaction_filters)?,
        max_text: process.exec_data_max_size,
        expose_stack_addresses: config.expose_stack_addresses,
        ..PipelineConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_a_file_are_used_where_the_kernel_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let (own, lib) = (dir.path().join("own"), dir.path().join("lib"));
        std::fs::create_dir_all(lib.join("metadata")).unwrap();
        assert_eq!(candidate(&own, &lib, "6.1.0"), None);
        std::fs::write(lib.join("btf"), "").unwrap();
        assert_eq!(candidate(&own, &lib, "6.1.0"), Some(lib.join("btf")));
        let of_release = lib.join("metadata/vmlinux-6.1.0");
        std::fs::write(&of_release, "").unwrap();
        assert_eq!(candidate(&own, &lib, "6.1.0"), Some(of_release));
        std::fs::write(&own, "").unwrap();
        assert_eq!(candidate(&own, &lib, "6.1.0"), None);
    }

    #[test]
    fn rings_are_powers_of_two_of_what_was_asked() {
        let of = |size_per_cpu, size_total| {
            rings(&RingConfig { size_per_cpu, size_total, queue_size: 0 }).unwrap().base
        };
        assert_eq!(of(0, 0), BASE_RING);
        assert_eq!(of(0, 100_000), 131_072);
        assert_eq!(of(0, 1), 4096);
        let too_large = RingConfig { size_total: u64::MAX, ..RingConfig::default() };
        assert!(rings(&too_large).is_err());
        let cpus = std::thread::available_parallelism().unwrap().get() as u32;
        assert_eq!(of(65_536, 0), (65_536 * cpus).next_power_of_two());
    }
}
