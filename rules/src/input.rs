//! A request as rules see it, and which parts of it a rule looks at: others need not be made.

use serde_json::Value;

/// Parts of a request. Those that nobody looks at may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// As made by [`crate::headers_value`].
    pub headers: &'a Value,
    /// `None` when the body is not JSON. What a [`crate::Projection`] with the rule gives of it is
    /// enough.
    pub body: Option<&'a Value>,
    /// As made by [`crate::query_value`].
    pub query: &'a Value,
    pub path: &'a str,
    /// The body as it came.
    pub raw_body: &'a [u8],
}

/// Which parts have to be made. A path and a body as it came always are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    pub headers: bool,
    pub body: bool,
    pub query: bool,
}
