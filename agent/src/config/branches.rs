//! The connections of a source, with what all of them together look at of a body.
//!
//! Prepared once with the configuration, so that a request costs one look. Invariant: what is
//! read of a body is enough for each rule of these connections and for the provider's hints.

use std::ops::Deref;
use std::sync::Arc;

use hookplane_rules::Projection;
use hookplane_signature::{Provider, paths_in_body};

use super::Connection;

#[derive(Debug)]
pub struct Branches {
    all: Vec<Arc<Connection>>,
    in_body: Projection,
    hints_in_body: bool,
}

impl Branches {
    /// Of a source of this provider.
    #[must_use]
    pub fn of(provider: Provider, all: Vec<Arc<Connection>>) -> Self {
        let mut in_body = Projection::default();
        for path in paths_in_body(provider) {
            in_body.add_text(path);
        }
        // Nothing of a filter is in it yet.
        let hints_in_body = !in_body.is_empty();
        for filter in all.iter().flat_map(|connection| &connection.filters) {
            in_body.add_filter(filter);
        }
        for rule in all
            .iter()
            .filter_map(|connection| connection.deduplicate.as_ref())
        {
            in_body.add_deduplicate(rule);
        }
        for delay in all
            .iter()
            .filter_map(|connection| connection.delay.as_ref())
        {
            in_body.add_delay(delay);
        }
        Self {
            all,
            in_body,
            hints_in_body,
        }
    }

    /// What rules and the provider's hints look at.
    pub(crate) fn looked_at_in_body(&self) -> &Projection {
        &self.in_body
    }

    /// Whether the provider tells the id or type of a message in its body, so that each body
    /// has to be read.
    pub(crate) fn hints_in_body(&self) -> bool {
        self.hints_in_body
    }
}

impl Deref for Branches {
    type Target = [Arc<Connection>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use hookplane_rules::{Filter, FilterSpec, RetryPolicy};
    use hookplane_signature::{event_type, message_id};
    use serde_json::{Value, json};

    use super::*;

    fn filtered(body: Value) -> Arc<Connection> {
        let spec = FilterSpec {
            body: Some(body),
            ..FilterSpec::default()
        };
        Arc::new(Connection {
            id: "web_1".into(),
            name: "c".into(),
            destination_id: "des_1".into(),
            enabled: true,
            paused: false,
            drain: None,
            filters: vec![Filter::compile(&spec).unwrap()],
            deduplicate: None,
            delay: None,
            transform: None,
            retry: RetryPolicy::default(),
        })
    }

    #[test]
    fn what_is_read_tells_the_hints_of_every_provider() {
        let bodies = [
            r#"{"id":"i","event_id":"e","type":"t","event_type":"u","event":{"type":"v"}}"#,
            r#"{"type":{"no":"text"},"event_type":"u","event":"v","id":["i"]}"#,
            r#"{"type":"","event":{"type":""},"data":{"type":"inner","id":"i"}}"#,
            r#"{"type":"a","type":5,"id":"x","id":"y","event":"last"}"#,
            r#"{"t\u0079pe":"\u00e9"}"#,
            r#"[{"type":"a"}]"#,
        ];
        for provider in Provider::ALL {
            let branches = Branches::of(provider, vec![filtered(json!({"data": 1}))]);
            let headers: Vec<(String, String)> = Vec::new();
            for body in bodies {
                let whole: Value = serde_json::from_str(body).unwrap();
                let part = branches.looked_at_in_body().read(body).unwrap();
                let hints = |body| {
                    let id = message_id(provider, &headers, Some(body));
                    (id, event_type(provider, &headers, Some(body)))
                };
                assert_eq!(hints(&part), hints(&whole), "{provider} {body}");
            }
        }
    }

    #[test]
    fn a_body_has_to_be_read_for_hints_only_where_the_provider_has_them_there() {
        let needs = |provider| Branches::of(provider, vec![filtered(json!({"a": 1}))]);
        assert!(needs(Provider::Clerk).hints_in_body());
        assert!(needs(Provider::Stripe).hints_in_body());
        assert!(!needs(Provider::Github).hints_in_body());
        assert!(!needs(Provider::Github).looked_at_in_body().is_empty());
    }
}
