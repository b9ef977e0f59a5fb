//! Policies on BPF programs and kernel modules.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use kernel::link::{Link, Sampling};
use kernel::map::{Map, MapSpec, MapType};
use kernel::program::{AttachType, Program, ProgramSpec, ProgramType};

use super::case::{Case, Report};
use crate::lab::{Lab, run};

/// `r0 = 0; exit`
const NOTHING: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

pub(super) const CASES: &[Case] = &[
    Case::new("bpf.yaml").provoke(use_bpf).reports(&[
        Report::call(&[
            ("policy_name", "bpf-library-policy"),
            ("function_name", "bpf_check"),
            ("args.0.bpf_attr_arg.ProgType", "BPF_PROG_TYPE_PERF_EVENT"),
            ("args.0.bpf_attr_arg.InsnCnt", "2"),
            ("args.0.bpf_attr_arg.ProgName", "provoked"),
        ]),
        Report::call(&[
            ("function_name", "security_perf_event_alloc"),
            ("args.0.perf_event_arg.Config", "3"),
            ("args.0.perf_event_arg.Type", "PERF_TYPE_SOFTWARE"),
        ]),
        Report::call(&[
            ("function_name", "security_bpf_map_alloc|security_bpf_map_create"),
            ("args.0.bpf_map_arg.MapType", "BPF_MAP_TYPE_ARRAY"),
            ("args.0.bpf_map_arg.MapName", "provoked"),
            ("args.0.bpf_map_arg.MaxEntries", "7"),
        ]),
        Report::call(&[
            ("function_name", "security_file_permission"),
            ("args.0.file_arg.path", "/sys/fs/bpf"),
            ("args.1.int_arg", "4"), // MAY_READ
        ]),
    ]),
    Case::new("modules-nohost.yaml").provoke(request_module_in_namespace).reports(&[Report::call(
        &[
            ("policy_name", "monitor-kernel-modules"),
            ("function_name", "security_kernel_module_request"),
        ],
    )]),
    Case::new("monitor-signed-kernel-modules.yaml").provoke(request_module).reports(&[
        Report::call(&[
            ("policy_name", "monitor-signed-kernel-modules"),
            ("function_name", "security_kernel_module_request"),
            ("args.0.string_arg", "fs-nosuchfilesystem"),
        ]),
    ]),
];

fn use_bpf(_: &Lab) -> Result<()> {
    let program = Program::load(&ProgramSpec {
        name: "provoked",
        program_type: ProgramType::PERF_EVENT,
        attach_type: AttachType::PERF_EVENT,
        instructions: &NOTHING,
        ..ProgramSpec::default()
    })?;
    // Context switches, PERF_COUNT_SW_CONTEXT_SWITCHES. Clocks become events of other types before LSMs are
    // asked.
    let _link = Link::software_event(&program, 3, Sampling::Period(1_000_000), 0)?;
    Map::create(&MapSpec {
        name: "provoked",
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 7,
        ..MapSpec::default()
    })?;
    fs::read_dir("/sys/fs/bpf")?.for_each(drop);
    Ok(())
}

/// Mounts a file system that is not there: the kernel asks for the module that may have it.
const MOUNT: [&str; 6] = ["mount", "-t", "nosuchfilesystem", "none", "/mnt", "-r"];

fn request_module(lab: &Lab) -> Result<()> {
    let refused = run(Command::new(lab.binary("busybox")?).args(MOUNT))?;
    ensure!(!refused.status.success(), "it was mounted");
    Ok(())
}

fn request_module_in_namespace(lab: &Lab) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["tool", "pid-namespace"]).arg(lab.binary("busybox")?).args(MOUNT);
    let refused = run(&mut command)?;
    ensure!(!refused.status.success(), "it was mounted");
    Ok(())
}
