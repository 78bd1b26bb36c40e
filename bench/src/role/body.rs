//! Bodies: JSON of an exact size, with the message's id in it.

use rand::Rng;
use rand::distr::Alphanumeric;
use serde_json::json;

/// Where the id stands in every body.
pub(super) const ID_AT: usize = HEAD.len();
const HEAD: &str = r#"{"id":""#;
/// As long as an id.
const ID: &str = "msg_0000000000000000";
const MIDDLE: &str = r#"","object":"event","type":"user.created","data":["#;
const TAIL: &str = "]}";
/// Smallest body that can be made.
pub(crate) const SMALLEST: usize = HEAD.len() + ID.len() + MIDDLE.len() + TAIL.len() + 2;

/// Builds one body: an envelope as Clerk's and a list of random users.
pub(super) fn build(size: usize, randomness: &mut impl Rng) -> Vec<u8> {
    let mut body = [HEAD, ID, MIDDLE].concat();
    let room = size.saturating_sub(TAIL.len());
    loop {
        let user = json!({
            "id": format!("user_{}", text(27, randomness)),
            "email": format!("{}@example.com", text(12, randomness)),
            "verified": randomness.random::<bool>(),
            "created_at": randomness.random_range(1_600_000_000_000_u64..1_800_000_000_000),
            "labels": [text(6, randomness), null_or(randomness)],
        })
        .to_string();
        // What is left has to hold a text at least: two quotes.
        if body.len() + user.len() + 3 > room {
            break;
        }
        body.push_str(&user);
        body.push(',');
    }
    let rest = room.saturating_sub(body.len() + 2);
    body.push_str(&format!("\"{}\"{TAIL}", text(rest, randomness)));
    body.into_bytes()
}

/// True when the body holds this id at its place.
pub(super) fn holds(body: &[u8], id: &[u8]) -> bool {
    body.get(ID_AT..ID_AT + ID.len()) == Some(id)
}

fn text(length: usize, randomness: &mut impl Rng) -> String {
    randomness
        .sample_iter(Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}

fn null_or(randomness: &mut impl Rng) -> Option<u32> {
    randomness.random::<bool>().then(|| randomness.random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::message;

    #[test]
    fn a_body_is_json_of_the_size_that_was_asked_for() {
        for size in [SMALLEST, 256, 300, 1_536, 16_384, 262_144] {
            let body = build(size, &mut rand::rng());
            assert_eq!(body.len(), size);
            let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(json["type"], "user.created");
        }
    }

    #[test]
    fn an_id_written_at_its_place_is_found_there() {
        let mut body = build(256, &mut rand::rng());
        let id = message::id(7);
        body[ID_AT..ID_AT + id.len()].copy_from_slice(id.as_bytes());
        let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(json["id"], id);
        assert!(holds(&body, id.as_bytes()));
        assert!(!holds(&body, message::id(8).as_bytes()));
    }
}
