//! How secrets look to readers, and how a redacted one that is sent back is understood.

/// Stands in every redacted secret and in no real one.
pub const MARK: char = '•';
const MASK: &str = "••••••••";
const SIGNING_PREFIX: &str = "whsec_";
/// Shown of a signing secret, so that people can tell two of them apart. Such a
/// secret has 24 random bytes at least; nothing is shown of any other kind.
const SHOWN: usize = 4;

/// The secret as readers see it.
#[must_use]
pub fn redacted(secret: &str) -> String {
    if secret.is_empty() {
        return String::new();
    }
    if let Some(encoded) = secret.strip_prefix(SIGNING_PREFIX)
        && let Some(start) = encoded.len().checked_sub(SHOWN)
        && start >= 24
        && let Some(end) = encoded.get(start..)
    {
        return format!("{SIGNING_PREFIX}{MASK}{end}");
    }
    if secret.starts_with("whpk_") {
        // A public key is no secret.
        return secret.to_owned();
    }
    MASK.to_owned()
}

/// Whether a value is a redacted one that came back.
#[must_use]
pub fn is_redacted(text: &str) -> bool {
    text.contains(MARK)
}

/// The stored secret that a redacted one stands for: the one at the same place if it
/// looks alike, else the first that does.
#[must_use]
pub fn restore<'s>(sent: &str, place: usize, stored: &'s [String]) -> Option<&'s String> {
    let alike = |candidate: &&'s String| redacted(candidate) == sent;
    stored
        .get(place)
        .filter(alike)
        .or_else(|| stored.iter().find(alike))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_the_end_of_a_signing_secret_and_nothing_of_a_password() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(redacted(secret), "whsec_••••••••LaSw");
        assert_eq!(redacted("correct horse"), "••••••••");
        assert_eq!(redacted("whsec_short"), "••••••••");
        assert_eq!(redacted(""), "");
    }

    #[test]
    fn a_redacted_secret_sent_back_means_the_stored_one_wherever_it_stands() {
        let stored = [
            "first password".to_owned(),
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
        ];
        assert_eq!(restore("whsec_••••••••LaSw", 0, &stored), Some(&stored[1]));
        assert_eq!(restore("••••••••", 0, &stored), Some(&stored[0]));
        assert_eq!(restore("whsec_••••••••XXXX", 0, &stored), None);
    }
}
