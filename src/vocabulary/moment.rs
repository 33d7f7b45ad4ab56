//! Moments as text: RFC 3339, as programs write it.

/// Nanoseconds in a second.
const SECOND_NS: u64 = 1_000_000_000;
/// Seconds in a day.
const DAY: i64 = 86_400;

/// A moment, in nanoseconds since the epoch, as RFC 3339 in UTC: no more digits behind the second than it has.
pub fn rfc3339(ns: u64) -> String {
    let (seconds, rest) = ((ns / SECOND_NS) as i64, ns % SECOND_NS);
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let fraction = match rest {
        0 => String::new(),
        rest => format!(".{rest:09}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Reads a moment as RFC 3339 and its relatives: a space for the `T`, no seconds, no zone (which is UTC then), a date
/// alone. `None` for all else, and for moments before 1970 or after 2554.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim_matches(' ');
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let day = digits(parts.next()?, 2).filter(|day| (1..=days_of(year, month)).contains(day))?;
    if parts.next().is_some() {
        return None;
    }
    let (of_day, nanoseconds) = time.map_or(Some((0, 0)), of_day)?;
    let seconds = u64::try_from(days(year, month, day) * DAY + of_day).ok()?;
    seconds.checked_mul(SECOND_NS)?.checked_add(nanoseconds)
}

/// Seconds since the day began, in UTC, and nanoseconds: `12:30`, `12:30:15.25Z`, `12:30:15+02:00`.
fn of_day(text: &str) -> Option<(i64, u64)> {
    let (clock, zone) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (&text[..at], &text[at..]),
        None => (text, "Z"),
    };
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = digits(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let (second, fraction) = match parts.next() {
        None => (0, 0),
        Some(text) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            // A leap second is the first moment of the next minute.
            (digits(whole, 2).filter(|second| *second <= 60)?, nanoseconds(fraction)?)
        }
    };
    match parts.next() {
        None => Some((hour * 3600 + minute * 60 + second - offset(zone)?, fraction)),
        Some(_) => None,
    }
}

/// Seconds that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("Z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let rest = zone.get(1..)?.replace(':', "");
    let (hours, minutes) = match rest.len() {
        2 => (digits(&rest, 2)?, 0),
        4 => (digits(rest.get(..2)?, 2)?, digits(rest.get(2..)?, 2)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn nanoseconds(fraction: &str) -> Option<u64> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nine: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    nine.parse().ok()
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch, of the proleptic Gregorian calendar: years begin in March, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of so many days since the epoch.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_read_as_programs_write_them() {
        let noon = 1_508_500_800 * SECOND_NS;
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01", 0),
            ("2017-10-20T12:00:00Z", noon),
            ("2017-10-20 12:00", noon),
            ("2017-10-20T14:00:00+02:00", noon),
            ("2017-10-20T14:00:00+0200", noon),
            ("2017-10-20t05:30:00-06:30", noon),
            ("2017-10-20T12:00:00.5", noon + SECOND_NS / 2),
            ("2017-10-20T12:00:00.123456789123Z", noon + 123_456_789),
            ("2016-12-31T23:59:60Z", 1_483_228_800 * SECOND_NS),
            ("2000-02-29", 951_782_400 * SECOND_NS),
        ] {
            assert_eq!(parse(text), Some(ns), "{text}");
        }
        for text in [
            "",
            "now",
            "2017",
            "2017-10",
            "2017-13-01",
            "2017-02-29",
            "17-10-20",
            "2017-10-20T",
            "2017-10-20T25:00",
            "2017-10-20T12:00:00.",
            "2017-10-20T12:00:00+2",
            "1969-12-31T23:59:59Z",
            "9999-12-31",
            "2017-10-20T12:00:00Zulu",
            "+017-10-20",
            "2017-10-20T12:00:00+ü0",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_comes_back(ns in any::<u64>()) {
            prop_assert_eq!(parse(&rfc3339(ns)), Some(ns));
        }

        #[test]
        fn no_text_makes_it_panic(text in "([0-9]{4}-[0-9]{2}-[0-9]{2}[T ]?)?[0-9:.Z+-]{0,20}.*") {
            let _ = parse(&text);
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn they_are_written_as_everybody_writes_them() {
        for ns in [0, 1, 1_500_000_000_000_000_001, 951_782_400_500_000_000, 4_102_444_799_999_999_999_u64] {
            let other = jiff::Timestamp::from_nanosecond(ns.into()).unwrap().to_string();
            assert_eq!(rfc3339(ns), other);
        }
    }
}
