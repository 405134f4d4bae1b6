//! The threads that compute: a pool that is fixed when the program starts, each thread at home on a core of its own.

use std::collections::HashSet;

use core_affinity::CoreId;

use crate::request::ThreadCount;

/// Starts the pool and says how many threads it has. Only the first call starts it; without one it starts at the first
/// product, with as many threads as the system counts processors.
pub fn start(count: ThreadCount) -> usize {
    let homes = homes();
    let threads = count.get().map_or_else(|| automatic(homes.len()), usize::from);
    let mut pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("compute-{index}"));
    // More threads than cores, or fewer cores than there may be: the system places them better.
    if threads <= homes.len() {
        pool = pool.start_handler(move |index| {
            if let Some(home) = homes.get(index).filter(|home| !core_affinity::set_for_current(**home)) {
                tracing::debug!(core = home.id, "a thread could not be bound to its core");
            }
        });
    }
    if let Err(error) = pool.build_global() {
        tracing::debug!(%error, "the threads are as they were");
    }
    rayon::current_num_threads()
}

/// As many as there are cores that this process may use, or as `RAYON_NUM_THREADS` says.
fn automatic(cores: usize) -> usize {
    let counted = candle_core::utils::get_num_threads().max(1);
    let allowed = std::thread::available_parallelism().map_or(counted, usize::from);
    let is_asked = std::env::var("RAYON_NUM_THREADS").is_ok();
    if is_asked || cores == 0 { counted } else { cores.min(allowed) }
}

/// One processor of each core that this process may use; none where the system does not tell what shares a core.
fn homes() -> Vec<CoreId> {
    let siblings = |processor: usize| {
        let file = format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
        std::fs::read_to_string(file).ok()
    };
    let mut seen = HashSet::new();
    let mut homes = Vec::new();
    for processor in core_affinity::get_core_ids().unwrap_or_default() {
        match siblings(processor.id) {
            Some(core) if seen.insert(core.clone()) => homes.push(processor),
            Some(_) => {}
            None => return Vec::new(),
        }
    }
    homes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_home_for_each_core_at_most() {
        let homes = homes();
        let different: HashSet<usize> = homes.iter().map(|home| home.id).collect();
        assert_eq!(different.len(), homes.len());
        assert!(homes.len() <= std::thread::available_parallelism().unwrap().get());
        assert!(automatic(homes.len()) >= 1);
    }
}
