//! Values to capture.

use crate::record::{choices, record};

record! {
    /// One value to capture.
    pub struct Argument {
        /// Position of the argument in the hooked function, from 0. For tracepoints the number of the
        /// field in the format, the common fields counted; for usdts the number of the argument.
        index "index": required u32;
        /// How to read the value. auto: as the kernel's type information says.
        kind "type": default TypeName = TypeName::Auto;
        /// Text copied to the event's argument.
        label "label": default String = String::new();
        /// Position, from 1, of the argument with the length of the buffer or the number of segments.
        size_arg_index "sizeArgIndex": optional u32;
        /// Reads the buffer at return; the return value is its length.
        return_copy "returnCopy": default bool = false;
        /// Reads up to 327360 bytes of the buffer.
        max_data "maxData": default bool = false;
        /// Path of fields to follow from the value, e.g. `mm.owner.comm` or `f_path.mnt[0]`. With
        /// source pt_regs the name of a register.
        resolve "resolve": default String = String::new();
        /// For data: current_task or pt_regs.
        source "source": default String = String::new();
        /// Structure to take the value for before following `resolve`.
        btf_type "btfType": default String = String::new();
        /// Kernel module that declares that structure.
        btf_type_module "btfTypeModule": default String = String::new();
    }
}

choices! {
    /// How a value is read.
    pub enum TypeName {
        /// As the kernel's type information says.
        Auto "auto",
        /// Signed, 32 bits.
        Int "int",
        /// Signed, 8 bits.
        Sint8 "sint8",
        /// Signed, 8 bits.
        Int8 "int8",
        /// Unsigned, 8 bits.
        Uint8 "uint8",
        /// Signed, 16 bits.
        Sint16 "sint16",
        /// Signed, 16 bits.
        Int16 "int16",
        /// Unsigned, 16 bits.
        Uint16 "uint16",
        /// Unsigned, 32 bits.
        Uint32 "uint32",
        /// Signed, 32 bits.
        Sint32 "sint32",
        /// Signed, 32 bits.
        Int32 "int32",
        /// Unsigned, 64 bits.
        Ulong "ulong",
        /// Unsigned, 64 bits.
        Uint64 "uint64",
        /// Unsigned, 64 bits.
        SizeT "size_t",
        /// Signed, 64 bits.
        Long "long",
        /// Signed, 64 bits.
        Sint64 "sint64",
        /// Signed, 64 bits.
        Int64 "int64",
        /// Bytes whose length is another argument.
        CharBuf "char_buf",
        /// Segments of bytes whose number is another argument.
        CharIovec "char_iovec",
        /// Socket buffer.
        Skb "skb",
        /// Socket of the network stack.
        Sock "sock",
        /// Socket address.
        Sockaddr "sockaddr",
        /// Socket of the file layer.
        Socket "socket",
        /// Address of a Unix socket.
        SockaddrUn "sockaddr_un",
        /// Text that ends with a NUL byte.
        String "string",
        /// File descriptor of the current process.
        Fd "fd",
        /// Open file.
        File "file",
        /// Name as user space gave it.
        Filename "filename",
        /// Path.
        Path "path",
        /// Nothing.
        Nop "nop",
        /// Attributes of bpf(2).
        BpfAttr "bpf_attr",
        /// Perf event.
        PerfEvent "perf_event",
        /// BPF map.
        BpfMap "bpf_map",
        /// User namespace.
        UserNamespace "user_namespace",
        /// Number of a capability.
        Capability "capability",
        /// Asynchronous I/O request.
        Kiocb "kiocb",
        /// Data of an I/O iterator.
        IovIter "iov_iter",
        /// Credentials.
        Cred "cred",
        /// Array in a tracepoint; only the agent itself uses it.
        ConstBuf "const_buf",
        /// Kernel module that is being loaded.
        LoadInfo "load_info",
        /// Kernel module.
        Module "module",
        /// Number and ABI of a system call.
        Syscall64 "syscall64",
        /// Set of capabilities.
        KernelCapT "kernel_cap_t",
        /// Inheritable capabilities.
        CapInheritable "cap_inheritable",
        /// Permitted capabilities.
        CapPermitted "cap_permitted",
        /// Effective capabilities.
        CapEffective "cap_effective",
        /// Program that is being executed.
        LinuxBinprm "linux_binprm",
        /// Dynamic text of a tracepoint.
        DataLoc "data_loc",
        /// Network device.
        NetDevice "net_device",
        /// Command of bpf(2).
        BpfCmd "bpf_cmd",
        /// Directory entry.
        Dentry "dentry",
        /// BPF program.
        BpfProg "bpf_prog",
    }
}
