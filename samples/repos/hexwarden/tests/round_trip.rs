use hexwarden::{decode, encode, HexError};

#[test]
fn every_byte_there_and_back() {
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(decode(&encode(&bytes)), Ok(bytes));
}

#[test]
fn a_bad_digit_is_named() {
    assert_eq!(decode("0g"), Err(HexError::BadDigit { at: 1, found: 'g' }));
}
