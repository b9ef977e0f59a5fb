//! A kernel for unit tests: a closure that answers the system calls of its thread.

use std::cell::RefCell;
use std::ffi::c_long;
use std::os::fd::IntoRawFd;

use super::{Call, Plain};
use crate::errno::Errno;

type Answer = Box<dyn FnMut(&mut Call<'_>) -> Result<c_long, Errno>>;

thread_local! {
    static FAKE: RefCell<Option<Answer>> = const { RefCell::new(None) };
}

/// Keeps a fake kernel in place until dropped.
pub(crate) struct FakeKernel(());

/// Lets `answer` do the system calls of this thread.
pub(crate) fn install(
    answer: impl FnMut(&mut Call<'_>) -> Result<c_long, Errno> + 'static,
) -> FakeKernel {
    FAKE.with_borrow_mut(|fake| *fake = Some(Box::new(answer)));
    FakeKernel(())
}

impl Drop for FakeKernel {
    fn drop(&mut self) {
        FAKE.with_borrow_mut(|fake| *fake = None);
    }
}

/// Whether this thread has a fake kernel.
pub(super) fn is_active() -> bool {
    FAKE.with_borrow(Option::is_some)
}

/// The fake's answer, where there is one.
pub(super) fn intercept(call: &mut Call<'_>) -> Option<Result<c_long, Errno>> {
    FAKE.with_borrow_mut(|fake| fake.as_mut().map(|answer| answer(call)))
}

/// A descriptor that may be closed, for calls that return one.
pub(crate) fn descriptor() -> c_long {
    c_long::from(std::fs::File::open("/dev/null").unwrap().into_raw_fd())
}

/// Attributes of a bpf(2) call as the struct that its command takes.
pub(crate) fn read_attr<A: Plain>(attr: &[u8]) -> A {
    let mut out = A::zeroed();
    out.as_bytes_mut().copy_from_slice(attr);
    out
}

/// Writes attributes back.
pub(crate) fn write_attr<A: Plain>(attr: &mut [u8], value: &A) {
    attr.copy_from_slice(value.as_bytes());
}

/// Bytes that attributes point to.
pub(crate) fn memory<'a>(address: u64, length: usize) -> &'a mut [u8] {
    if length == 0 {
        return &mut [];
    }
    let start = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: tests pass addresses and lengths of live buffers that the code under test gave to the
    // kernel for just this call.
    unsafe { std::slice::from_raw_parts_mut(start, length) }
}
