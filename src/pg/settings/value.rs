//! Values of settings as the server reads them (`guc.c`).

/// What a unit measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Memory or disk.
    Bytes,
    /// Time.
    Seconds,
}

/// A boolean in any of the spellings that `parse_bool` takes: unique prefixes, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    match text.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || begins("on", 2) => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}

/// A number in the setting's own unit, such as `8kB`, `ms` or `min`; a setting without a unit takes none.
pub fn number(text: &str, unit: Option<&str>) -> Option<f64> {
    let text = text.trim();
    let digits = |c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'));
    if let Some(hex) = text.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(|value| value as f64);
    }
    // Scientific notation has no unit after it that could begin with an `e`.
    if let Ok(value) = text.parse::<f64>() {
        return value.is_finite().then_some(value);
    }
    let (value, given) = text.split_at(text.find(digits)?);
    let value: f64 = value.parse().ok()?;
    let ((of, given), (measures, own)) = (amount(given.trim())?, amount(unit?)?);
    (of == measures).then(|| value * given / own)
}

/// What a unit measures and amounts to, in bytes or seconds; a unit may carry a factor (`8kB`).
pub fn amount(unit: &str) -> Option<(Of, f64)> {
    let letters = unit.find(|c: char| !c.is_ascii_digit())?;
    let factor: f64 = if letters == 0 { 1.0 } else { unit[..letters].parse().ok()? };
    let (of, one) = match &unit[letters..] {
        "B" => (Of::Bytes, 1.0),
        "kB" => (Of::Bytes, 1024.0),
        "MB" => (Of::Bytes, 1024.0 * 1024.0),
        "GB" => (Of::Bytes, 1024.0 * 1024.0 * 1024.0),
        "TB" => (Of::Bytes, 1024.0 * 1024.0 * 1024.0 * 1024.0),
        "us" => (Of::Seconds, 1e-6),
        "ms" => (Of::Seconds, 1e-3),
        "s" => (Of::Seconds, 1.0),
        "min" => (Of::Seconds, 60.0),
        "h" => (Of::Seconds, 3600.0),
        "d" => (Of::Seconds, 86400.0),
        _ => return None,
    };
    Some((of, factor * one))
}
