//! Message ids: as random as a provider's, and each tells its number.
//!
//! A bijection over 64 bits makes neighbours look unrelated, which is the worst
//! case for an index of ids; its inverse lets the sink keep one bit per message.

const PREFIX: &str = "msg_";
const FIRST: u64 = 0xbf58_476d_1ce4_e5b9;
const SECOND: u64 = 0x94d0_49bb_1331_11eb;

/// The id of a numbered message.
pub(crate) fn id(number: u64) -> String {
    format!("{PREFIX}{:016x}", mix(number))
}

/// The number of an id; `None` when it is none of ours.
pub(crate) fn number(id: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(id.strip_prefix(PREFIX.as_bytes())?).ok()?;
    (digits.len() == 16).then_some(())?;
    u64::from_str_radix(digits, 16).ok().map(unmix)
}

fn mix(number: u64) -> u64 {
    let mut word = number ^ (number >> 32);
    word = word.wrapping_mul(FIRST);
    word ^= word >> 32;
    word = word.wrapping_mul(SECOND);
    word ^ (word >> 32)
}

fn unmix(word: u64) -> u64 {
    let mut number = word ^ (word >> 32);
    number = number.wrapping_mul(inverse(SECOND));
    number ^= number >> 32;
    number = number.wrapping_mul(inverse(FIRST));
    number ^ (number >> 32)
}

/// Modulo 2^64, by Newton's method: each step doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let mut guess = odd;
    let mut step = 0;
    while step < 6 {
        guess = guess.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(guess)));
        step += 1;
    }
    guess
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_from_its_id() {
        for number in (0..2_000).chain([u64::MAX, 1 << 63, 0x1234_5678_9abc_def0]) {
            assert_eq!(super::number(id(number).as_bytes()), Some(number));
        }
    }

    #[test]
    fn an_id_of_somebody_else_has_no_number() {
        for foreign in ["msg_12", "evt_0123456789abcdef", "msg_0123456789abcdeg", ""] {
            assert_eq!(number(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn neighbours_look_unrelated() {
        let near = (0..1_000_u64).map(|number| (mix(number) ^ mix(number + 1)).count_ones());
        assert!(
            near.min() > Some(8),
            "two neighbours differ in a few bits only"
        );
    }
}
