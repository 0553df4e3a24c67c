//! Numbers as text: XPath's way, and Java's where a result leaves an expression.

/// XPath 1.0, section 4.2.
pub(super) fn of_xpath(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        let text = if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        text.to_owned()
    } else if number == 0.0 {
        "0".to_owned()
    } else {
        format!("{number}")
    }
}

/// `Double.toString`: what a number is when it becomes a property or a switch's source.
pub(super) fn of_java(number: f64) -> String {
    if !number.is_finite() {
        return of_xpath(number);
    }
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        let text = format!("{number:E}");
        return match text.split_once('E') {
            Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
            _ => text,
        };
    }
    let text = format!("{number}");
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

/// The number that a text is; NaN where it is none (XPath 1.0, section 4.4).
pub(super) fn parse(text: &str) -> f64 {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit());
    if plain {
        text.parse().unwrap_or(f64::NAN)
    } else {
        f64::NAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way() {
        for (number, xpath, java) in [
            (3.0, "3", "3.0"),
            (-0.0, "0", "-0.0"),
            (2.5, "2.5", "2.5"),
            (1e7, "10000000", "1.0E7"),
            (12_345_678.9, "12345678.9", "1.23456789E7"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!(
                (of_xpath(number).as_str(), of_java(number).as_str()),
                (xpath, java)
            );
        }
        assert_eq!(parse(" -1.5 "), -1.5);
        assert!(parse("1e3").is_nan() && parse("").is_nan() && parse("+1").is_nan());
    }
}
