//! A value of the user's file as the type that the default has.
//!
//! `shown` is what an error shows instead of the value: the placeholder that it came from.

use toml::Value;
use toml::de::DeValue;

/// The value as it is written. Of a section, which no key takes as a value, only that it is one.
pub(super) fn owned(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::Integer)
            .map_err(|_| "must be a whole number that fits into 64 bits".to_owned())?,
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(moment) => Value::Datetime(*moment),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| owned(item.get_ref()))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(_) => Value::Table(toml::Table::new()),
    })
}

/// The value as the type that the default has. Numbers and booleans may stand in quotes, as WSO2's
/// documentation writes them.
pub(super) fn convert(default: &Value, value: Value, shown: Option<&str>) -> Result<Value, String> {
    let found = value.type_str();
    let wrong = |expected: &str| Err(format!("must be {expected}, found {found}"));
    match (default, value) {
        (Value::String(_), value @ Value::String(_))
        | (Value::Integer(_), value @ Value::Integer(_))
        | (Value::Boolean(_), value @ Value::Boolean(_)) => Ok(value),
        (Value::Integer(_), Value::String(text)) => {
            text.trim().parse().map(Value::Integer).map_err(|_| {
                let shown = shown.unwrap_or(&text);
                format!("must be a whole number, found {shown:?}")
            })
        }
        (Value::Boolean(_), Value::String(text)) => match text.trim() {
            "true" | "yes" | "1" => Ok(Value::Boolean(true)),
            "false" | "no" | "0" => Ok(Value::Boolean(false)),
            other => {
                let shown = shown.unwrap_or(other);
                Err(format!("must be true or false, found {shown:?}"))
            }
        },
        (Value::Array(_), Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| {
                convert(&Value::String(String::new()), item, None)
                    .map_err(|message| format!("[{index}]: {message}"))
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
        (Value::String(_), _) => wrong("a string"),
        (Value::Integer(_), _) => wrong("a whole number"),
        (Value::Boolean(_), _) => wrong("true or false"),
        (Value::Array(_), _) => wrong("a list of strings"),
        (Value::Table(_), _) => wrong("a section"),
        (Value::Float(_) | Value::Datetime(_), _) => wrong("a value of the default's type"),
    }
}

/// Numbers count things, milliseconds or ports: none is negative, and ports end at 65535, as does
/// what AMQP sends in two bytes.
pub(super) fn in_range(name: &str, value: Value, shown: Option<&str>) -> Result<Value, String> {
    let most = if name.ends_with("port") || ["offset", "heartbeat"].contains(&name) {
        i64::from(u16::MAX)
    } else {
        i64::from(u32::MAX)
    };
    let found = |number: i64| shown.map_or_else(|| number.to_string(), |text| format!("{text:?}"));
    match value {
        Value::Integer(number) if number < 0 => {
            Err(format!("must not be negative, found {}", found(number)))
        }
        Value::Integer(number) if number > most => {
            Err(format!("must be at most {most}, found {}", found(number)))
        }
        value => Ok(value),
    }
}
