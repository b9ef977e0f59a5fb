//! Numbers of the BPF helpers that the programs call: `enum bpf_func_id` of `uapi/linux/bpf.h`,
//! which is part of the kernel's stable interface.

/// `bpf_map_lookup_elem(map, key)`
pub(crate) const MAP_LOOKUP_ELEM: u32 = 1;
/// `bpf_map_update_elem(map, key, value, flags)`
pub(crate) const MAP_UPDATE_ELEM: u32 = 2;
/// `bpf_map_delete_elem(map, key)`
pub(crate) const MAP_DELETE_ELEM: u32 = 3;
/// `bpf_ktime_get_ns()`
pub(crate) const KTIME_GET_NS: u32 = 5;
/// `bpf_get_smp_processor_id()`
pub(crate) const GET_SMP_PROCESSOR_ID: u32 = 8;
/// `bpf_tail_call(context, programs, index)`; comes back only when there is no such program
pub(crate) const TAIL_CALL: u32 = 12;
/// `bpf_get_current_pid_tgid()`
pub(crate) const GET_CURRENT_PID_TGID: u32 = 14;
/// `bpf_get_current_comm(buffer, size)`
pub(crate) const GET_CURRENT_COMM: u32 = 16;
/// `bpf_probe_write_user(to, from, size)`
pub(crate) const PROBE_WRITE_USER: u32 = 36;
/// `bpf_override_return(registers, value)`, in kprobes on functions that take injected errors
pub(crate) const OVERRIDE_RETURN: u32 = 58;
/// `bpf_get_stack(context, buffer, size, flags)`
pub(crate) const GET_STACK: u32 = 67;
/// `bpf_send_signal(signal)`, since 5.3
pub(crate) const SEND_SIGNAL: u32 = 109;
/// `bpf_probe_read_user(to, size, from)`
pub(crate) const PROBE_READ_USER: u32 = 112;
/// `bpf_probe_read_kernel(to, size, from)`
pub(crate) const PROBE_READ_KERNEL: u32 = 113;
/// `bpf_probe_read_user_str(to, size, from)`
pub(crate) const PROBE_READ_USER_STR: u32 = 114;
/// `bpf_probe_read_kernel_str(to, size, from)`
pub(crate) const PROBE_READ_KERNEL_STR: u32 = 115;
/// `bpf_seq_write(seq, data, size)`, for iterators
pub(crate) const SEQ_WRITE: u32 = 127;
/// `bpf_ringbuf_output(ring, data, size, flags)`
pub(crate) const RINGBUF_OUTPUT: u32 = 130;
/// `bpf_copy_from_user(to, size, from)`, in programs that may sleep
pub(crate) const COPY_FROM_USER: u32 = 148;
/// `bpf_task_storage_get(map, task, value, flags)`
pub(crate) const TASK_STORAGE_GET: u32 = 156;
/// `bpf_get_current_task_btf()`, since 5.11
pub(crate) const GET_CURRENT_TASK_BTF: u32 = 158;
/// `bpf_get_attach_cookie(context)`, since 5.15; in programs on kprobe.multi since 5.18
pub(crate) const GET_ATTACH_COOKIE: u32 = 174;
/// `bpf_task_pt_regs(task)`, since 5.15
pub(crate) const TASK_PT_REGS: u32 = 175;
/// `bpf_ima_file_hash(file, digest, size)`, in LSM programs that may sleep, since 5.18
pub(crate) const IMA_FILE_HASH: u32 = 193;
/// `bpf_loop(count, callback, context, flags)`, since 5.17
pub(crate) const LOOP: u32 = 181;

/// `BPF_LOCAL_STORAGE_GET_F_CREATE`
pub(crate) const STORAGE_CREATE: i32 = 1;
