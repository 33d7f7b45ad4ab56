//! Percent-encoding (RFC 3986, section 2.1).

/// The bytes that `text` stands for; `None` for a percent sign without two hexadecimal digits.
pub(in crate::vocabulary) fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)? } else { byte });
    }
    Some(decoded)
}

/// As [`decoded`], where it is text.
pub(in crate::vocabulary) fn decoded_text(text: &str) -> Option<String> {
    String::from_utf8(decoded(text)?).ok()
}

/// What `text` says when read generously: broken escapes stand for themselves, and what is no text is replaced.
pub(super) fn read_generously(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut read, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escape = escape_at(bytes, at);
        read.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Adds `bytes` to `out`, every byte that is neither unreserved nor in `plain` as an escape.
pub(in crate::vocabulary) fn encode(out: &mut String, bytes: &[u8], plain: &str) {
    for byte in bytes {
        push(out, *byte, plain);
    }
}

/// The one spelling of `text`: escapes of unreserved characters are read, all others are in upper case; what may not
/// stand there as it is becomes an escape, a lone percent sign too.
pub(super) fn normalised(text: &str, plain: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (String::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        match escape_at(bytes, at) {
            Some(byte) => {
                push(&mut out, byte, "");
                at += 3;
            }
            None => {
                push(&mut out, bytes[at], plain);
                at += 1;
            }
        }
    }
    out
}

fn push(out: &mut String, byte: u8, plain: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if is_unreserved(byte) || plain.as_bytes().contains(&byte) {
        out.push(char::from(byte));
    } else {
        out.push('%');
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%')?;
    Some(hex_digit(digits[0])? << 4 | hex_digit(digits[1])?)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling_of_every_text() {
        for (text, one) in [
            ("a%7eb%2d", "a~b-"),
            ("a%2fb", "a%2Fb"),
            ("100%", "100%25"),
            ("%zz%4", "%25zz%254"),
            ("ü [1]", "%C3%BC%20%5B1%5D"),
            ("a/b:c", "a/b:c"),
        ] {
            assert_eq!(normalised(text, "/:"), one);
            assert_eq!(normalised(one, "/:"), one);
        }
    }

    #[test]
    fn broken_escapes_are_told_or_stand_for_themselves() {
        assert_eq!(decoded("a%20b").as_deref(), Some(&b"a b"[..]));
        for broken in ["%", "%4", "%zz", "a%+1"] {
            assert_eq!(decoded(broken), None, "{broken}");
            assert_eq!(read_generously(broken), broken);
        }
        assert_eq!(decoded_text("%ff"), None);
        assert_eq!(read_generously("%ff%41"), "\u{fffd}A");
    }
}
