//! How a clone is reached and logged in to.

use crate::pg::dial::SocketOptions;
use crate::pg::tls::Tls;
use crate::pg::{Access, Host, Login};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How clones are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Over TCP, by the run's own login: the source is one of the run's servers and has it, too.
    #[default]
    Login,
    /// Over a Unix socket in a directory that is for the server's user alone, without a password: whatever logins the
    /// source has, and whoever keeps their passwords.
    Socket,
}

/// Longest path of a Unix socket (`sun_path`, unix(7)), less the name that servers give it.
const SOCKET_DIR_MAX: usize = 107 - "/.s.PGSQL.65535".len();

/// Whether a Unix socket can lie in `dir`.
pub(super) fn can_hold_socket(dir: &Path) -> bool {
    dir.as_os_str().len() <= SOCKET_DIR_MAX
}

/// The way to a clone.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// Its name.
    pub name: String,
    /// The directory of its socket and who goes through it; absent: over TCP.
    pub socket: Option<(PathBuf, String)>,
    /// Its port.
    pub port: u16,
    /// The database that is asked for when nobody says.
    pub dbname: String,
}

impl Door {
    /// As whom and how database `dbname` is reached, when that is not as all servers of the run.
    pub fn host(&self, dbname: &str) -> Option<Host> {
        let (dir, user) = self.socket.as_ref()?;
        let access = Access {
            user: user.clone(),
            password: None,
            dbname: dbname.to_owned(),
            options: None,
            connect_timeout: None,
            socket: SocketOptions::default(),
            tls: Tls::off(),
        };
        let host = Host::new(self.name.clone(), dir.to_string_lossy(), self.port);
        Some(Host { access: Some(Arc::new(access)), ..host })
    }

    /// The login for database `dbname`, for a host that has none of its own.
    pub fn login(&self, login: Login, dbname: &str) -> Login {
        Login { dbname: dbname.to_owned(), ..login }
    }
}
