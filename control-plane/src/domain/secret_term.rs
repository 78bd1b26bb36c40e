//! When each of a source's secrets is valid, and its number.
//!
//! Owns how terms follow their secrets from one version of a source to the next.
//! Invariant: a number is given to one secret of a source and never again.

use serde::{Deserialize, Serialize};

use super::Millis;
use super::violation::Violation;

/// The term of one secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretTerm {
    /// From 1; 0 as long as none was given.
    pub version: u32,
    pub not_before: Option<Millis>,
    pub expires_at: Option<Millis>,
}

/// How many requests a secret verified, as far as agents have reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretUse {
    pub version: u32,
    pub verified: u64,
    pub last_verified_at: Millis,
}

/// Secrets with their terms, as they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'s> {
    pub(super) secrets: &'s [String],
    pub(super) terms: &'s [SecretTerm],
}

impl Known<'_> {
    fn of(&self, secret: &str) -> Option<SecretTerm> {
        let place = self.secrets.iter().position(|known| known == secret)?;
        self.terms.get(place).copied()
    }
}

/// Numbers for secrets that were stored before there were terms.
pub(super) fn fill(secrets: &[String], terms: &mut Vec<SecretTerm>, issued: &mut u32) {
    for _ in terms.len()..secrets.len() {
        *issued += 1;
        terms.push(SecretTerm {
            version: *issued,
            ..SecretTerm::default()
        });
    }
}

/// The terms of `secrets`. A given term with a number is that secret's, wherever
/// it stands; one without is for the secret at its place; a secret that is given
/// none keeps its own. Terms of secrets that are gone are dropped, so that who
/// reads a source and writes it with another secret need not know of terms.
pub(super) fn settle(
    secrets: &[String],
    given: &[SecretTerm],
    known: Known<'_>,
    issued: &mut u32,
) -> Result<Vec<SecretTerm>, Vec<Violation>> {
    let mut faults = strange(secrets, given, *issued);
    let mut settled = Vec::new();
    for (place, secret) in secrets.iter().enumerate() {
        let had = known.of(secret);
        let by_place = given.get(place).filter(|term| term.version == 0);
        let by_number = had.and_then(|had| given.iter().find(|term| term.version == had.version));
        let wanted = by_number.or(by_place).copied().or(had);
        let version = had.map(|had| had.version).unwrap_or_else(|| {
            *issued += 1;
            *issued
        });
        let term = SecretTerm {
            version,
            ..wanted.unwrap_or_default()
        };
        if let (Some(from), Some(end)) = (term.not_before, term.expires_at)
            && from >= end
        {
            let fault = "it would end before it begins";
            faults.push(Violation::new(field(place), fault));
        }
        settled.push(term);
    }
    if faults.is_empty() {
        Ok(settled)
    } else {
        Err(faults)
    }
}

/// Terms that belong to no secret there ever was.
fn strange(secrets: &[String], given: &[SecretTerm], issued: u32) -> Vec<Violation> {
    let fault = |(place, term): (usize, &SecretTerm)| {
        let fault = if term.version > issued {
            "no secret of this source ever had this number; leave it out for a new one"
        } else if term.version == 0 && place >= secrets.len() {
            "there is no secret at this place"
        } else {
            return None;
        };
        Some(Violation::new(field(place), fault))
    };
    given.iter().enumerate().filter_map(fault).collect()
}

fn field(place: usize) -> String {
    format!("config.auth.terms[{place}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn numbers(terms: &[SecretTerm]) -> Vec<u32> {
        terms.iter().map(|term| term.version).collect()
    }

    #[test]
    fn terms_follow_their_secrets_and_numbers_are_never_given_twice() {
        let (first, mut issued) = (secrets(&["a", "b"]), 0);
        let mut terms = Vec::new();
        fill(&first, &mut terms, &mut issued);
        terms[0].expires_at = Some(9);
        let known = Known {
            secrets: &first,
            terms: &terms,
        };
        let second = secrets(&["c", "a"]);
        let settled = settle(&second, &[], known, &mut issued).expect("they are right");
        assert_eq!(numbers(&settled), [3, 1]);
        assert_eq!(settled[1].expires_at, Some(9), "the term is lost");
        let known = Known {
            secrets: &second,
            terms: &settled,
        };
        let third = settle(&secrets(&["d"]), &[], known, &mut issued).expect("right");
        assert_eq!(numbers(&third), [4]);
    }

    #[test]
    fn a_given_term_is_found_by_its_number_or_its_place() {
        let stored = secrets(&["a", "b"]);
        let (mut terms, mut issued) = (Vec::new(), 0);
        fill(&stored, &mut terms, &mut issued);
        let known = Known {
            secrets: &stored,
            terms: &terms,
        };
        let ending = SecretTerm {
            version: 1,
            expires_at: Some(9),
            ..SecretTerm::default()
        };
        let begins = SecretTerm {
            not_before: Some(5),
            ..SecretTerm::default()
        };
        let wanted = secrets(&["c", "a"]);
        let settled = settle(&wanted, &[begins, ending], known, &mut issued).expect("right");
        assert_eq!((settled[0].version, settled[0].not_before), (3, Some(5)));
        assert_eq!(settled[1], ending);
        // The term of the secret that went is no term of the one that came.
        let replaced = settle(&secrets(&["d"]), &[ending], known, &mut issued).expect("right");
        assert_eq!((replaced[0].version, replaced[0].expires_at), (4, None));
    }

    #[test]
    fn a_term_of_no_secret_or_one_that_ends_before_it_begins_is_refused() {
        let stored = secrets(&["a"]);
        let (mut terms, mut issued) = (Vec::new(), 0);
        fill(&stored, &mut terms, &mut issued);
        let known = Known {
            secrets: &stored,
            terms: &terms,
        };
        let empty = SecretTerm {
            not_before: Some(5),
            expires_at: Some(5),
            ..SecretTerm::default()
        };
        let unknown = SecretTerm {
            version: 9,
            ..SecretTerm::default()
        };
        let beyond = [terms[0], SecretTerm::default()];
        for (given, field) in [
            (&[empty][..], "config.auth.terms[0]"),
            (&[unknown], "config.auth.terms[0]"),
            (&beyond, "config.auth.terms[1]"),
        ] {
            let faults = settle(&stored, given, known, &mut issued).expect_err("refused");
            assert_eq!(faults[0].field, field);
        }
    }
}
