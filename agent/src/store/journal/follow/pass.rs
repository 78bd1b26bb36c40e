//! Whether moving what is pending makes room, or only writes it again.
//!
//! Owns both judgements: by estimate before anything is moved, and by what came of moving everything
//! once. Refuses to know what is moved. Invariant: while nothing is delivered each pending request is
//! moved once, however small the volume.

use std::time::{Duration, Instant};

/// Of what was given up so much has to have become free: one part in so many.
const GAIN: u64 = 4;
/// Moving is tried again when so much of what is pending is gone, one part in so many, and after a while.
const LESS: u64 = 8;
const AGAIN: Duration = Duration::from_secs(300);

/// What moving came to since it began.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    /// The newest segment when it began.
    through: Option<u32>,
    /// Bytes of segments given up, and of what was moved out of them.
    pub(super) given_up: u64,
    pub(super) moved: u64,
    /// When a pass had been in vain, and bytes that were pending then, about.
    in_vain: Option<(Instant, u64)>,
}

impl Pass {
    /// Asked before more is moved. A pass ends when the oldest segment was written after it began.
    pub(super) fn is_in_vain(
        &mut self,
        (oldest, newest): (u32, u32),
        pending: u64,
        now: Instant,
    ) -> bool {
        if let Some((at, then)) = self.in_vain {
            if pending > then - then / LESS && now < at + AGAIN {
                return true;
            }
            *self = Self::default();
        }
        match self.through {
            Some(through) if oldest > through => {
                let gained = self.given_up.saturating_sub(self.moved);
                let in_vain = gained < self.given_up / GAIN;
                *self = Self {
                    through: Some(newest),
                    in_vain: in_vain.then_some((now, pending)),
                    ..Self::default()
                };
                in_vain
            }
            Some(_) => false,
            None => {
                self.through = Some(newest);
                false
            }
        }
    }
}

/// Whether moving so many bytes of what is pending out of the way makes no room: they take more than
/// three quarters of it, or so many whole segments that none is left beside the one being written and
/// the one being cleared. In few segments it is the second that counts.
pub(super) fn leaves_too_little(pending: u128, room: u128, segment: u128) -> bool {
    let whole = pending.div_ceil(segment.max(1)) + 2;
    pending > room / 4 * 3 || whole * segment > room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_events_leave_room_by_bytes_and_by_whole_segments() {
        let segment = 32;
        assert!(!leaves_too_little(0, 3 * segment, segment));
        assert!(!leaves_too_little(70 * segment, 100 * segment, segment));
        assert!(leaves_too_little(76 * segment, 100 * segment, segment));
        // Five and a half of eight are below three quarters, and take six.
        assert!(leaves_too_little(
            11 * segment / 2,
            8 * segment - 1,
            segment
        ));
        assert!(!leaves_too_little(11 * segment / 2, 8 * segment, segment));
    }

    #[test]
    fn a_pass_that_gained_less_than_a_quarter_was_in_vain_until_less_is_pending_or_a_while() {
        let now = Instant::now();
        let mut pass = Pass::default();
        assert!(!pass.is_in_vain((1, 8), 650, now));
        pass.given_up = 800;
        pass.moved = 650;
        assert!(
            !pass.is_in_vain((8, 14), 650, now),
            "it has not come through yet"
        );
        assert!(pass.is_in_vain((9, 15), 650, now));
        assert!(pass.is_in_vain((9, 15), 600, now));
        let mut late = pass.clone();
        assert!(
            !late.is_in_vain((9, 15), 650, now + AGAIN),
            "it lasts for ever"
        );
        assert!(
            !pass.is_in_vain((9, 15), 560, now),
            "it is never tried again"
        );
        pass.given_up = 800;
        pass.moved = 500;
        assert!(
            !pass.is_in_vain((16, 22), 560, now),
            "what makes room is given up"
        );
        pass.given_up = 800;
        pass.moved = 800;
        assert!(pass.is_in_vain((23, 29), 0, now + AGAIN));
        assert!(
            !pass.is_in_vain((23, 29), 0, now + AGAIN * 2),
            "nothing pending is stuck"
        );
    }
}
