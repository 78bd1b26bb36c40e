//! Values: what JSON has, and bytes. Lists and maps of the request are looked into where they lie.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::CelFault;

/// Deeper values are not written out.
const MAX_OUTPUT_DEPTH: usize = 64;

/// A text or bytes, of the request or made: a copy costs nothing.
#[derive(Debug)]
pub(crate) enum Shared<'a, T: ?Sized> {
    Of(&'a T),
    Made(Arc<T>),
}

#[derive(Clone, Debug)]
pub(crate) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Shared<'a, str>),
    Bytes(Shared<'a, [u8]>),
    /// A list or a map of the request.
    Json(&'a Value),
    List(Arc<Vec<Val<'a>>>),
    Map(Arc<BTreeMap<String, Val<'a>>>),
}

impl<'a> Val<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::String(text) => Self::text(text.as_str()),
            Value::Number(number) => {
                if let Some(value) = number.as_i64() {
                    Self::Int(value)
                } else if let Some(value) = number.as_u64() {
                    Self::Uint(value)
                } else {
                    Self::Double(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            Value::Array(_) | Value::Object(_) => Self::Json(value),
        }
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::new(items))
    }

    pub(super) fn text(text: impl Into<Shared<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// As errors call it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Json(Value::Array(_)) | Self::List(_) => "list",
            Self::Json(_) | Self::Map(_) => "map",
        }
    }

    /// Elements of a list, keys of a map, characters of a text, bytes.
    pub(super) fn size(&self) -> Option<usize> {
        Some(match self {
            Self::Text(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Json(Value::Array(items)) => items.len(),
            Self::Json(Value::Object(fields)) => fields.len(),
            Self::List(items) => items.len(),
            Self::Map(fields) => fields.len(),
            _ => return None,
        })
    }

    /// About how many bytes a copy of its own takes, not looking into what is shared.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.len() * 32,
            Self::Map(fields) => fields.len() * 64,
            _ => 16,
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<Self> {
        match self {
            Self::Json(Value::Object(fields)) => fields.get(name).map(Self::of),
            Self::Map(fields) => fields.get(name).cloned(),
            _ => None,
        }
    }

    pub(super) fn element(&self, at: usize) -> Option<Self> {
        match self {
            Self::Json(Value::Array(items)) => items.get(at).map(Self::of),
            Self::List(items) => items.get(at).cloned(),
            _ => None,
        }
    }

    /// What a comprehension walks over: the elements of a list, the keys of a map.
    pub(super) fn walk(&self) -> Option<Vec<Self>> {
        Some(match self {
            Self::Json(Value::Array(items)) => items.iter().map(Self::of).collect(),
            Self::Json(Value::Object(fields)) => {
                let keys = fields.keys();
                keys.map(|key| Self::text(key.as_str())).collect()
            }
            Self::List(items) => items.as_ref().clone(),
            Self::Map(fields) => fields.keys().map(|key| Self::text(key.clone())).collect(),
            _ => return None,
        })
    }

    /// Numbers and texts, each among themselves.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Text(one), Self::Text(other)) => Some(one.as_ref().cmp(other.as_ref())),
            (Self::Bytes(one), Self::Bytes(other)) => Some(one.as_ref().cmp(other.as_ref())),
            _ => numbers(self, other),
        }
    }

    /// Equality over kinds: numbers by their value, all else only with its like. Costs `pay` a step
    /// for each part that is compared.
    pub(super) fn equals(
        &self,
        other: &Self,
        pay: &mut impl FnMut(usize) -> Result<(), CelFault>,
    ) -> Result<bool, CelFault> {
        pay(1 + self.weight().min(other.weight()) / 64)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one.as_ref() == other.as_ref(),
            (Self::Bytes(one), Self::Bytes(other)) => one.as_ref() == other.as_ref(),
            _ if self.kind() == "list" && other.kind() == "list" => {
                if self.size() != other.size() {
                    return Ok(false);
                }
                for at in 0..self.size().unwrap_or(0) {
                    let (Some(one), Some(other)) = (self.element(at), other.element(at)) else {
                        return Ok(false);
                    };
                    if !one.equals(&other, pay)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ if self.kind() == "map" && other.kind() == "map" => {
                if self.size() != other.size() {
                    return Ok(false);
                }
                for key in self.walk().unwrap_or_default() {
                    let Self::Text(name) = &key else {
                        return Ok(false);
                    };
                    let (Some(one), Some(other)) = (self.field(name), other.field(name)) else {
                        return Ok(false);
                    };
                    if !one.equals(&other, pay)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => numbers(self, other) == Some(Ordering::Equal),
        })
    }

    /// As JSON; bytes in base64.
    ///
    /// # Errors
    /// What JSON cannot say, and what would be larger than `room` bytes.
    pub(crate) fn into_json(self, room: &mut usize) -> Result<Value, CelFault> {
        self.json(room, 0)
    }

    fn json(&self, room: &mut usize, depth: usize) -> Result<Value, CelFault> {
        if depth > MAX_OUTPUT_DEPTH {
            return Err(CelFault::Limit("the result is nested too deeply"));
        }
        let mut take = |bytes: usize| {
            *room = room
                .checked_sub(bytes)
                .ok_or(CelFault::Limit("the result is too large"))?;
            Ok(())
        };
        take(2 + self.weight())?;
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::from(*value),
            Self::Uint(value) => Value::from(*value),
            Self::Double(value) => {
                Number::from_f64(*value).map(Value::Number).ok_or_else(|| {
                    CelFault::Error("a number of the result is not finite".to_owned())
                })?
            }
            Self::Text(text) => Value::String(text.to_string()),
            Self::Bytes(bytes) => Value::String(super::functions::base64_of(bytes)),
            Self::Json(Value::Array(items)) => {
                let each = items
                    .iter()
                    .map(|item| Self::of(item).json(room, depth + 1));
                Value::Array(each.collect::<Result<_, _>>()?)
            }
            Self::Json(Value::Object(fields)) => {
                let mut made = Map::new();
                for (name, value) in fields {
                    *room = room
                        .checked_sub(name.len())
                        .ok_or(CelFault::Limit("the result is too large"))?;
                    made.insert(name.clone(), Self::of(value).json(room, depth + 1)?);
                }
                Value::Object(made)
            }
            Self::Json(other) => (*other).clone(),
            Self::List(items) => {
                let each = items.iter().map(|item| item.json(room, depth + 1));
                Value::Array(each.collect::<Result<_, _>>()?)
            }
            Self::Map(fields) => {
                let mut made = Map::new();
                for (name, value) in fields.iter() {
                    *room = room
                        .checked_sub(name.len())
                        .ok_or(CelFault::Limit("the result is too large"))?;
                    made.insert(name.clone(), value.json(room, depth + 1)?);
                }
                Value::Object(made)
            }
        })
    }
}

impl<T: ?Sized> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        match self {
            Self::Of(value) => Self::Of(value),
            Self::Made(value) => Self::Made(Arc::clone(value)),
        }
    }
}

impl<T: ?Sized> Deref for Shared<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Of(value) => value,
            Self::Made(value) => value,
        }
    }
}

impl<T: ?Sized> AsRef<T> for Shared<'_, T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<'a, T: ?Sized> From<&'a T> for Shared<'a, T> {
    fn from(value: &'a T) -> Self {
        Self::Of(value)
    }
}

impl From<String> for Shared<'_, str> {
    fn from(text: String) -> Self {
        Self::Made(text.into())
    }
}

impl From<Vec<u8>> for Shared<'_, [u8]> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Made(bytes.into())
    }
}

/// By their value, whatever kind they are.
fn numbers(one: &Val<'_>, other: &Val<'_>) -> Option<Ordering> {
    let whole = |value: &Val<'_>| match value {
        Val::Int(value) => Some(i128::from(*value)),
        Val::Uint(value) => Some(i128::from(*value)),
        _ => None,
    };
    if let (Some(one), Some(other)) = (whole(one), whole(other)) {
        return Some(one.cmp(&other));
    }
    let broken = |value: &Val<'_>| match value {
        Val::Int(value) => Some(*value as f64),
        Val::Uint(value) => Some(*value as f64),
        Val::Double(value) => Some(*value),
        _ => None,
    };
    broken(one)?.partial_cmp(&broken(other)?)
}
