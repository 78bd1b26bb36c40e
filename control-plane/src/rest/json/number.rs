//! Whole numbers in JSON: numbers when every client keeps them exactly, else text.

use serde_json::{Number, Value};

/// Largest whole number that a double keeps apart from its neighbours.
pub(crate) const MAX_SAFE: u64 = (1 << 53) - 1;

pub(crate) fn unsigned(number: u64) -> Value {
    if number <= MAX_SAFE {
        Value::from(number)
    } else {
        Value::String(number.to_string())
    }
}

pub(crate) fn signed(number: i64) -> Value {
    if number.unsigned_abs() <= MAX_SAFE {
        Value::from(number)
    } else {
        Value::String(number.to_string())
    }
}

/// Whole doubles are written without a fraction.
pub(crate) fn double(number: f64) -> Value {
    if let Some(whole) = whole(number) {
        return Value::from(whole);
    }
    Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

/// A number, or its digits as text.
pub(crate) fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .or_else(|| number.as_f64().and_then(whole).map(i128::from)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number, or text that is one.
pub(crate) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    let fits = number.fract() == 0.0 && number.abs() <= MAX_SAFE as f64;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and within the range of exact doubles"
    )]
    fits.then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn large_numbers_become_text_where_a_double_would_bend_them() {
        assert_eq!(unsigned(MAX_SAFE), json!(9_007_199_254_740_991_u64));
        assert_eq!(unsigned(MAX_SAFE + 1), json!("9007199254740992"));
        assert_eq!(signed(i64::MIN), json!("-9223372036854775808"));
        assert_eq!(
            integer(&json!("9007199254740993")),
            Some(9_007_199_254_740_993)
        );
    }

    #[test]
    fn whole_doubles_are_whole_in_json() {
        assert_eq!(double(60_000.0), json!(60_000));
        assert_eq!(double(0.5), json!(0.5));
        assert_eq!(integer(&json!(5.0)), Some(5));
        assert_eq!(integer(&json!(5.5)), None);
    }
}
