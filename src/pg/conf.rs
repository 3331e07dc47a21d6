//! Writing PostgreSQL's configuration: `postgresql.conf`, `pg_hba.conf`, connection strings, password
//! files, each with its own quoting.

use super::{Login, Secret};
use rand::RngExt;

/// Settings by name, later ones over earlier ones, as lines of `postgresql.conf`.
pub fn postgresql_conf<N: AsRef<str>, V: AsRef<str>>(settings: &[(N, V)]) -> String {
    settings.iter().map(|(name, value)| format!("{} = {}\n", name.as_ref(), quoted(value.as_ref()))).collect()
}

/// A value as `postgresql.conf` wants it: in single quotes, those inside doubled, and backslashes too,
/// for the server reads backslash escapes there (`guc-file.l`).
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('\'', "''").replace('\n', r"\n");
    format!("'{escaped}'")
}

/// `postgresql.auto.conf` with these settings in it, or without those that have no value; what else
/// it says stays.
pub fn alter_auto_conf(before: &str, settings: &[(&str, Option<String>)]) -> String {
    let of_ours = |line: &&str| {
        let name = line.trim_start().split(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or("");
        settings.iter().any(|(ours, _)| ours.eq_ignore_ascii_case(name))
    };
    let mut after: String = before.lines().filter(|line| !of_ours(line)).map(|line| format!("{line}\n")).collect();
    let set: Vec<(&str, &String)> = settings.iter().filter_map(|(name, v)| Some((*name, v.as_ref()?))).collect();
    after.push_str(&postgresql_conf(&set));
    after
}

/// A connection string (libpq's keyword/value form).
pub fn conninfo(parameters: &[(&str, &str)]) -> String {
    let quoted = |value: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
        if !value.is_empty() && value.chars().all(plain) {
            value.to_owned()
        } else {
            format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
        }
    };
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    pairs.join(" ")
}

/// A password file for `login` on any host, port and database (`replication` counts as one).
pub fn passfile(login: &Login) -> String {
    let escaped = |text: &str| text.replace('\\', r"\\").replace(':', r"\:");
    format!("*:*:*:{}:{}\n", escaped(&login.user), escaped(login.password.expose()))
}

/// `pg_hba.conf`: passwords from this machine and from the server's own networks (it listens on one address only: the
/// loopback, or that on a network of the run's own), for sessions and for replication, and nothing else.
///
/// A server on another machine (`remote`) is reached from others, whose addresses as it sees them are not known: it
/// takes passwords from everywhere.
pub fn pg_hba(remote: bool) -> String {
    let mut lines = String::new();
    let addresses: &[&str] = if remote { &["all"] } else { &["127.0.0.1/32", "::1/128", "samenet"] };
    for database in ["all", "replication"] {
        for address in addresses {
            lines.push_str(&format!("host {database} all {address} scram-sha-256\n"));
        }
    }
    lines
}

/// A new password: 32 letters and digits, about 190 bits.
pub fn random_password() -> Secret {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    Secret::new((0..32).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_each_reader_needs_it() {
        let conf = postgresql_conf(&[("synchronous_standby_names", r#"ANY 1 ("s1","it's")"#), ("a", r"C:\x")]);
        assert_eq!(conf, "synchronous_standby_names = 'ANY 1 (\"s1\",\"it''s\")'\na = 'C:\\\\x'\n");
        let info = conninfo(&[("host", "127.0.0.1"), ("passfile", "/a b/it's"), ("options", "")]);
        assert_eq!(info, r"host=127.0.0.1 passfile='/a b/it\'s' options=''");
    }

    #[test]
    fn auto_conf_keeps_what_is_not_ours() {
        let before = "# Do not edit\nwork_mem = '4MB'\nprimary_conninfo = 'host=old'\nPrimary_Slot_Name='x'\n";
        let after = alter_auto_conf(
            before,
            &[("primary_conninfo", Some("host=new passfile='x'".to_owned())), ("primary_slot_name", None)],
        );
        assert_eq!(after, "# Do not edit\nwork_mem = '4MB'\nprimary_conninfo = 'host=new passfile=''x'''\n");
    }

    #[test]
    fn passwords_differ_and_are_escaped_in_their_file() {
        assert_ne!(random_password().expose(), random_password().expose());
        assert_eq!(random_password().expose().len(), 32);
        let login = Login {
            user: "a:b".to_owned(),
            password: Secret::new(r"p\w"),
            dbname: String::new(),
            application_name: String::new(),
        };
        assert_eq!(passfile(&login), "*:*:*:a\\:b:p\\\\w\n");
    }
}
