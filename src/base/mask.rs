//! Secrets in text that is about to be kept: connection strings and URLs on command lines, in scenarios
//! and in error messages. Where it is unclear how far a secret goes, more is masked rather than less.

/// What stands where a secret stood.
const MASK: &str = "****";

/// What a key of a secret ends in, in lower case.
const KEYS: [&str; 4] = ["password", "passwd", "secret", "token"];

/// `text` with the passwords of connection strings (`password=…`), of URLs (`postgres://user:…@host`), of SQL
/// (`PASSWORD '…'`) and of configuration (`password = "…"`) replaced.
pub fn mask(text: &str) -> String {
    mask_values(&mask_urls(text))
}

/// The same for a command line; also masks what follows a `--password` or `--token` of its own.
pub fn mask_command(arguments: &[String]) -> Vec<String> {
    let mut follows = false;
    arguments
        .iter()
        .map(|argument| {
            let secret = std::mem::replace(&mut follows, argument.starts_with("--") && is_key(argument));
            if secret { MASK.to_owned() } else { mask(argument) }
        })
        .collect()
}

/// The same for every string in `json`; a string under the key of a secret is masked whole.
pub fn mask_json(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::String(text) => *text = mask(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(mask_json),
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                match value {
                    serde_json::Value::String(text) if is_key(key) => *text = MASK.to_owned(),
                    other => mask_json(other),
                }
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

fn is_key(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    KEYS.iter().any(|key| text.ends_with(key))
}

/// Masks what stands between the first `:` and the last `@` of a URL. A password may hold an unescaped `/`, so
/// the URL is taken to end at white space or a quote alone.
fn mask_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`')).unwrap_or(after.len());
        let (url, following) = after.split_at(end);
        match url.rfind('@').map(|at| url.split_at(at)) {
            Some((login, host)) if let Some((user, _)) = login.split_once(':') => {
                out.extend([user, ":", MASK, host]);
            }
            _ => out.push_str(url),
        }
        rest = following;
    }
    out.push_str(rest);
    out
}

fn mask_values(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(key_end) = KEYS.iter().filter_map(|key| Some(lower[done..].find(key)? + done + key.len())).min() {
        out.push_str(&text[done..key_end]);
        done = key_end;
        if let Some((start, end)) = value_after(&text[key_end..]) {
            out.push_str(&text[key_end..key_end + start]);
            out.push_str(MASK);
            done = key_end + end;
        }
    }
    out.push_str(&text[done..]);
    out
}

/// Start and end of a value in what follows a key; quotes are not part of it.
fn value_after(text: &str) -> Option<(usize, usize)> {
    // The key itself may be quoted, as in JSON.
    let unquoted = text.strip_prefix("\\\"").or_else(|| text.strip_prefix(['"', '\''])).unwrap_or(text);
    let after_key = unquoted.trim_start();
    let value = match after_key.strip_prefix(['=', ':']) {
        Some(value) => value.trim_start_matches([' ', '\t']),
        // SQL: PASSWORD 'secret'
        None if after_key.len() < unquoted.len() && after_key.starts_with('\'') => after_key,
        None => return None,
    };
    let start = text.len() - value.len();
    for quote in ["\"\"\"", "'''", "\\\"", "\"", "'"] {
        if let Some(inner) = value.strip_prefix(quote) {
            let start = start + quote.len();
            return Some((start, start + closing(inner, quote)));
        }
    }
    let end = bare_end(value);
    (end > 0).then_some((start, start + end))
}

/// Where the quote closes; an unclosed one reaches to the end.
fn closing(text: &str, quote: &str) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        if !escaped && text[i..].starts_with(quote) {
            return i;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// Where a value without quotes ends: at white space, or at a quote that closes what is around it.
fn bare_end(text: &str) -> usize {
    let closes = |i: usize| {
        let rest = text[i..].trim_start_matches(['"', '\'', '`']);
        rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | ')' | ';'))
    };
    let mut ends = text.char_indices().filter(|(i, c)| {
        c.is_whitespace()
            || (matches!(c, '"' | '\'' | '`') && closes(*i))
            || (*c == '\\' && text[*i..].starts_with("\\\"") && closes(*i + 1))
    });
    ends.next().map_or(text.len(), |(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_show() {
        for (text, masked) in [
            ("host=a password=hunter2 user=x", "host=a password=**** user=x"),
            ("host=a password = 'hunter\\'2 x' user=x", "host=a password = '****' user=x"),
            ("password=a,b&c;d", "password=****"),
            ("sslpassword=hunter2", "sslpassword=****"),
            ("PGPASSWORD=hunter2 psql", "PGPASSWORD=**** psql"),
            ("postgres://u:hunter2@h:5432/db", "postgres://u:****@h:5432/db"),
            ("postgresql://u:hun/t@er2@h/db?x=1", "postgresql://u:****@h/db?x=1"),
            ("postgresql://h/db?user=u&password=hunter2", "postgresql://h/db?user=u&password=****"),
            ("password = \"hunter2\" # x", "password = \"****\" # x"),
            ("password = \"hun\\\"ter2\"\nnext = 1", "password = \"****\"\nnext = 1"),
            ("password = \"\"\"hunter2\"\"\"", "password = \"\"\"****\"\"\""),
            ("c = \"host=a password=hunter2\"\nd = 1", "c = \"host=a password=****\"\nd = 1"),
            ("c = \"password=hun\\\"ter2\"", "c = \"password=****\""),
            ("{\"password\":\"hunter2\",\"x\":1}", "{\"password\":\"****\",\"x\":1}"),
            ("conninfo = \"host=a password='hun ter2' user=x\"", "conninfo = \"host=a password='****' user=x\""),
            ("conninfo = \"postgresql://u:hunter2@h/db\"", "conninfo = \"postgresql://u:****@h/db\""),
            ("node.a.driver.conninfo=user=u password=hunter2", "node.a.driver.conninfo=user=u password=****"),
            ("ALTER ROLE x PASSWORD 'hunter2'", "ALTER ROLE x PASSWORD '****'"),
            ("token: hunter2", "token: ****"),
        ] {
            assert_eq!(mask(text), masked, "{text}");
            assert_eq!(mask(masked), masked, "masking twice");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "password_encryption = \"scram-sha-256\"",
            "postgres://u@h:5432/db",
            "http://127.0.0.1:8428/write",
            "FATAL: password authentication failed for user \"x\"",
            "",
            "a=1\nb = \"2\"",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn command_lines_and_json() {
        let command = ["run", "--password", "hunter2", "--set", "a=password=hunter2"].map(String::from);
        assert_eq!(mask_command(&command), ["run", "--password", "****", "--set", "a=password=****"]);
        let mut json = serde_json::json!({"password": "hunter2", "c": ["password=hunter2", 1, null]});
        mask_json(&mut json);
        assert_eq!(json, serde_json::json!({"password": "****", "c": ["password=****", 1, null]}));
    }

    proptest::proptest! {
        #[test]
        fn masking_never_panics(text in "(password|://|[ =:'\"\\\\@aä\n]){0,12}") {
            mask(&text);
        }
    }
}
