//! Large room that computations work in, kept by their thread from one to the next: fresh memory would have to be mapped
//! page by page each time.

use std::any::Any;
use std::cell::RefCell;

/// More than this many rooms are not in use at a time.
const KEPT: usize = 8;

thread_local! {
    static ROOMS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Runs with `len` values of any content.
pub(super) fn with_room<T: Copy + Default + 'static, R>(len: usize, run: impl FnOnce(&mut [T]) -> R) -> R {
    let kept = ROOMS.with_borrow_mut(|rooms| {
        let length = |room: &Box<dyn Any>| room.downcast_ref::<Vec<T>>().map(Vec::len);
        let fits = rooms.iter().enumerate().filter_map(|(index, room)| Some((index, length(room)?)));
        // The smallest that is large enough, so that the large ones stay for those who need them; else the largest.
        let index = fits.min_by_key(|(_, found)| (*found < len, found.abs_diff(len)))?.0;
        Some(rooms.swap_remove(index))
    });
    let mut room = kept.and_then(|room| room.downcast::<Vec<T>>().ok()).unwrap_or_default();
    if room.len() < len {
        // Not grown: what is there need not be copied.
        *room = vec![T::default(); len];
    }
    let result = run(&mut room[..len]);
    ROOMS.with_borrow_mut(|rooms| {
        if rooms.len() < KEPT {
            rooms.push(room);
        }
    });
    result
}

/// Has the system's allocator keep what is freed: large tensors come and go at every layer, and memory that went back to
/// the system would have to be mapped again page by page each time. To be undone from time to time by [`release_memory`].
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator's settings are C")]
pub fn keep_freed_memory() {
    /// The heap grows by this much at least, so that large pages fit into what it grew by.
    const GROWTH: libc::c_int = 64 << 20;
    // SAFETY: sets numbers.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, GROWTH);
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

/// As on Linux, where the allocator can be told; elsewhere it decides for itself.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_freed_memory() {}

/// Gives back to the system what the thread keeps for its computations, and what has been freed.
#[cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the allocator's settings are C")
)]
pub fn release_memory() {
    ROOMS.with_borrow_mut(Vec::clear);
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: gives freed pages back and touches nothing else.
    unsafe {
        libc::malloc_trim(0);
    }
}
