//! What an expression gives for one request, step by step, each of them paid for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compile::{Binary, Fold, Node, Root};
use super::functions;
use super::value::Val;
use super::{CelFault, MAX_CEL_MADE_BYTES, MAX_STEPS};
use crate::Input;

/// Bytes that are read or made for one step.
const BYTES_A_STEP: usize = 64;

/// What may still be spent.
#[derive(Debug)]
pub(super) struct Meter {
    steps: u32,
    bytes: usize,
}

impl Meter {
    fn step(&mut self) -> Result<(), CelFault> {
        self.steps = self
            .steps
            .checked_sub(1)
            .ok_or(CelFault::Limit("it takes too many steps"))?;
        Ok(())
    }

    fn steps(&mut self, count: usize) -> Result<(), CelFault> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.steps = self
            .steps
            .checked_sub(count)
            .ok_or(CelFault::Limit("it takes too many steps"))?;
        Ok(())
    }

    pub(super) fn read(&mut self, bytes: usize) -> Result<(), CelFault> {
        self.steps(bytes / BYTES_A_STEP)
    }

    pub(super) fn make(&mut self, bytes: usize) -> Result<(), CelFault> {
        self.bytes = self
            .bytes
            .checked_sub(bytes)
            .ok_or(CelFault::Limit("it makes too many bytes"))?;
        self.read(bytes)
    }

    /// Bytes that may still be made.
    pub(super) const fn room(&self) -> usize {
        self.bytes
    }
}

struct Evaluation<'a> {
    input: Input<'a>,
    meter: Meter,
    locals: Vec<Val<'a>>,
}

pub(super) fn run<'a>(root: &'a Node, input: &Input<'a>) -> Result<Val<'a>, CelFault> {
    let mut evaluation = Evaluation {
        input: *input,
        meter: Meter {
            steps: MAX_STEPS,
            bytes: MAX_CEL_MADE_BYTES,
        },
        locals: Vec::new(),
    };
    evaluation.value(root)
}

fn error<T>(message: impl Into<String>) -> Result<T, CelFault> {
    Err(CelFault::Error(message.into()))
}

fn missing<T>(message: impl Into<String>) -> Result<T, CelFault> {
    Err(CelFault::Missing(message.into()))
}

impl<'a> Evaluation<'a> {
    fn value(&mut self, node: &'a Node) -> Result<Val<'a>, CelFault> {
        self.meter.step()?;
        match node {
            Node::Literal(value) => Ok(borrowed(value)),
            Node::Root(root) => self.root(*root),
            Node::Local(at) => match self.locals.get(*at) {
                Some(value) => Ok(value.clone()),
                None => error("a variable is not there"),
            },
            Node::Select(of, field) => {
                let of = self.value(of)?;
                match of.field(field) {
                    Some(value) => Ok(value),
                    None if of.kind() == "map" => missing(format!("there is no `{field}`")),
                    None => error(format!("`{field}` is asked of {}", of.kind())),
                }
            }
            Node::Has(of, field) => Ok(Val::Bool(self.value(of)?.field(field).is_some())),
            Node::Index(of, place) => self.index(of, place),
            Node::List(items) => {
                self.meter.make(items.len() * 32)?;
                let mut made = Vec::with_capacity(items.len());
                for item in items {
                    made.push(self.value(item)?);
                }
                Ok(Val::list(made))
            }
            Node::Map(pairs) => {
                self.meter.make(pairs.len() * 64)?;
                let mut made = BTreeMap::new();
                for (key, value) in pairs {
                    let Val::Text(key) = self.value(key)? else {
                        return error("keys of a map are texts");
                    };
                    self.meter.make(key.len())?;
                    if made.insert(key.to_string(), self.value(value)?).is_some() {
                        return error("a map has one key twice");
                    }
                }
                Ok(Val::Map(Arc::new(made)))
            }
            Node::Not(of) => Ok(Val::Bool(!self.truth(of)?)),
            Node::Negate(of) => match self.value(of)? {
                Val::Int(value) => whole(value.checked_neg()),
                Val::Double(value) => Ok(Val::Double(-value)),
                other => error(format!("`-` does not take {}", other.kind())),
            },
            Node::And(one, other) => self.either(one, other, false),
            Node::Or(one, other) => self.either(one, other, true),
            Node::If(condition, then, otherwise) => {
                if self.truth(condition)? {
                    self.value(then)
                } else {
                    self.value(otherwise)
                }
            }
            Node::Binary(operator, one, other) => {
                let (one, other) = (self.value(one)?, self.value(other)?);
                self.binary(*operator, one, other)
            }
            Node::Call(function, given) => {
                let mut values = Vec::with_capacity(given.len());
                for one in given {
                    values.push(self.value(one)?);
                }
                functions::call(*function, &values, &mut self.meter)
            }
            Node::Matches(text, regex) => match self.value(text)? {
                Val::Text(text) => {
                    self.meter.steps(text.len() / 4)?;
                    Ok(Val::Bool(regex.is_match(&text)))
                }
                other => error(format!("`matches` does not take {}", other.kind())),
            },
            Node::NotStrictlyFalse(of) => match self.value(of) {
                Ok(Val::Bool(false)) => Ok(Val::Bool(false)),
                Err(fault @ CelFault::Limit(_)) => Err(fault),
                Ok(_) | Err(CelFault::Error(_) | CelFault::Missing(_)) => Ok(Val::Bool(true)),
            },
            Node::Fold(fold) => self.fold(fold),
        }
    }

    fn root(&self, root: Root) -> Result<Val<'a>, CelFault> {
        let input = self.input;
        Ok(match root {
            Root::Headers => Val::of(input.headers),
            Root::Query => Val::of(input.query),
            Root::Path => Val::text(input.path),
            Root::Body => match input.body {
                Some(value) => Val::of(value),
                None => match std::str::from_utf8(input.raw_body) {
                    Ok(text) => Val::text(text),
                    Err(_) => Val::Bytes(input.raw_body.into()),
                },
            },
        })
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, CelFault> {
        match self.value(node)? {
            Val::Bool(value) => Ok(value),
            other => error(format!("{} is neither true nor false", other.kind())),
        }
    }

    /// `&&` and `||`: what one side decides, an error of the other one does not undo.
    fn either(
        &mut self,
        one: &'a Node,
        other: &'a Node,
        decides: bool,
    ) -> Result<Val<'a>, CelFault> {
        match self.truth(one) {
            Ok(value) if value == decides => Ok(Val::Bool(decides)),
            Ok(_) => Ok(Val::Bool(self.truth(other)?)),
            Err(fault @ CelFault::Limit(_)) => Err(fault),
            Err(fault) => match self.truth(other)? {
                value if value == decides => Ok(Val::Bool(decides)),
                _ => Err(fault),
            },
        }
    }

    fn index(&mut self, of: &'a Node, place: &'a Node) -> Result<Val<'a>, CelFault> {
        let (of, place) = (self.value(of)?, self.value(place)?);
        let found = match (&place, of.kind()) {
            (Val::Text(name), "map") => of.field(name),
            (Val::Int(at), "list") => usize::try_from(*at).ok().and_then(|at| of.element(at)),
            (Val::Uint(at), "list") => usize::try_from(*at).ok().and_then(|at| of.element(at)),
            (place, of) => {
                let place = place.kind();
                return error(format!("{of} is not looked into by {place}"));
            }
        };
        match found {
            Some(value) => Ok(value),
            None if of.kind() == "list" => missing("a list has fewer elements"),
            None => missing("a map has no such key"),
        }
    }

    fn binary(
        &mut self,
        operator: Binary,
        one: Val<'a>,
        other: Val<'a>,
    ) -> Result<Val<'a>, CelFault> {
        let meter = &mut self.meter;
        let mut pay = |steps: usize| meter.steps(steps);
        match operator {
            Binary::Equal => return Ok(Val::Bool(one.equals(&other, &mut pay)?)),
            Binary::Unequal => return Ok(Val::Bool(!one.equals(&other, &mut pay)?)),
            Binary::In => {
                return match (&one, other.kind()) {
                    (Val::Text(name), "map") => Ok(Val::Bool(other.field(name).is_some())),
                    (_, "list") => {
                        for at in 0..other.size().unwrap_or(0) {
                            let item = other.element(at).unwrap_or(Val::Null);
                            if one.equals(&item, &mut pay)? {
                                return Ok(Val::Bool(true));
                            }
                        }
                        Ok(Val::Bool(false))
                    }
                    (_, kind) => error(format!("`in` does not look into {kind}")),
                };
            }
            Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
                pay(one.weight().min(other.weight()) / BYTES_A_STEP)?;
                let Some(order) = one.order(&other) else {
                    let (one, other) = (one.kind(), other.kind());
                    return error(format!("{one} and {other} have no order"));
                };
                return Ok(Val::Bool(match operator {
                    Binary::Less => order.is_lt(),
                    Binary::LessOrEqual => order.is_le(),
                    Binary::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }));
            }
            Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Modulo => {
            }
        }
        match (one, other) {
            (Val::Int(one), Val::Int(other)) => whole(match operator {
                Binary::Add => one.checked_add(other),
                Binary::Subtract => one.checked_sub(other),
                Binary::Multiply => one.checked_mul(other),
                Binary::Divide => one.checked_div(other),
                _ => one.checked_rem(other),
            }),
            (Val::Uint(one), Val::Uint(other)) => {
                let result = match operator {
                    Binary::Add => one.checked_add(other),
                    Binary::Subtract => one.checked_sub(other),
                    Binary::Multiply => one.checked_mul(other),
                    Binary::Divide => one.checked_div(other),
                    _ => one.checked_rem(other),
                };
                result.map(Val::Uint).ok_or_else(no_number)
            }
            (Val::Double(one), Val::Double(other)) if operator != Binary::Modulo => {
                Ok(Val::Double(match operator {
                    Binary::Add => one + other,
                    Binary::Subtract => one - other,
                    Binary::Multiply => one * other,
                    _ => one / other,
                }))
            }
            (Val::Text(one), Val::Text(other)) if operator == Binary::Add => {
                self.meter.make(one.len() + other.len())?;
                Ok(Val::text(format!("{}{}", &*one, &*other)))
            }
            (Val::Bytes(one), Val::Bytes(other)) if operator == Binary::Add => {
                self.meter.make(one.len() + other.len())?;
                Ok(Val::Bytes([&*one, &*other].concat().into()))
            }
            (one, other)
                if operator == Binary::Add && one.kind() == "list" && other.kind() == "list" =>
            {
                let count = one.size().unwrap_or(0) + other.size().unwrap_or(0);
                self.meter.make(count * 32)?;
                let mut whole = one.walk().unwrap_or_default();
                whole.extend(other.walk().unwrap_or_default());
                Ok(Val::list(whole))
            }
            (one, other) => {
                let sign = match operator {
                    Binary::Add => "+",
                    Binary::Subtract => "-",
                    Binary::Multiply => "*",
                    Binary::Divide => "/",
                    _ => "%",
                };
                let (one, other) = (one.kind(), other.kind());
                error(format!("`{sign}` does not take {one} and {other}"))
            }
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Result<Val<'a>, CelFault> {
        let range = self.value(&fold.range)?;
        let kind = range.kind();
        self.meter.make(range.size().unwrap_or(0) * 32)?;
        let Some(items) = range.walk() else {
            return error(format!("a comprehension does not walk over {kind}"));
        };
        let start = self.value(&fold.start)?;
        let at = self.locals.len();
        self.locals.push(start);
        let result = self.fold_over(fold, items, at);
        self.locals.truncate(at);
        result
    }

    fn fold_over(
        &mut self,
        fold: &'a Fold,
        items: Vec<Val<'a>>,
        at: usize,
    ) -> Result<Val<'a>, CelFault> {
        for item in items {
            self.locals.truncate(at + 1);
            self.locals.push(item);
            if !self.truth(&fold.condition)? {
                break;
            }
            let next = self.step(&fold.step, at)?;
            self.locals[at] = next;
        }
        self.locals.truncate(at + 1);
        self.value(&fold.result)
    }

    /// The next value of what is folded. Where a list only gets longer it is not copied.
    fn step(&mut self, node: &'a Node, at: usize) -> Result<Val<'a>, CelFault> {
        let is_folded = |node: &Node| matches!(node, Node::Local(place) if *place == at);
        match node {
            Node::If(condition, then, otherwise) => {
                self.meter.step()?;
                if self.truth(condition)? {
                    self.step(then, at)
                } else {
                    self.step(otherwise, at)
                }
            }
            node if is_folded(node) => Ok(std::mem::replace(&mut self.locals[at], Val::Null)),
            Node::Binary(Binary::Add, one, other) if is_folded(one) => match &**other {
                Node::List(more) => {
                    self.meter.make(more.len() * 32)?;
                    let mut added = Vec::with_capacity(more.len());
                    for item in more {
                        added.push(self.value(item)?);
                    }
                    let folded = std::mem::replace(&mut self.locals[at], Val::Null);
                    match folded {
                        Val::List(mut items) => {
                            Arc::make_mut(&mut items).extend(added);
                            Ok(Val::List(items))
                        }
                        other => self.binary(Binary::Add, other, Val::list(added)),
                    }
                }
                _ => self.value(node),
            },
            _ => self.value(node),
        }
    }
}

fn no_number() -> CelFault {
    CelFault::Error("a calculation has no result".to_owned())
}

fn whole<'a>(value: Option<i64>) -> Result<Val<'a>, CelFault> {
    value.map(Val::Int).ok_or_else(no_number)
}

/// The constant without a copy of its text.
fn borrowed<'a>(value: &'a Val<'static>) -> Val<'a> {
    match value {
        Val::Text(text) => Val::text(&**text),
        Val::Bytes(bytes) => Val::Bytes((&**bytes).into()),
        other => other.clone(),
    }
}
