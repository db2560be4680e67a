//! Decides what is wrong when a record that this process wrote was confirmed by the broker and is
//! not read back.
//!
//! The record is written once more, under the number that it has, while a second reader looks at
//! the end of the stream. The messages that arrive there distinguish a reader in trouble from a
//! channel whose messages are dropped, and a replica that lags from another stream. Only proof lets
//! the index be deleted, and silence proves nothing.

/// The number of doubts in a row after which, and after each multiple of which, a new session with
/// the broker begins. Before that one begins after 2, 4 and 8.
const RECONNECT_EVERY: u32 = 16;

/// The view of the stream's end, while a record of this process is written to it once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamPreview {
    /// The record arrived, at this offset.
    Ours(u64),
    /// Only records of other writers arrived, from this offset on.
    Others(u64),
    /// Nothing arrived, or the stream can't be read.
    Nothing,
}

/// The action that resolves a doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DoubtRemedy {
    /// Nothing is done: the record is on its way.
    Wait,
    /// The reader is replaced.
    ReadAnew,
    /// The session with the broker is replaced.
    Reconnect,
    /// The index is deleted: the stream is another one.
    Rebuild,
}

/// Counts the doubts since a record of this process was last read back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReadBackDoubt {
    times: u32,
    /// The offset from which on other writers' messages were written after the record was
    /// confirmed.
    horizon: Option<u64>,
}

impl ReadBackDoubt {
    /// Chooses the remedy. `known` is the offset of the last message that the index holds, `read`
    /// that of the last message read since this process began; `is_silent` says that nothing was
    /// read for a while.
    pub(super) fn choose_remedy(
        &mut self,
        preview: StreamPreview,
        known: Option<u64>,
        read: Option<u64>,
        is_silent: bool,
    ) -> DoubtRemedy {
        self.times = self.times.saturating_add(1);
        let is_behind = self.horizon.is_some_and(|horizon| read.is_none_or(|read| read < horizon));
        let is_time = self.times > 1
            && (self.times.is_power_of_two() || self.times.is_multiple_of(RECONNECT_EVERY));
        match preview {
            // The record has a higher number than all records of this process that were read, so
            // its offset would be higher too.
            StreamPreview::Ours(offset) if known.is_some_and(|known| offset <= known) => {
                DoubtRemedy::Rebuild
            }
            StreamPreview::Ours(_) if is_silent => DoubtRemedy::ReadAnew,
            StreamPreview::Ours(_) => DoubtRemedy::Wait,
            StreamPreview::Others(offset) if !is_silent => {
                self.horizon.get_or_insert(offset);
                if is_time && !is_behind { DoubtRemedy::Reconnect } else { DoubtRemedy::Wait }
            }
            StreamPreview::Others(_) | StreamPreview::Nothing if is_time => DoubtRemedy::Reconnect,
            StreamPreview::Others(_) | StreamPreview::Nothing => DoubtRemedy::ReadAnew,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DoubtRemedy::{ReadAnew, Rebuild, Reconnect, Wait};
    use super::StreamPreview::{Nothing, Others, Ours};
    use super::*;

    #[test]
    fn no_silence_and_no_message_of_others_ever_deletes_the_index() {
        for preview in [Others(3), Others(30), Nothing] {
            for is_silent in [false, true] {
                let mut doubt = ReadBackDoubt::default();
                for _ in 0..1_000 {
                    assert_ne!(
                        doubt.choose_remedy(preview, Some(20), Some(20), is_silent),
                        Rebuild,
                        "{preview:?} {is_silent}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_new_record_that_stands_before_an_old_one_is_in_another_stream() {
        for (offset, known, remedy) in
            [(20, Some(20), Rebuild), (3, Some(20), Rebuild), (21, Some(20), Wait), (0, None, Wait)]
        {
            assert_eq!(
                ReadBackDoubt::default().choose_remedy(Ours(offset), known, known, false),
                remedy,
                "{offset} {known:?}"
            );
        }
        assert_eq!(
            ReadBackDoubt::default().choose_remedy(Ours(21), Some(20), Some(20), true),
            ReadAnew,
            "its reader misses it"
        );
    }

    #[test]
    fn a_record_that_does_not_come_while_others_come_leads_to_a_new_session_unless_the_reader_is_behind()
     {
        let mut doubt = ReadBackDoubt::default();
        assert_eq!(doubt.choose_remedy(Others(100), Some(90), Some(90), false), Wait);
        assert_eq!(
            doubt.choose_remedy(Others(200), Some(99), Some(99), false),
            Wait,
            "the reader has not come to 100"
        );
        assert_eq!(
            doubt.choose_remedy(Others(300), Some(150), Some(150), false),
            Wait,
            "it is not time"
        );
        assert_eq!(doubt.choose_remedy(Others(400), Some(160), Some(160), false), Reconnect);
    }

    #[test]
    fn where_nothing_comes_new_readers_and_ever_rarer_new_sessions_are_tried() {
        let mut doubt = ReadBackDoubt::default();
        let tried = (1..=64)
            .filter(|_| doubt.choose_remedy(Nothing, Some(9), Some(9), true) == Reconnect)
            .collect::<Vec<_>>();
        assert_eq!(tried, [2, 4, 8, 16, 32, 48, 64]);
        assert_eq!(ReadBackDoubt::default().choose_remedy(Nothing, None, None, true), ReadAnew);
    }
}
