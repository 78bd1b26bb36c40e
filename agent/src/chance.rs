//! Randomness, passed in so that a simulation can draw the same again.
//!
//! For ids, jitter and probes. Secrets are never drawn from here.

/// Gives a random number. A plain function, so that what carries it can be copied.
pub type Draw = fn() -> u64;

/// The operating system's randomness, by way of the thread's generator.
#[must_use]
pub fn system() -> u64 {
    rand::random()
}

/// From 0 up to, and without, 1.
pub(crate) fn fraction(draw: Draw) -> f64 {
    /// As many bits as a float keeps exactly.
    const BITS: u32 = 53;
    (draw() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_covers_its_range_and_nothing_else() {
        assert!(fraction(|| 0).abs() < f64::EPSILON);
        assert!((0.999..1.0).contains(&fraction(|| u64::MAX)));
        assert!((fraction(|| 1 << 63) - 0.5).abs() < f64::EPSILON);
    }
}
