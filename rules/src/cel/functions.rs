//! The functions there are: their names, how many arguments they take, what they give.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::CelFault;
use super::evaluate::Meter;
use super::value::Val;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Text,
    Int,
    Uint,
    Double,
    Bool,
    Contains,
    StartsWith,
    EndsWith,
    LowerAscii,
    UpperAscii,
    Trim,
    Replace,
    Split,
    Join,
    Substring,
    IndexOf,
    Base64Encode,
    Base64Decode,
    JsonEncode,
}

/// Name and numbers of arguments, a value that it stands behind (`x.size()`) counted. Those of `base64`
/// have a name space and stand in `compile`.
const FUNCTIONS: [(&str, Function, &[usize]); 18] = [
    ("size", Function::Size, &[1]),
    ("string", Function::Text, &[1]),
    ("int", Function::Int, &[1]),
    ("uint", Function::Uint, &[1]),
    ("double", Function::Double, &[1]),
    ("bool", Function::Bool, &[1]),
    ("contains", Function::Contains, &[2]),
    ("startsWith", Function::StartsWith, &[2]),
    ("endsWith", Function::EndsWith, &[2]),
    ("lowerAscii", Function::LowerAscii, &[1]),
    ("upperAscii", Function::UpperAscii, &[1]),
    ("trim", Function::Trim, &[1]),
    ("replace", Function::Replace, &[3]),
    ("split", Function::Split, &[2]),
    ("join", Function::Join, &[1, 2]),
    ("substring", Function::Substring, &[2, 3]),
    ("indexOf", Function::IndexOf, &[2]),
    ("json", Function::JsonEncode, &[1]),
];

impl Function {
    /// By its name and the number of its arguments, a value that it stands behind included.
    pub(super) fn find(name: &str, arguments: usize) -> Result<Self, String> {
        let found = FUNCTIONS.iter().find(|(known, ..)| *known == name);
        let Some((_, function, counts)) = found else {
            let names: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
            let shown: String = name.chars().take(64).collect();
            return Err(format!(
                "there is no function `{shown}`; there are {}, matches, base64.encode and base64.decode",
                names.join(", ")
            ));
        };
        if counts.contains(&arguments) {
            return Ok(*function);
        }
        Err(format!("`{name}` does not take {arguments} values"))
    }

    fn name(self) -> &'static str {
        let mut all = FUNCTIONS.iter();
        let known = all.find(|(_, function, _)| *function == self);
        known.map_or("base64", |(name, ..)| name)
    }
}

pub(super) fn base64_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Calls a function. What it reads and makes is paid for before it is made.
pub(super) fn call<'a>(
    function: Function,
    given: &[Val<'a>],
    meter: &mut Meter,
) -> Result<Val<'a>, CelFault> {
    let read: usize = given.iter().map(Val::weight).sum();
    meter.read(read)?;
    let unfit = || {
        let kinds: Vec<&str> = given.iter().map(Val::kind).collect();
        CelFault::Error(format!(
            "`{}` does not take {}",
            function.name(),
            kinds.join(", ")
        ))
    };
    let number =
        |text: &str| CelFault::Error(format!("`{}` cannot read the {text}", function.name()));
    let made = match (function, given) {
        (Function::Size, [value]) => {
            let size = value.size().ok_or_else(unfit)?;
            Val::Int(i64::try_from(size).unwrap_or(i64::MAX))
        }
        (Function::Text, [value]) => match value {
            Val::Text(_) => value.clone(),
            Val::Int(value) => Val::text(value.to_string()),
            Val::Uint(value) => Val::text(value.to_string()),
            Val::Double(value) => Val::text(value.to_string()),
            Val::Bool(value) => Val::text(value.to_string()),
            Val::Bytes(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| number("bytes: no UTF-8"))?;
                Val::text(text.to_owned())
            }
            _ => return Err(unfit()),
        },
        (Function::Int, [value]) => Val::Int(match value {
            Val::Int(value) => *value,
            Val::Uint(value) => i64::try_from(*value).map_err(|_| number("number: too large"))?,
            Val::Double(value) if value.abs() < 9.2e18 => *value as i64,
            Val::Double(_) => return Err(number("number: too large")),
            Val::Text(text) => text.parse().map_err(|_| number("text"))?,
            _ => return Err(unfit()),
        }),
        (Function::Uint, [value]) => Val::Uint(match value {
            Val::Uint(value) => *value,
            Val::Int(value) => u64::try_from(*value).map_err(|_| number("number: negative"))?,
            Val::Double(value) if (0.0..1.8e19).contains(value) => *value as u64,
            Val::Double(_) => return Err(number("number: out of range")),
            Val::Text(text) => text.parse().map_err(|_| number("text"))?,
            _ => return Err(unfit()),
        }),
        (Function::Double, [value]) => Val::Double(match value {
            Val::Double(value) => *value,
            Val::Int(value) => *value as f64,
            Val::Uint(value) => *value as f64,
            Val::Text(text) => text.parse().map_err(|_| number("text"))?,
            _ => return Err(unfit()),
        }),
        (Function::Bool, [value]) => Val::Bool(match value {
            Val::Bool(value) => *value,
            Val::Text(text) => match text.as_ref() {
                "true" => true,
                "false" => false,
                _ => return Err(number("text")),
            },
            _ => return Err(unfit()),
        }),
        (Function::Contains, [Val::Text(text), Val::Text(part)]) => {
            Val::Bool(text.contains(&**part))
        }
        (Function::StartsWith, [Val::Text(text), Val::Text(part)]) => {
            Val::Bool(text.starts_with(&**part))
        }
        (Function::EndsWith, [Val::Text(text), Val::Text(part)]) => {
            Val::Bool(text.ends_with(&**part))
        }
        (Function::IndexOf, [Val::Text(text), Val::Text(part)]) => {
            let at = text.find(&**part);
            let at = at.map(|at| text[..at].chars().count());
            Val::Int(at.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX)))
        }
        (Function::LowerAscii, [Val::Text(text)]) => {
            meter.make(text.len())?;
            Val::text(text.to_ascii_lowercase())
        }
        (Function::UpperAscii, [Val::Text(text)]) => {
            meter.make(text.len())?;
            Val::text(text.to_ascii_uppercase())
        }
        (Function::Trim, [Val::Text(text)]) => {
            meter.make(text.len())?;
            Val::text(text.trim().to_owned())
        }
        (Function::Replace, [Val::Text(text), Val::Text(from), Val::Text(to)]) => {
            let times = if from.is_empty() {
                text.chars().count() + 1
            } else {
                text.matches(&**from).count()
            };
            meter.make(text.len().saturating_add(times.saturating_mul(to.len())))?;
            Val::text(text.replace(&**from, to))
        }
        (Function::Split, [Val::Text(text), Val::Text(by)]) => {
            let parts = if by.is_empty() {
                text.chars().count()
            } else {
                text.matches(&**by).count() + 1
            };
            meter.make(text.len().saturating_add(parts.saturating_mul(32)))?;
            let parts: Vec<Val<'a>> = if by.is_empty() {
                text.chars().map(|one| Val::text(one.to_string())).collect()
            } else {
                let parts = text.split(&**by);
                parts.map(|part| Val::text(part.to_owned())).collect()
            };
            Val::list(parts)
        }
        (Function::Join, [list, rest @ ..]) => {
            let between = match rest {
                [] => "",
                [Val::Text(between)] => &**between,
                _ => return Err(unfit()),
            };
            let items = list
                .walk()
                .filter(|_| list.kind() == "list")
                .ok_or_else(unfit)?;
            let mut texts = Vec::with_capacity(items.len());
            let mut bytes = 0_usize;
            for item in items {
                let Val::Text(text) = item else {
                    return Err(CelFault::Error("`join` takes a list of strings".to_owned()));
                };
                bytes = bytes.saturating_add(text.len() + between.len());
                texts.push(text);
            }
            meter.make(bytes)?;
            let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
            Val::text(texts.join(between))
        }
        (Function::Substring, [Val::Text(text), rest @ ..]) => {
            let place = |value: &Val<'_>| match value {
                Val::Int(at) => usize::try_from(*at).ok(),
                _ => None,
            };
            let count = text.chars().count();
            let from = rest.first().and_then(place).ok_or_else(unfit)?;
            let to = match rest.get(1) {
                Some(to) => place(to).ok_or_else(unfit)?,
                None => count,
            };
            if from > to || to > count {
                let message = "`substring` is out of range";
                return Err(CelFault::Error(message.to_owned()));
            }
            meter.make(text.len())?;
            let part: String = text.chars().skip(from).take(to - from).collect();
            Val::text(part)
        }
        (Function::Base64Encode, [Val::Text(text)]) => {
            meter.make(text.len().saturating_mul(4) / 3 + 4)?;
            Val::text(base64_of(text.as_bytes()))
        }
        (Function::Base64Encode, [Val::Bytes(bytes)]) => {
            meter.make(bytes.len().saturating_mul(4) / 3 + 4)?;
            Val::text(base64_of(bytes))
        }
        (Function::Base64Decode, [Val::Text(text)]) => {
            meter.make(text.len())?;
            let bytes = STANDARD.decode(text.as_bytes());
            let bytes = bytes.map_err(|_| number("text: no base64"))?;
            Val::Bytes(bytes.into())
        }
        (Function::JsonEncode, [value]) => {
            let mut room = meter.room();
            let before = room;
            let json: Value = value.clone().into_json(&mut room)?;
            meter.make(2 * (before - room))?;
            Val::text(json.to_string())
        }
        _ => return Err(unfit()),
    };
    Ok(made)
}
