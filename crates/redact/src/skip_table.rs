//! Rules out the places where none of several literal patterns can begin, most of them without a
//! look at their bytes (S. Wu and U. Manber, A fast algorithm for multi-pattern searching, 1994).

/// The number of pairs of bytes that the table tells apart.
const SLOTS: usize = 1 << 10;

/// The distance by which a search may go on, by the last two bytes of a window as long as the
/// shortest pattern.
pub(super) struct SkipTable {
    window: usize,
    skips: Box<[u8; SLOTS]>,
}

impl SkipTable {
    /// Makes the table of some patterns; `None` where one of them has fewer than two bytes.
    pub(super) fn new<'p>(patterns: impl Iterator<Item = &'p [u8]> + Clone) -> Option<Self> {
        // A longer window would hardly skip more.
        let window = patterns.clone().map(<[u8]>::len).min().unwrap_or(0).min(usize::from(u8::MAX));
        if window < 2 {
            return None;
        }
        let farthest = u8::try_from(window - 1).unwrap_or(u8::MAX);
        let mut skips = Box::new([farthest; SLOTS]);
        for pattern in patterns {
            for (pair, skip) in pattern[..window].windows(2).zip((0..farthest).rev()) {
                let known = &mut skips[slot(pair[0], pair[1])];
                *known = skip.min(*known);
            }
        }
        Some(Self { window, skips })
    }

    /// Lists the places where a pattern may begin; all others are ruled out.
    pub(super) fn starts<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = usize> + 't {
        let mut end = self.window;
        std::iter::from_fn(move || {
            while let Some(last) = text.get(..end)?.last_chunk::<2>() {
                match self.skips[slot(last[0], last[1])] {
                    0 => {
                        end += 1;
                        return Some(end - 1 - self.window);
                    }
                    skip => end += usize::from(skip),
                }
            }
            None
        })
    }
}

fn slot(one: u8, two: u8) -> usize {
    (usize::from(one) << 3 ^ usize::from(two)) % SLOTS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_that_are_too_short_have_no_table() {
        assert!(SkipTable::new(std::iter::empty()).is_none());
        assert!(SkipTable::new([&b"abc"[..], b"a"].into_iter()).is_none());
        assert!(SkipTable::new([&b"abc"[..], b"ab"].into_iter()).is_some());
    }

    proptest! {
        #[test]
        fn no_place_of_a_pattern_is_ruled_out(
            patterns in prop::collection::vec("[a-c]{2,5}", 1..4),
            text in "[a-d]{0,40}",
        ) {
            let table = SkipTable::new(patterns.iter().map(String::as_bytes)).unwrap();
            let starts: Vec<_> = table.starts(text.as_bytes()).collect();
            for at in 0..text.len() {
                let is_there = patterns.iter().any(|pattern| text[at..].starts_with(pattern));
                prop_assert!(!is_there || starts.contains(&at), "{at} of {text}");
            }
        }
    }
}
