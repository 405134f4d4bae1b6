//! The program's allocator: the system's, with large memory in large pages. Weights and activations are gigabytes, and a
//! page of 4 KB for each piece of them costs a fault when it is first touched and a place in the processor's table of
//! pages ever after.

use std::alloc::{GlobalAlloc, Layout, System};

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

/// From this many bytes on memory is asked for in large pages.
const LARGE: usize = 1 << 20;

struct LargePages;

#[expect(unsafe_code, reason = "an allocator is unsafe by its nature")]
// SAFETY: all memory is the system allocator's, and asking for large pages changes nothing of what is in it.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as our caller promises.
        let start = unsafe { System.alloc(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() < LARGE {
            // SAFETY: as our caller promises.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // The system's would touch the memory before large pages can be asked for.
        // SAFETY: as our caller promises; all of what was given is written, if something was.
        unsafe {
            let start = self.alloc(layout);
            if !start.is_null() {
                start.write_bytes(0, layout.size());
            }
            start
        }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as our caller promises.
        let start = unsafe { System.realloc(start, layout, new_size) };
        advise(start, new_size);
        start
    }
}

/// Asks for large pages where memory is large; what the system answers does not matter.
#[cfg_attr(target_os = "linux", expect(unsafe_code, reason = "the system's calls are C"))]
fn advise(start: *mut u8, len: usize) {
    if start.is_null() || len < LARGE {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        /// A large page, of the processors that have them of this size; elsewhere the call is refused and nothing changes.
        const PAGE: usize = 2 << 20;
        // To the ends of the pages: what lies beside belongs to others, who will not mind, or to nobody.
        let before = start.addr() % PAGE;
        let len = (before + len).next_multiple_of(PAGE);
        // SAFETY: it changes nothing but how memory is fetched, of addresses that are not ours neither.
        unsafe { libc::madvise(start.wrapping_sub(before).cast(), len, libc::MADV_HUGEPAGE) };
    }
}
