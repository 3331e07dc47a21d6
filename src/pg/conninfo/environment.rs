//! What stands around a connection string: variables, the user, the service file, the password file.

use super::ConninfoError;
use super::keyword::find;
use super::parse::Given;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where distributions have the system's service file when `PGSYSCONFDIR` does not say.
const SYSTEM: [&str; 2] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql"];

/// What libpq's defaults come from.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The environment variables that begin with `PG`.
    pub variables: BTreeMap<String, String>,
    /// The home directory, with `.pgpass`, `.pg_service.conf` and `.postgresql`.
    pub home: Option<PathBuf>,
    /// The name of the system's user.
    pub user: Option<String>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Environment {
        let named = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let account = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Environment {
            variables: std::env::vars_os().filter_map(named).filter(|(name, _)| name.starts_with("PG")).collect(),
            home: home.or_else(|| account.as_ref().map(|account| account.dir.clone())),
            user: account.map(|account| account.name),
        }
    }

    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A file below `~/.postgresql`.
    pub(super) fn of_postgresql(&self, name: &str) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(".postgresql").join(name))
    }

    /// What the service file says of `service`: the user's own file first, then the system's.
    pub(super) fn service(&self, service: &str, named: Option<&str>) -> Result<Given, ConninfoError> {
        let own = self.home.as_ref().map(|home| home.join(".pg_service.conf"));
        let mut asked = Vec::new();
        if let Some(file) = named.map(PathBuf::from) {
            // One that was named must be there.
            asked.push((fs::read_to_string(&file), file));
        } else if let Some(file) = own.filter(|file| file.exists()) {
            asked.push((fs::read_to_string(&file), file));
        }
        let system: Vec<PathBuf> = match self.variable("PGSYSCONFDIR") {
            Some(dir) => vec![dir.into()],
            None => SYSTEM.map(PathBuf::from).to_vec(),
        };
        for file in system.iter().map(|dir| dir.join("pg_service.conf")).filter(|file| file.exists()) {
            asked.push((fs::read_to_string(&file), file));
        }
        for (text, file) in &asked {
            let text = text.as_ref().map_err(|error| wrong(file, None, error.to_string()))?;
            if let Some(given) = read_service(text, service, file)? {
                return Ok(given);
            }
        }
        let files = asked.iter().map(|(_, file)| file.display().to_string()).collect::<Vec<_>>().join(", ");
        Err(ConninfoError::NoService { service: service.to_owned(), files })
    }

    /// The password for a login, from the password file. `Err`: the file is not used, and why.
    pub(super) fn password(&self, file: Option<&str>, of: [&str; 4]) -> Result<Option<String>, String> {
        let Some(path) = file.map(PathBuf::from).or_else(|| Some(self.home.as_ref()?.join(".pgpass"))) else {
            return Ok(None);
        };
        let unused = |why: &str| Err(format!("password file {}: {why}; it is not used", path.display()));
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return unused(&error.to_string()),
        };
        if !meta.is_file() {
            return unused("is no plain file");
        }
        if meta.mode() & 0o077 != 0 {
            return unused("group or world can read it (chmod 0600)");
        }
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().find_map(|line| password_of(line, of))),
            Err(error) => unused(&error.to_string()),
        }
    }
}

fn wrong(file: &Path, line: Option<usize>, why: impl Into<String>) -> ConninfoError {
    ConninfoError::ServiceFile { file: file.to_owned(), line, why: why.into() }
}

/// The section `[service]`, when it is there. Each keyword's first value counts.
fn read_service(text: &str, service: &str, file: &Path) -> Result<Option<Given>, ConninfoError> {
    let mut found: Option<Given> = None;
    let mut within = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            within = header.strip_prefix(service).is_some_and(|rest| rest.starts_with(']'));
            found = within.then(Given::new);
            continue;
        }
        let (true, Some(given)) = (within, &mut found) else { continue };
        if line.starts_with("ldap") {
            return Err(wrong(file, Some(number), "a service that is looked up by LDAP cannot be used here"));
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(wrong(file, Some(number), "there is no `=`"));
        };
        match find(name) {
            Some(keyword) if keyword.name.starts_with("service") => {
                return Err(wrong(file, Some(number), "a service cannot name another"));
            }
            Some(keyword) => drop(given.entry(keyword.name).or_insert_with(|| value.to_owned())),
            None => return Err(wrong(file, Some(number), format!("there is no keyword `{name}`"))),
        }
    }
    Ok(found)
}

/// The password of a line `host:port:dbname:user:password`, when its first four fields match. `*` matches anything; a
/// backslash takes what follows it as it is.
fn password_of(line: &str, of: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line;
    for wanted in of {
        rest = match rest.strip_prefix("*:") {
            Some(after) => after,
            None => {
                let (field, after) = field(rest);
                after.filter(|_| field == wanted)?
            }
        };
    }
    Some(field(rest).0)
}

/// A field, and what follows the colon after it.
fn field(text: &str) -> (String, Option<&str>) {
    let mut field = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            ':' => return (field, Some(&text[at + 1..])),
            '\\' => field.push(letters.next().map_or('\\', |(_, escaped)| escaped)),
            other => field.push(other),
        }
    }
    (field, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_password_file() {
        let of = ["db.example", "5432", "app", "user"];
        for (line, password) in [
            ("db.example:5432:app:user:secret", Some("secret")),
            ("*:*:*:*:secret", Some("secret")),
            ("*:*:*:user:se\\:c\\\\ret", Some("se:c\\ret")),
            ("*:*:*:*:secret:rest", Some("secret")),
            ("*:*:*:*:", Some("")),
            ("db.example:5433:app:user:secret", None),
            ("db:5432:app:user:secret", None),
            ("db.example.org:5432:app:user:secret", None),
            ("#*:*:*:*:secret", None),
            ("*:*:*:other:secret", None),
            ("*:*:*", None),
            ("", None),
        ] {
            assert_eq!(password_of(line, of).as_deref(), password, "{line}");
        }
        assert_eq!(password_of(r"a\:b:1:d\\:u:p", ["a:b", "1", r"d\", "u"]).as_deref(), Some("p"));
    }

    #[test]
    fn sections_of_the_service_file() {
        let file = Path::new("services");
        let text = "# comment\n[other]\nport=1\nnonsense\n\n [mydb] \n  host=somehost \nuser=a=b\nhost=second\n[mydb]\nport=9\n";
        let given = read_service(text, "mydb", file).unwrap().unwrap();
        assert_eq!(given.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>(), ["host=somehost", "user=a=b"]);
        assert_eq!(read_service(text, "my", file).unwrap(), None);
        for (line, said) in [
            ("nonsense", "services, line 2: there is no `=`"),
            ("hots=a", "services, line 2: there is no keyword `hots`"),
            ("service=x", "services, line 2: a service cannot name another"),
            ("ldap://x", "services, line 2: a service that is looked up by LDAP"),
        ] {
            let error = read_service(&format!("[s]\n{line}"), "s", file).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
