//! Gates of system calls on files, directories, mounts and memory.
//!
//! `file_open` is called when a file is opened, before it is truncated, but not with `O_PATH`, which gives
//! a descriptor that can neither read nor write. Descriptors of files that have no name are stopped where
//! the open file is allocated, by `file_alloc_security`. Kernels since 6.19 load no programs for it, as
//! the file that it is given is not set up yet, and their stable predecessors may follow.

use super::Way::{First, IfAny};
use super::{Gates, gates};

const ALLOCATED: &str = "alloc_empty_file asks before there is a descriptor, which is all that the call \
                         gives; what it stands for is freed. No programs since 6.19";

pub(super) const GATES: &[Gates] = &[
    gates(
        &["open", "openat", "openat2", "creat"],
        &[First(&["inode_create"]), First(&["file_open"])],
        "may_o_create asks before the file is created, do_dentry_open before it is opened or truncated. \
         O_PATH, which neither reads nor writes, is not denied; NFS and the like truncate while they \
         look up",
    ),
    gates(
        &["open_by_handle_at"],
        &[First(&["file_open"])],
        "do_dentry_open asks before the file is opened. O_PATH, which neither reads nor writes, is not \
         denied",
    ),
    gates(
        &["userfaultfd", "io_uring_setup", "memfd_secret"],
        &[First(&["inode_init_security_anon"])],
        "anon_inode_make_secure_inode and secretmem_file_create ask before there is a file; what it \
         stands for is freed",
    ),
    gates(
        &["memfd_create", "pidfd_open", "pipe", "pipe2", "eventfd", "eventfd2"],
        &[First(&["file_alloc_security"])],
        ALLOCATED,
    ),
    gates(
        &["timerfd_create", "epoll_create", "epoll_create1", "inotify_init", "inotify_init1"],
        &[First(&["file_alloc_security"])],
        ALLOCATED,
    ),
    gates(
        &["fanotify_init", "landlock_create_ruleset"],
        &[First(&["file_alloc_security"])],
        ALLOCATED,
    ),
    gates(
        &["swapon", "swapoff"],
        &[First(&["file_open"])],
        "both open the device (file_open_name) before they touch it",
    ),
    gates(
        &["mq_open"],
        &[First(&["inode_create"]), First(&["file_open"])],
        "vfs_mkobj asks before it creates; dentry_open before it opens",
    ),
    gates(
        &["read", "pread64", "readv", "preadv", "preadv2", "getdents", "getdents64"],
        &[First(&["file_permission"])],
        "rw_verify_area and iterate_dir ask before the file's own read, sockets and pipes too",
    ),
    gates(
        &["write", "pwrite64", "writev", "pwritev", "pwritev2", "fallocate"],
        &[First(&["file_permission"])],
        "rw_verify_area and vfs_fallocate ask before the file's own write, sockets and pipes too",
    ),
    gates(
        &["sendfile", "copy_file_range"],
        &[First(&["file_permission"])],
        "do_sendfile and vfs_copy_file_range ask (rw_verify_area) for both files before they copy",
    ),
    gates(
        &["splice"],
        &[First(&["file_permission"])],
        "do_splice asks (rw_verify_area) for the file before data moves",
    )
    .except("between two pipes no hook is called", "deny `pipe` and `pipe2` too"),
    gates(
        &["truncate"],
        &[First(&["inode_setattr"])],
        "notify_change asks before the file system's setattr",
    ),
    gates(
        &["ftruncate"],
        &[First(&["file_truncate", "inode_setattr"])],
        "do_sys_ftruncate asks before do_truncate; before 6.2 notify_change does",
    ),
    gates(
        &["chmod", "fchmod", "fchmodat", "fchmodat2"],
        &[First(&["inode_setattr"])],
        "notify_change, for chmod_common, asks before the file system's setattr",
    ),
    gates(
        &["chown", "lchown", "fchown", "fchownat"],
        &[First(&["inode_setattr"])],
        "notify_change, for chown_common, asks before the file system's setattr",
    ),
    gates(
        &["utime", "utimes", "futimesat", "utimensat"],
        &[First(&["inode_setattr"])],
        "notify_change, for vfs_utimes, asks before the file system's setattr",
    ),
    gates(
        &["setxattr", "lsetxattr", "fsetxattr", "setxattrat"],
        &[First(&["inode_setxattr"]), IfAny("inode_set_acl")],
        "__vfs_setxattr_locked and, since 6.2 for access lists, vfs_set_acl ask before they write",
    ),
    gates(
        &["removexattr", "lremovexattr", "fremovexattr", "removexattrat"],
        &[First(&["inode_removexattr"]), IfAny("inode_remove_acl")],
        "__vfs_removexattr_locked and, since 6.2 for access lists, vfs_remove_acl ask before they \
         remove",
    ),
    gates(
        &["getxattr", "lgetxattr", "fgetxattr", "getxattrat"],
        &[First(&["inode_getxattr"]), IfAny("inode_get_acl")],
        "vfs_getxattr and, since 6.2 for access lists, vfs_get_acl ask before they read",
    ),
    gates(
        &["listxattr", "llistxattr", "flistxattr", "listxattrat"],
        &[First(&["inode_listxattr"])],
        "vfs_listxattr asks before it reads",
    ),
    gates(
        &["readlink", "readlinkat"],
        &[First(&["inode_readlink"])],
        "do_readlinkat asks before vfs_readlink",
    ),
    gates(
        &["mkdir", "mkdirat"],
        &[First(&["inode_mkdir"])],
        "vfs_mkdir asks before the file system's mkdir",
    ),
    gates(&["rmdir"], &[First(&["inode_rmdir"])], "vfs_rmdir asks before the file system's rmdir"),
    gates(
        &["unlink", "mq_unlink"],
        &[First(&["inode_unlink"])],
        "vfs_unlink asks before the file system's unlink",
    ),
    gates(
        &["unlinkat"],
        &[First(&["inode_unlink"]), First(&["inode_rmdir"])],
        "vfs_unlink and, with AT_REMOVEDIR, vfs_rmdir ask before the file system's unlink and rmdir",
    ),
    gates(
        &["mknod", "mknodat"],
        &[First(&["inode_create"]), First(&["inode_mknod"])],
        "vfs_create for regular files and vfs_mknod for others ask before the file system does it",
    ),
    gates(
        &["link", "linkat"],
        &[First(&["inode_link"])],
        "vfs_link asks before the file system's link",
    ),
    gates(
        &["symlink", "symlinkat"],
        &[First(&["inode_symlink"])],
        "vfs_symlink asks before the file system's symlink",
    ),
    gates(
        &["rename", "renameat", "renameat2"],
        &[First(&["inode_rename"])],
        "vfs_rename asks before the file system's rename",
    ),
    gates(
        &["chdir", "fchdir"],
        &[First(&["inode_permission"])],
        "path_permission and file_permission, of chdir and fchdir, ask before set_fs_pwd",
    ),
    gates(
        &["chroot"],
        &[First(&["path_chroot", "inode_permission"])],
        "chroot asks before set_fs_root",
    ),
    gates(&["mount"], &[First(&["sb_mount"])], "path_mount asks first, whatever the flags"),
    gates(&["umount2"], &[First(&["sb_umount"])], "do_umount asks first"),
    gates(
        &["move_mount"],
        &[First(&["move_mount"])],
        "move_mount asks before do_move_mount and do_set_group",
    ),
    gates(
        &["pivot_root"],
        &[First(&["sb_pivotroot"])],
        "pivot_root asks before it takes the mounts apart",
    ),
    gates(
        &["fsopen", "fspick", "fsmount", "open_tree"],
        &[First(&["file_alloc_security"])],
        "alloc_empty_file asks before there is a descriptor; without it the context or the detached mount \
         is dropped. No programs since 6.19",
    ),
    gates(
        &["fsconfig"],
        &[First(&["sb_set_mnt_opts"]), First(&["sb_remount"])],
        "vfs_get_tree drops the super block if it is denied; reconfigure_super asks first. \
         Options that are only collected have no effect",
    )
    .except(
        "FSCONFIG_CMD_CREATE reads the file system, and replays its journal, before it asks",
        "deny `fsopen`, without which there is nothing to configure",
    ),
    gates(
        &["quotactl", "quotactl_fd"],
        &[First(&["quotactl"])],
        "check_quotactl_permission and quota_sync_all ask before anything is done",
    ),
    gates(
        &["ioctl"],
        &[First(&["file_ioctl"]), IfAny("file_ioctl_compat")],
        "ioctl asks before do_vfs_ioctl; that of 32-bit programs by a hook of its own, if there is",
    ),
    gates(&["fcntl"], &[First(&["file_fcntl"])], "fcntl asks before do_fcntl"),
    gates(&["flock"], &[First(&["file_lock"])], "flock asks before it locks or unlocks"),
    gates(&["mmap"], &[First(&["mmap_file"])], "vm_mmap_pgoff asks before do_mmap"),
    gates(
        &["mprotect", "pkey_mprotect"],
        &[First(&["file_mprotect"])],
        "do_mprotect_pkey asks for each area before it changes it, so the first is denied",
    ),
    gates(
        &["inotify_add_watch"],
        &[First(&["path_notify"])],
        "inotify_find_inode asks before the watch is added",
    ),
    gates(
        &["fanotify_mark"],
        &[First(&["path_notify"])],
        "fanotify_find_path asks before the mark is changed",
    )
    .harmless("FAN_MARK_FLUSH, which only removes the caller's own marks"),
];
