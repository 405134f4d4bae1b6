//! Where the parts of a text that was put together come from, so that an editor can mark them where they were typed.

use std::ops::Range;

/// For each stretch of a text: where it begins in it, and where it was taken from; the longest stretches, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(Vec<(usize, usize)>);

impl Origins {
    /// Notes that what stands at the byte `here` and after it comes from the byte `there` and after it.
    pub(super) fn note(&mut self, here: usize, there: usize) {
        if self.0.last().is_some_and(|&(last_here, _)| last_here == here) {
            self.0.pop();
        }
        if self.of(here) != there || self.0.is_empty() {
            self.0.push((here, there));
        }
    }

    /// Where the byte `here` comes from; itself, where nothing was noted.
    #[must_use]
    pub fn of(&self, here: usize) -> usize {
        let known = self.0.partition_point(|&(start, _)| start <= here);
        self.0[..known].last().map_or(here, |&(start, there)| there + (here - start))
    }

    /// Where a range of at least one byte comes from: from the origin of its first byte to that of its last.
    #[must_use]
    pub fn of_range(&self, range: Range<usize>) -> Range<usize> {
        let start = self.of(range.start);
        start..(self.of(range.end.max(range.start + 1) - 1) + 1).max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_leads_back_to_where_it_was() {
        let mut origins = Origins::default();
        assert_eq!(origins.of(7), 7);
        // "abcdef" from "a(bc):def".
        for (here, there) in [(0, 0), (1, 2), (3, 6), (3, 6), (4, 7)] {
            origins.note(here, there);
        }
        assert_eq!([0, 1, 2, 3, 5].map(|at| origins.of(at)), [0, 2, 3, 6, 8]);
        assert_eq!((origins.of_range(1..3), origins.of_range(2..4)), (2..4, 3..7));
        assert_eq!(origins.0.len(), 3);
    }
}
