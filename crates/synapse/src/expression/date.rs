//! SYSTEM_DATE: a time as text, in UTC. Source: GetPropertyFunction, with the letters of
//! `SimpleDateFormat` that are about calendar days and the time of day.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];
const DAY: i64 = 86_400_000;
/// Letters of one number.
const MAX_WIDTH: usize = 64;

/// `None` where the pattern has a letter that is not executed, or very many of one.
pub(super) fn format(now: i64, pattern: Option<&str>) -> Option<String> {
    let (day, time) = (now.div_euclid(DAY), now.rem_euclid(DAY));
    let (year, month, date) = civil(day);
    let weekday = DAYS[usize::try_from(day.rem_euclid(7)).unwrap_or(0)];
    let month_name = MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12];
    let hour = time / 3_600_000;
    let pattern = pattern.unwrap_or("EEE MMM dd HH:mm:ss 'UTC' yyyy");
    let mut text = String::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\'' {
            if letters.next_if_eq(&'\'').is_some() {
                text.push('\'');
                continue;
            }
            for quoted in letters.by_ref().take_while(|c| *c != '\'') {
                text.push(quoted);
            }
            continue;
        }
        if !letter.is_ascii_alphabetic() {
            text.push(letter);
            continue;
        }
        let mut width = 1;
        while letters.next_if_eq(&letter).is_some() {
            width += 1;
        }
        if width > MAX_WIDTH {
            return None;
        }
        let name = |name: &str| match width {
            4.. => name.to_owned(),
            _ => name.chars().take(3).collect(),
        };
        let number = |number: i64| format!("{number:0width$}");
        text.push_str(&match letter {
            'y' if width == 2 => format!("{:02}", year.rem_euclid(100)),
            'y' => number(year),
            'M' if width >= 3 => name(month_name),
            'M' => number(month),
            'd' => number(date),
            'E' => name(weekday),
            'H' => number(hour),
            'h' => number((hour + 11) % 12 + 1),
            'm' => number(time / 60_000 % 60),
            's' => number(time / 1000 % 60),
            'S' => number(time % 1000),
            'a' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'z' => "UTC".to_owned(),
            'Z' => "+0000".to_owned(),
            'X' => "Z".to_owned(),
            _ => return None,
        });
    }
    Some(text)
}

/// Year, month and day of a day since 1970, in the Gregorian calendar.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year + era * 400 + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_java_does() {
        let now = 1_795_338_303_045;
        let with = |pattern| format(now, Some(pattern)).unwrap();
        assert_eq!(format(now, None).unwrap(), "Sun Nov 22 09:05:03 UTC 2026");
        assert_eq!(
            with("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"),
            "2026-11-22T09:05:03.045Z"
        );
        assert_eq!(
            with("EEEE, d MMMM yy h:mm a z"),
            "Sunday, 22 November 26 9:05 AM UTC"
        );
        assert_eq!(
            format(951_782_400_000, Some("dd.MM.yyyy")).unwrap(),
            "29.02.2000"
        );
        assert_eq!(format(now, Some("w")), None);
        assert_eq!(format(now, Some(&"y".repeat(70_000))), None);
        assert!(format(i64::MIN, None).is_some() && format(i64::MAX, None).is_some());
    }
}
