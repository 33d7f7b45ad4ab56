//! What an option is set to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an option is set to, as a file of settings has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// `true` or `false`.
    Switch(bool),
    /// A number: of bytes, or of days.
    Number(u64),
    /// A word or text.
    Text(String),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionValue::Switch(switch) => switch.fmt(f),
            OptionValue::Number(number) => number.fmt(f),
            OptionValue::Text(text) => text.fmt(f),
        }
    }
}

/// Reads a number of bytes: digits, and a unit of 1024 (`KiB`, `MiB`, …) or of 1000 (`KB`, `MB`, …) behind them.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ').len();
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start().to_ascii_lowercase();
    let of = |letter: &str| "kmgtp".find(letter).map(|at| at as u32 + 1).filter(|_| letter.len() == 1);
    let factor = match unit.as_str() {
        "" | "b" => 1,
        unit => match (unit.strip_suffix("ib"), unit.strip_suffix('b')) {
            (Some(letter), _) => 1024_u64.pow(of(letter)?),
            (None, Some(letter)) => 1000_u64.pow(of(letter)?),
            (None, None) => return None,
        },
    };
    number.checked_mul(factor)
}
