//! Connection strings as they are written: `keyword = value` pairs, or a URI. After libpq's `conninfo_parse` and
//! `conninfo_uri_parse_options`. Errors say where, and show no value: it may be a password.

use super::ConninfoError;
use super::keyword::{find, nearest};
use std::collections::BTreeMap;

/// What a string says, by keyword; of several values the last.
pub(super) type Given = BTreeMap<&'static str, String>;

/// Reads a connection string.
pub(super) fn parse(text: &str) -> Result<Given, ConninfoError> {
    let uri = ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match uri {
        Some(rest) => parse_uri(rest),
        None => parse_pairs(text),
    }
}

fn syntax(text: impl Into<String>) -> ConninfoError {
    ConninfoError::Syntax(text.into())
}

fn store(given: &mut Given, name: &str, value: String) -> Result<(), ConninfoError> {
    // An old way to say it, which libpq still takes.
    if name == "requiressl" {
        let mode = if value.starts_with('1') { "require" } else { "prefer" };
        given.insert("sslmode", mode.to_owned());
        return Ok(());
    }
    let unknown = || ConninfoError::Unknown { keyword: name.to_owned(), near: nearest(name) };
    given.insert(find(name).ok_or_else(unknown)?.name, value);
    Ok(())
}

fn parse_pairs(text: &str) -> Result<Given, ConninfoError> {
    let mut given = Given::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let at = || text[..text.len() - rest.len()].chars().count() + 1;
        let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let name = &rest[..end];
        let Some(value) = rest[end..].trim_start().strip_prefix('=') else {
            return Err(syntax(format!(
                "there is no `=` after the word that begins at character {}; a value with a space in it stands in single quotes",
                at()
            )));
        };
        let (value, after) = match value.trim_start() {
            quoted if quoted.starts_with('\'') => quoted_value(&quoted[1..])
                .ok_or_else(|| syntax(format!("the single quote of `{name}` is not closed")))?,
            bare => bare_value(bare),
        };
        store(&mut given, name, value)?;
        rest = after.trim_start();
    }
    Ok(given)
}

/// A value up to white space; a backslash takes what follows it as it is.
fn bare_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            c if c.is_ascii_whitespace() => return (value, &text[at..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// A value up to the closing quote.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => return Some((value, &text[at + 1..])),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    None
}

/// `[user[:password]@][host[:port][,…]][/dbname][?keyword=value[&…]]`
fn parse_uri(text: &str) -> Result<Given, ConninfoError> {
    let mut given = Given::new();
    let mut rest = text;
    // As in libpq, an `@` counts only before the first `/`.
    if let Some(at) = text.find(['@', '/']).filter(|at| text[*at..].starts_with('@')) {
        let (user, password) = text[..at].split_once(':').unwrap_or((&text[..at], ""));
        for (name, value) in [("user", user), ("password", password)] {
            if !value.is_empty() {
                store(&mut given, name, decode(value, name)?)?;
            }
        }
        rest = &text[at + 1..];
    }
    rest = parse_hosts(rest, &mut given)?;
    if let Some(path) = rest.strip_prefix('/') {
        let end = path.find('?').unwrap_or(path.len());
        if end > 0 {
            store(&mut given, "dbname", decode(&path[..end], "dbname")?)?;
        }
        rest = &path[end..];
    }
    match rest.strip_prefix('?') {
        Some(parameters) if !parameters.is_empty() => parse_parameters(parameters, &mut given)?,
        _ => {}
    }
    Ok(given)
}

/// Hosts and ports, in lists of equal length; returns what follows them.
fn parse_hosts<'a>(text: &'a str, given: &mut Given) -> Result<&'a str, ConninfoError> {
    let (mut hosts, mut ports) = (String::new(), String::new());
    let mut rest = text;
    loop {
        let (host, after) = match rest.strip_prefix('[') {
            Some(inner) => {
                let end = inner.find(']').ok_or_else(|| syntax("the `[` of an IPv6 address is not closed by a `]`"))?;
                if end == 0 {
                    return Err(syntax("the IPv6 address between `[` and `]` is empty"));
                }
                let after = &inner[end + 1..];
                if !after.is_empty() && !after.starts_with([':', '/', '?', ',']) {
                    return Err(syntax("after the `]` of an IPv6 address comes `:`, `/`, `?`, `,` or nothing"));
                }
                (&inner[..end], after)
            }
            None => rest.split_at(rest.find([':', '/', '?', ',']).unwrap_or(rest.len())),
        };
        hosts.push_str(host);
        rest = after;
        if let Some(port) = rest.strip_prefix(':') {
            let end = port.find(['/', '?', ',']).unwrap_or(port.len());
            ports.push_str(&port[..end]);
            rest = &port[end..];
        }
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
        hosts.push(',');
        ports.push(',');
    }
    for (name, value) in [("host", hosts), ("port", ports)] {
        if !value.is_empty() {
            store(given, name, decode(&value, name)?)?;
        }
    }
    Ok(rest)
}

fn parse_parameters(text: &str, given: &mut Given) -> Result<(), ConninfoError> {
    for (number, parameter) in (1..).zip(text.split('&')) {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err(syntax(format!("there is no `=` in parameter {number} of the URI")));
        };
        let name = decode(name, "a keyword")?;
        if value.contains('=') {
            return Err(syntax(format!(
                "there is a second `=` in the URI's parameter `{name}`; within a value it is %3D"
            )));
        }
        let value = decode(value, &name)?;
        // What JDBC calls it.
        match (name.as_str(), value.as_str()) {
            ("ssl", "true") => store(given, "sslmode", "require".to_owned())?,
            _ => store(given, &name, value)?,
        }
    }
    Ok(())
}

/// Undoes percent-encoding.
fn decode(text: &str, what: &str) -> Result<String, ConninfoError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(0) => return Err(syntax(format!("%00 cannot stand in {what}"))),
            Some(byte) => bytes.push(byte),
            None => return Err(syntax(format!("after a `%` in {what} there are no two hexadecimal digits"))),
        }
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| syntax(format!("{what} is not UTF-8 once decoded")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(given) => given.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|"),
            Err(error) => format!("! {error}"),
        }
    }

    #[test]
    fn pairs_with_quotes_and_escapes() {
        for (text, found) in [
            ("", ""),
            ("host=localhost port=5432 dbname=mydb", "dbname=mydb|host=localhost|port=5432"),
            ("  host = localhost\n port\t=\t1 ", "host=localhost|port=1"),
            ("password='a b' user=u", "password=a b|user=u"),
            (r"password='it\'s \\ here'", r"password=it's \ here"),
            (r"password=a\ b\'c", "password=a b'c"),
            ("user='' host=a", "host=a|user="),
            ("user= host=a", "user=host=a"),
            ("host=a host=b", "host=b"),
            ("options='-c geqo=off'", "options=-c geqo=off"),
            ("password=it's", "password=it's"),
            ("requiressl=1", "sslmode=require"),
        ] {
            assert_eq!(read(text), found, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_pairs_shows_no_secret() {
        for (text, said) in [
            ("host", "! there is no `=` after the word that begins at character 1"),
            ("password=my secret", "! there is no `=` after the word that begins at character 13"),
            ("password='secret", "! the single quote of `password` is not closed"),
            ("hots=a", "! there is no keyword `hots`\nhint: did you mean `host`?"),
            ("banana=a", "! there is no keyword `banana`"),
        ] {
            let found = read(text);
            assert!(found.starts_with(said), "{text}: {found}");
            assert!(!found.contains("secret"), "{found}");
        }
    }

    /// From the manual, and from libpq's own `uri_regress` tests.
    #[test]
    fn uris() {
        for (text, found) in [
            ("postgresql://", ""),
            ("postgresql://localhost", "host=localhost"),
            ("postgres://localhost:5433", "host=localhost|port=5433"),
            ("postgresql://localhost/mydb", "dbname=mydb|host=localhost"),
            ("postgresql://user@localhost", "host=localhost|user=user"),
            ("postgresql://user:secret@localhost", "host=localhost|password=secret|user=user"),
            ("postgresql://uri-user:@host/", "host=host|user=uri-user"),
            (
                "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
                "application_name=myapp|connect_timeout=10|dbname=otherdb|host=localhost|user=other",
            ),
            ("postgresql://host1:123,host2:456/somedb", "dbname=somedb|host=host1,host2|port=123,456"),
            ("postgresql:///mydb?host=localhost&port=5433", "dbname=mydb|host=localhost|port=5433"),
            ("postgresql://[2001:db8::1234]/database", "dbname=database|host=2001:db8::1234"),
            ("postgresql://[::1]:12345?x", "! there is no `=` in parameter 1 of the URI"),
            ("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", "dbname=dbname|host=/var/lib/postgresql"),
            ("postgresql:///dbname?host=/var/lib/postgresql", "dbname=dbname|host=/var/lib/postgresql"),
            ("postgresql://u%20r:p%40%3a%2F@h/d%62", "dbname=db|host=h|password=p@:/|user=u r"),
            ("postgresql://host?sslmode=verify-full", "host=host|sslmode=verify-full"),
            ("postgresql://host/db?ssl=true", "dbname=db|host=host|sslmode=require"),
            ("postgresql://host/a@b", "dbname=a@b|host=host"),
            ("postgresql://@host", "host=host"),
            ("postgresql://host/?", "host=host"),
        ] {
            assert_eq!(read(text), found, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_uris() {
        for (text, said) in [
            ("postgresql://[::1", "! the `[` of an IPv6 address is not closed by a `]`"),
            ("postgresql://[]", "! the IPv6 address between `[` and `]` is empty"),
            ("postgresql://[::1]z", "! after the `]` of an IPv6 address comes `:`"),
            ("postgresql://host?password=secret=1", "! there is a second `=` in the URI's parameter `password`"),
            ("postgresql://host?a%3", "! there is no `=` in parameter 1"),
            ("postgresql://u:secret%zz@host", "! after a `%` in password there are no two hexadecimal digits"),
            ("postgresql://u:secret%+1@host", "! after a `%` in password there are no two hexadecimal digits"),
            ("postgresql://host/%00", "! %00 cannot stand in dbname"),
            ("postgresql://host?uzer=a", "! there is no keyword `uzer`\nhint: did you mean `user`?"),
            ("postgresql://host?user=%ff", "! user is not UTF-8"),
        ] {
            let found = read(text);
            assert!(found.starts_with(said) && !found.contains("secret"), "{text}: {found}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "(postgresql://)?([a=' \\\\@:/?&%0ä,\\[\\]]|host|user){0,14}") {
            let _ = parse(&text);
        }
    }
}
