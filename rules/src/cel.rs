//! Expressions of the Common Expression Language, over the parts of one request.
//!
//! Owns what may be written, what it means and what it may cost. The text is read by the `cel` crate; it
//! is evaluated here, because nobody else's evaluator counts: each step and each byte that is made is paid
//! for, so that an expression ends soon whatever it is given. Refuses to know clocks, randomness and
//! anything outside the request: the same request and expression give the same value everywhere.
//!
//! Invariants: what compiles knows each of its names, functions and operators; evaluation never panics,
//! never recurses deeper than the bound of compilation and takes at most [`MAX_STEPS`] steps; errors name
//! places of the expression and never values of the request.

mod compile;
mod evaluate;
mod functions;
mod value;

use thiserror::Error;

use crate::{Input, InvalidRule, Looks};
use compile::Node;
pub(crate) use value::Val;

/// Bytes of an expression.
const MAX_CEL_BYTES: usize = 4 * 1_024;
/// Parts of an expression, macros counted as what they stand for.
const MAX_CEL_NODES: usize = 1_000;
/// Comprehensions (`map`, `filter`, `all`, `exists`, `exists_one`) inside each other.
const MAX_CEL_NESTING: usize = 2;
/// Parts inside each other.
const MAX_DEPTH: usize = 96;
/// Bytes of a body that an expression looks into; JSON takes several times that while it does.
pub const MAX_LOOKED_INTO_BYTES: usize = 1_024 * 1_024;
/// Steps of one evaluation; what works through bytes or elements takes one for each few of them.
const MAX_STEPS: u32 = 100_000;
/// Bytes of texts, lists and maps that one evaluation may make.
const MAX_CEL_MADE_BYTES: usize = 4 * 1_024 * 1_024;

/// A checked expression.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    root: Node,
    looks: Looks,
}

/// Why an expression has no value for a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CelFault {
    #[error("{0}")]
    Error(String),
    /// A field, key or element that is asked for is not there.
    #[error("{0}")]
    Missing(String),
    /// Nothing in the expression can make up for it.
    #[error("{0}")]
    Limit(&'static str),
}

impl Program {
    /// Reads and checks an expression; `field` names it in faults.
    ///
    /// # Errors
    /// [`InvalidRule`] says what is not possible.
    pub(crate) fn compile(field: &str, text: &str) -> Result<Self, InvalidRule> {
        compile::program(text).map_err(|message| InvalidRule::new(field, message))
    }

    pub(crate) const fn looks(&self) -> Looks {
        self.looks
    }

    pub(crate) fn evaluate<'a>(&'a self, input: &Input<'a>) -> Result<Val<'a>, CelFault> {
        if self.looks.body && input.raw_body.len() > MAX_LOOKED_INTO_BYTES {
            return Err(CelFault::Limit("the body has more than 1 MiB"));
        }
        evaluate::run(&self.root, input)
    }
}

#[cfg(test)]
mod tests;
