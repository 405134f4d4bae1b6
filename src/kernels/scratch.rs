//! Large room that computations work in, kept by their thread from one to the next: fresh memory would have to be mapped
//! page by page each time.

use std::any::Any;
use std::cell::RefCell;

/// More than this many rooms of a type are not in use at a time.
const KEPT: usize = 4;

thread_local! {
    static ROOMS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Runs with `len` values of any content.
pub(super) fn with_room<T: Copy + Default + 'static, R>(len: usize, run: impl FnOnce(&mut [T]) -> R) -> R {
    let kept = ROOMS.with_borrow_mut(|rooms| {
        let index = rooms.iter().position(|room| room.is::<Vec<T>>());
        index.map(|index| rooms.swap_remove(index))
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

/// Gives back what the thread keeps for its computations.
pub fn release_scratch() {
    ROOMS.with_borrow_mut(Vec::clear);
}
