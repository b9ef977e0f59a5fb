//! Memory of this process that the allocator keeps although nothing uses it.
//!
//! glibc's allocator gives freed memory back only from the end of a heap, so a burst (a client that
//! was stuck, a storm of processes) would stay in the resident set for good. With other C libraries
//! these functions do nothing.

/// Gives freed memory back to the system. Takes well under a millisecond for a heap of some megabytes.
pub fn release() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer and locks what it works on (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has all threads allocate from at most `arenas` heaps; memory freed in one heap is not used for
/// another. To be called before there are threads.
pub fn limit_arenas(arenas: u16) {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two integers (mallopt(3)); fails only for parameters it does not know.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, arenas.into());
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = arenas;
}
