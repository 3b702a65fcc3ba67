//! Hexadecimal text, read strictly: an even number of digits, nothing else.

use std::fmt;

#[derive(Debug, PartialEq, Eq)]
pub enum HexError {
    OddLength(usize),
    BadDigit { at: usize, found: char },
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HexError::OddLength(n) => write!(f, "{n} digits: one is missing"),
            HexError::BadDigit { at, found } => write!(f, "{found:?} at {at} is no digit"),
        }
    }
}

/// The bytes as text.
///
/// ```
/// assert_eq!(hexwarden::encode(&[0, 255]), "00ff");
/// ```
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that a text stands for.
pub fn decode(text: &str) -> Result<Vec<u8>, HexError> {
    let mut digits = Vec::with_capacity(text.len());
    for (at, found) in text.chars().enumerate() {
        digits.push(found.to_digit(16).ok_or(HexError::BadDigit { at, found })? as u8);
    }
    if digits.len() % 2 == 1 {
        return Err(HexError::OddLength(digits.len()));
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_case_is_read() {
        assert_eq!(decode("0AfF"), Ok(vec![10, 255]));
    }

    #[test]
    fn an_odd_number_of_digits_is_named() {
        assert_eq!(decode("abc"), Err(HexError::OddLength(3)));
    }

    #[test]
    #[ignore]
    fn large_input() {
        assert_eq!(decode(&"00".repeat(1 << 24)).unwrap().len(), 1 << 24);
    }
}
