//! RFC 3339 in UTC: the one way this program writes a moment down, and reads it back.

use std::time::Duration;

const DAY: u64 = 86_400;

/// `since_1970` as "2026-11-21T23:07:00.123Z". After the year 9999 it stays there: RFC 3339 has four digits.
pub fn format(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs().min(253_402_300_799);
    let (year, month, day) = civil(seconds / DAY);
    let of_day = seconds % DAY;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let millis = since_1970.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// What [`format()`] writes, with or without a fraction. `None` for anything else, other time zones included.
pub fn parse(text: &str) -> Option<Duration> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let in_range = (1970..=9999).contains(&year) && hour < 24 && minute < 60 && second <= 60;
    let days = days(year, month, day)?;
    if !in_range || fraction.is_empty() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(Duration::new(days * DAY + hour * 3600 + minute * 60 + second, nanos))
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let parts: Vec<u64> = text
        .split(separator)
        .map(|part| part.bytes().all(|digit| digit.is_ascii_digit()).then(|| part.parse().ok()))
        .map(Option::flatten)
        .collect::<Option<_>>()?;
    parts.try_into().ok()
}

/// Year, month and day of the day `days` after 1 January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of the year 0, so that the leap day is the last of its year; 400 years are 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The inverse of [`civil`]; `None` for a day that no calendar has.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > length || year < 1970 {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        // Second column from `date -u -d TEXT +%s`.
        for (text, seconds) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("1999-12-31T23:59:59.000Z", 946_684_799),
            ("2000-02-29T12:00:00.000Z", 951_825_600),
            ("2026-11-21T23:07:00.000Z", 1_795_302_420),
            ("2100-03-01T00:00:00.000Z", 4_107_542_400),
            ("9999-12-31T23:59:59.000Z", 253_402_300_799),
        ] {
            assert_eq!(format(Duration::from_secs(seconds)), text);
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn every_day_for_two_centuries_comes_back() {
        for day in 0..73_049 {
            let moment = Duration::new(day * DAY + day % DAY, 7_000_000);
            assert_eq!(parse(&format(moment)), Some(moment));
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "Z",
            "2026-11-21",
            "2026-11-21T23:07:00",
            "2026-11-21T23:07:00+00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T23:07:00.Z",
            "2026-11-21T23:07:00.-1Z",
            "+026-11-21T23:07:00Z",
            "1969-12-31T23:59:59Z",
            "99999999999999999999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("1970-01-01T00:00:01.5Z"), Some(Duration::from_millis(1500)));
    }
}
