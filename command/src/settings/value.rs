//! One setting's value: from text or TOML to a flag, and back to TOML.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches};
use toml::Value;

/// What an argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Switch,
    Count,
    Integer,
    Float,
    Text,
}

impl Kind {
    pub(super) fn of(arg: &Arg) -> Self {
        let parsed = arg.get_value_parser().type_id();
        match arg.get_action() {
            ArgAction::Count => Self::Count,
            ArgAction::SetTrue => Self::Switch,
            _ if parsed == TypeId::of::<bool>() => Self::Switch,
            _ if parsed == TypeId::of::<f32>() || parsed == TypeId::of::<f64>() => Self::Float,
            _ if integers().iter().any(|integer| parsed == *integer) => Self::Integer,
            _ => Self::Text,
        }
    }
}

fn integers() -> [TypeId; 10] {
    [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i8>(),
        TypeId::of::<i16>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<isize>(),
    ]
}

/// A variable's text is one value, as after `--flag=`. Paths alone may be other bytes than text.
pub(super) fn flags_from_text(arg: &Arg, name: &str, text: &OsStr) -> Result<Vec<OsString>, String> {
    let count = (Kind::of(arg) == Kind::Count).then(|| text.to_str()?.parse::<u8>().ok()).flatten();
    if let Some(count) = count {
        return Ok(vec![format!("--{name}").into(); usize::from(count)]);
    }
    let parsed = arg.get_value_parser().type_id();
    let takes_bytes = parsed == TypeId::of::<PathBuf>() || parsed == TypeId::of::<OsString>();
    if text.to_str().is_none() && !takes_bytes {
        return Err(format!("expected text in UTF-8, found {text:?}"));
    }
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(text);
    Ok(vec![flag])
}

/// A file's value by its TOML type; the error says what was expected and what was found.
pub(super) fn flags_from_toml(arg: &Arg, name: &str, value: &Value) -> Result<Vec<OsString>, String> {
    let flag = |value: &Value| Ok(OsString::from(format!("--{name}={}", scalar(value)?)));
    match (Kind::of(arg), value) {
        (Kind::Switch, Value::Boolean(_)) => Ok(vec![flag(value)?]),
        (Kind::Switch, _) => Err(format!("expected true or false, found {}", described(value))),
        (Kind::Count, Value::Integer(count)) if u8::try_from(*count).is_ok() => {
            flags_from_text(arg, name, OsStr::new(&count.to_string()))
        }
        (Kind::Count, _) => Err(format!("expected a number from 0 to 255, found {}", described(value))),
        (_, Value::Array(values)) if is_list(arg) => {
            if values.is_empty() {
                return Err("expected at least one value, found an empty list".to_owned());
            }
            values.iter().map(flag).collect()
        }
        _ => Ok(vec![flag(value)?]),
    }
}

/// The value that an argument resolved to; `None` where it has neither value nor default.
pub(super) fn resolved(arg: &Arg, matches: &ArgMatches) -> Option<Value> {
    let id = arg.get_id().as_str();
    if Kind::of(arg) == Kind::Count {
        return Some(Value::Integer(matches.get_count(id).into()));
    }
    let mut values = matches.get_raw(id)?.map(|raw| typed(Kind::of(arg), raw.to_string_lossy().into_owned()));
    if is_list(arg) { Some(Value::Array(values.collect())) } else { values.next() }
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// A number or switch where the flag takes one, text otherwise; text too for a whole number from
/// 2^63 on, which TOML doesn't know and the flag reads all the same.
pub(super) fn typed(kind: Kind, text: String) -> Value {
    let value = match kind {
        Kind::Switch => {
            Some(Value::Boolean(matches!(text.to_lowercase().as_str(), "true" | "t" | "yes" | "y" | "on" | "1")))
        }
        Kind::Integer | Kind::Count => text.parse().ok().map(Value::Integer),
        Kind::Float => text.parse().ok().map(Value::Float),
        Kind::Text => None,
    };
    value.unwrap_or(Value::String(text))
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(on) => Ok(on.to_string()),
        Value::Datetime(time) => Ok(time.to_string()),
        Value::Array(_) | Value::Table(_) => Err(format!("expected a single value, found {}", described(value))),
    }
}

fn described(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::String(text) => format!("the text {text:?}"),
        other => other.to_string(),
    }
}
