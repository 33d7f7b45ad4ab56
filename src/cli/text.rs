//! Words for people: names made harmless, sizes, times, rates, tables.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets};
use jiff::Timestamp;
use larder::{Digest, Name};

/// A name as it may go to a terminal.
pub(crate) fn name(name: &Name) -> String {
    escaped(name.as_bytes())
}

/// A path as it may go to a terminal.
pub(crate) fn path(path: &Path) -> String {
    escaped(path.as_os_str().as_bytes())
}

/// Bytes as they may go to a terminal, and can be told apart: what is not UTF-8 as `\xff`, control characters and
/// what turns the direction of writing as `\u{202e}`, a backslash as two.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' { out.push_str("\\\\") } else { push_harmless(&mut out, c) }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// A sentence as it may go to a terminal: one line, nothing in it that a terminal would obey.
pub(crate) fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_harmless(&mut out, c));
    out
}

/// Several lines as they may go to a terminal.
pub(crate) fn lines(text: &str) -> String {
    text.split('\n').map(message).collect::<Vec<_>>().join("\n")
}

fn push_harmless(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        c if c.is_control() || is_deceptive(c) => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// Marks and overrides of direction, line and paragraph separators, and characters without width.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A size in powers of 1024, with the exact bytes beside it when `exact`.
pub(crate) fn size(bytes: u64, exact: bool) -> String {
    let short = ByteSize::b(bytes).display().iec().to_string();
    if exact && bytes >= 1024 { format!("{short} ({bytes} bytes)") } else { short }
}

/// A number of things: `1 file`, `2 files`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A moment to the second, from nanoseconds since the epoch, as RFC 3339 in UTC.
pub(crate) fn time(ns: impl Into<i128>) -> String {
    let seconds = ns.into().div_euclid(1_000_000_000);
    exact_time(seconds * 1_000_000_000)
}

/// A moment in full, from nanoseconds since the epoch, as RFC 3339 in UTC.
pub(crate) fn exact_time(ns: i128) -> String {
    Timestamp::from_nanosecond(ns).map_or_else(|_| format!("{ns} ns after 1970"), |time| time.to_string())
}

/// How long something took.
pub(crate) fn took(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
    }
}

/// How fast it went: files and bytes a second.
pub(crate) fn speed(files: u64, bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64().max(1e-3);
    let per_second = (bytes as f64 / seconds) as u64;
    format!("{:.0} files/s, {}/s", files as f64 / seconds, size(per_second, false))
}

/// `part` of `whole` in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "0 %".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// The first digits of a digest: enough for `larder where`.
pub(crate) fn short(digest: &Digest) -> String {
    digest.to_hex()[..12].to_owned()
}

/// A table without lines; `right` lists the columns that are aligned to the right.
pub(crate) fn table(header: &[&str], right: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Text as one word of a shell, or `None` where that would be hard to read.
pub(crate) fn shell_word(bytes: &[u8]) -> Option<String> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+=:@%,".contains(b);
    let quotable = |b: &u8| (b' '..=b'~').contains(b) && *b != b'\'';
    let text = std::str::from_utf8(bytes).ok()?;
    if !bytes.is_empty() && bytes.iter().all(plain) {
        Some(text.to_owned())
    } else {
        bytes.iter().all(quotable).then(|| format!("'{text}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(escaped("plain/ü.gguf".as_bytes()), "plain/ü.gguf");
        assert_eq!(escaped(b"a\x1b[31mb"), "a\\u{1b}[31mb");
        assert_eq!(escaped(b"a\nb\tc\\d"), "a\\nb\\tc\\\\d");
        assert_eq!(escaped(b"bad\xff\xfe!"), "bad\\xff\\xfe!");
        assert_eq!(escaped("gpj\u{202e}exe".as_bytes()), "gpj\\u{202e}exe");
        assert_eq!(escaped("\u{9b}31m\u{2066}\u{feff}".as_bytes()), "\\u{9b}31m\\u{2066}\\u{feff}");
        assert_eq!(message("one\ntwo \\x"), "one\\ntwo \\x");
        assert_eq!(lines("one\n\x1btwo"), "one\n\\u{1b}two");
    }

    #[test]
    fn sizes_are_in_powers_of_1024() {
        assert_eq!(size(0, true), "0 B");
        assert_eq!(size(1536, false), "1.5 KiB");
        assert_eq!(size(3 << 30, true), "3.0 GiB (3221225472 bytes)");
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(1_500_000_000_999_999_999_u64), "2017-07-14T02:40:00Z");
        assert_eq!(time(-1_i64), "1969-12-31T23:59:59Z");
        assert_eq!(exact_time(1_500_000_000_000_000_001), "2017-07-14T02:40:00.000000001Z");
        assert_eq!(exact_time(i128::MAX), format!("{} ns after 1970", i128::MAX));
    }

    #[test]
    fn figures_survive_nothing_and_no_time() {
        assert_eq!(percent(1, 0), "0 %");
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(speed(0, 0, Duration::ZERO), "0 files/s, 0 B/s");
        assert_eq!(took(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(took(Duration::from_secs(3700)), "1h 1m 40s");
        assert_eq!((count(1, "file"), count(0, "name")), ("1 file".into(), "0 names".into()));
    }

    #[test]
    fn a_table_is_aligned() {
        let rows = [vec!["5 B".to_owned(), "a".to_owned()], vec!["10 KiB".to_owned(), "b".to_owned()]];
        assert_eq!(table(&["size", "name"], &[0], rows), "  size  name\n   5 B  a\n10 KiB  b");
    }

    #[test]
    fn words_for_a_shell_are_quoted_or_left_out() {
        assert_eq!(shell_word(b"src/a.rs").as_deref(), Some("src/a.rs"));
        assert_eq!(shell_word(b"my file").as_deref(), Some("'my file'"));
        assert_eq!(shell_word(b"it's"), None);
        assert_eq!(shell_word(b"\xff"), None);
    }
}
