//! Numbers for people: three significant digits, units that fit.

/// A value of `unit`, as `520 ms`, `1,592`, `12 %`.
pub(super) fn number(unit: &str, value: f64) -> String {
    let (text, suffix) = scaled(unit, value, value);
    text + &suffix
}

/// Two values of `unit`, sharing its name: `480–610 ms`. One when both look alike.
pub(super) fn range(unit: &str, low: f64, high: f64) -> String {
    if dwarfed(unit, low, high) {
        return format!("{}–{}", number(unit, low), number(unit, high));
    }
    let (from, _) = scaled(unit, low, high);
    let (to, suffix) = scaled(unit, high, high);
    if from == to { to + &suffix } else { format!("{from}–{to}{suffix}") }
}

/// Several values of `unit` in the unit that fits the greatest, `?` for what is not known: `1.02 / ? / 5.31 ms`; each in
/// one of its own where that would leave nothing of one.
pub(super) fn list(unit: &str, values: &[Option<f64>]) -> String {
    let greatest = values.iter().copied().flatten().fold(0.0, f64::max);
    if values.iter().flatten().any(|value| dwarfed(unit, *value, greatest)) {
        let each = values.iter().map(|value| value.map_or_else(|| "?".into(), |value| number(unit, value)));
        return each.collect::<Vec<_>>().join(" / ");
    }
    let text = |value: &Option<f64>| value.map_or_else(|| "?".into(), |value| scaled(unit, value, greatest).0);
    let texts: Vec<String> = values.iter().map(text).collect();
    texts.join(" / ") + &scaled(unit, greatest, greatest).1
}

/// Whether too little of a value would be left in the unit of another: it has one of its own, and is less than a
/// hundredth of it.
fn dwarfed(unit: &str, value: f64, greatest: f64) -> bool {
    let own = scaled(unit, value, value).1 != scaled(unit, greatest, greatest).1;
    own && value != 0.0 && value.abs() < 0.01 * greatest.abs()
}

/// A share as a percentage, never rounded to nothing or to all.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent >= 99.95 && share < 1.0 => ">99.9 %".into(),
        percent if percent >= 10.0 && (percent - percent.round()).abs() < 0.05 => format!("{percent:.0} %"),
        percent => format!("{percent:.1} %"),
    }
}

/// `value` in the unit in which `scale` reads best, and that unit's suffix.
fn scaled(unit: &str, value: f64, scale: f64) -> (String, String) {
    let (factor, suffix) = match unit {
        "s" => match scale.abs() {
            0.0 => (1.0, " s"),
            s if s < 0.001 => (1e6, " µs"),
            s if s < 1.0 => (1e3, " ms"),
            _ => (1.0, " s"),
        },
        "ratio" => (100.0, " %"),
        "1/s" => (1.0, "/s"),
        "bytes" => match scale.abs() {
            b if b < 1024.0 => (1.0, " B"),
            b if b < 1_048_576.0 => (1.0 / 1024.0, " kB"),
            b if b < 1_073_741_824.0 => (1.0 / 1_048_576.0, " MB"),
            _ => (1.0 / 1_073_741_824.0, " GB"),
        },
        _ => (1.0, ""),
    };
    (digits(value * factor), suffix.to_owned())
}

fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 || v.fract() == 0.0 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let text = text.strip_suffix(".00").or_else(|| text.strip_suffix(".0")).unwrap_or(&text);
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut grouped = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (unit, value, text) in [
            ("s", 0.52, "520 ms"),
            ("s", 0.000_25, "250 µs"),
            ("s", 0.001_234, "1.23 ms"),
            ("s", 1.5, "1.50 s"),
            ("s", 0.0, "0 s"),
            ("s", 0.9996, "1,000 ms"),
            ("count", 1592.0, "1,592"),
            ("count", 1_234_567.0, "1,234,567"),
            ("count", -2.5, "-2.50"),
            ("1/s", 1870.4, "1,870/s"),
            ("ratio", 0.125, "12.5 %"),
            ("ratio", 0.07, "7 %"),
            ("bytes", 1536.0, "1.50 kB"),
        ] {
            assert_eq!(number(unit, value), text);
        }
        assert_eq!(range("s", 0.48, 0.61), "480–610 ms");
        assert_eq!(range("s", 0.5, 1.25), "0.50–1.25 s");
        assert_eq!(range("count", 3.0, 3.0), "3");
        assert_eq!(list("s", &[Some(0.001), None, Some(0.0053)]), "1 / ? / 5.30 ms");
        assert_eq!(list("s", &[Some(0.0008), Some(1.14), Some(0.0), None]), "800 µs / 1.14 s / 0 s / ?");
        assert_eq!(range("s", 0.000_234, 1.6), "234 µs–1.60 s");
        assert_eq!(percent(0.9375), "93.8 %");
        assert_eq!(percent(0.4507), "45.1 %");
        assert_eq!(percent(0.95), "95 %");
        assert_eq!(percent(0.99999), ">99.9 %");
    }
}
