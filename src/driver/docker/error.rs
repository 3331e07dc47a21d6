//! Why an engine did not do what it was asked, and what a user can do about it.

use crate::driver::start::whole;

/// How an engine is written.
const FORMS: &str = "unix:///path/of/socket, tcp://host:port or ssh://user@host";

/// Why an engine did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The name of an engine cannot be understood.
    #[error("`{host}` names no container engine\nhint: write it as in DOCKER_HOST: {FORMS}")]
    Name {
        /// What was written.
        host: String,
    },
    /// A context of docker's clients leads nowhere.
    #[error(
        "the docker context `{name}`, which {by} names, is of no use: {why}\n\
         hint: `docker context ls` lists them; DOCKER_HOST, or `host` in the driver's table, names an engine without one"
    )]
    Context {
        /// The context.
        name: String,
        /// What named it.
        by: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Nobody answers.
    #[error(
        "no container engine answers at {host}: {why}\n\
         hint: start one (`systemctl start docker`; Debian's package is docker.io), or name another with DOCKER_HOST or a \
         docker context"
    )]
    Nobody {
        /// How it was to be reached.
        host: String,
        /// What the system said.
        why: String,
    },
    /// The socket is there and closed to this user.
    #[error(
        "no permission to use the container engine at {host}\n\
         hint: let this user join the group `docker` (`usermod -aG docker USER`, then log in anew), or run this as root"
    )]
    Permission {
        /// How it was to be reached.
        host: String,
    },
    /// The two sides could not agree on TLS.
    #[error(
        "no TLS with the container engine at {host}: {why}\n\
         hint: DOCKER_CERT_PATH, or for one engine `certs` in the driver's table, names the folder that holds ca.pem, \
         cert.pem and key.pem"
    )]
    Tls {
        /// How it was to be reached.
        host: String,
        /// What failed.
        why: String,
    },
    /// `ssh` did not get there.
    #[error(
        "the container engine at {host} is not reached by ssh: {why}\n\
         hint: `ssh HOST docker version` must work without asking for anything; another port than 22 goes into ~/.ssh/config"
    )]
    Ssh {
        /// How it was to be reached.
        host: String,
        /// What `ssh` said.
        why: String,
    },
    /// It is older than any that is supported.
    #[error(
        "the container engine at {host} is {engine} and speaks version {api} of its interface, and {oldest} is needed\n\
         hint: 20.10 is the oldest Docker engine that has it; install a newer one, or name another with DOCKER_HOST"
    )]
    Old {
        /// How it is reached.
        host: String,
        /// Its version.
        engine: String,
        /// The version of the interface that it speaks.
        api: String,
        /// The oldest that is supported.
        oldest: String,
    },
    /// It answered that it could not.
    #[error("{what}: the container engine says: {said}{}", hint(said))]
    Refused {
        /// What it was asked to do.
        what: String,
        /// The status of HTTP.
        status: u16,
        /// What it said.
        said: String,
    },
    /// It did not answer, or not in a form that is understood.
    #[error("{what}: {why}{}", of_silence(why))]
    Lost {
        /// What it was asked to do.
        what: String,
        /// What happened.
        why: String,
    },
}

impl EngineError {
    /// The status with which the engine refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            EngineError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// For `map_err`: what the engine was asked to do.
pub(super) fn asked(what: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> EngineError {
    let what = what.into();
    move |error| match error {
        bollard::errors::Error::DockerResponseServerError { status_code, message } => {
            EngineError::Refused { what, status: status_code, said: message.trim().to_owned() }
        }
        bollard::errors::Error::DockerStreamError { error } => EngineError::Refused { what, status: 0, said: error },
        other => EngineError::Lost { what, why: whole(&other) },
    }
}

/// Words of engines (Docker 20.10 to 29, Podman) that say what is wrong, and what helps. The first that fit count.
const HINTS: &[(&[&str], &str)] = &[
    (
        &["no space left on device", "disk quota exceeded"],
        "the disk of the engine's machine is full; `docker system df` says what takes the room on it",
    ),
    (
        &["is already in use by container", "name is already in use"],
        "another container has that name; `docker ps -a` shows it, and `pgbench-rs clean` removes what dead runs have left",
    ),
    (
        &["volume is in use"],
        "`docker ps -a --filter volume=NAME` shows who uses it; `pgbench-rs clean` removes what dead runs have left",
    ),
    (
        &["has active endpoints"],
        "`docker network inspect NAME` shows who is on it; `pgbench-rs clean` removes what dead runs have left",
    ),
    (
        &["port is already allocated", "address already in use"],
        "`ss -ltnp` on the engine's machine names the process that listens there",
    ),
    (
        &["non-overlapping", "pool overlaps", "fully subnetted"],
        "`docker network ls` and `ip route` show the address ranges that are in use; `pgbench-rs clean` removes the \
         networks of dead runs",
    ),
    (
        &["iptables", "nftables", "ip6tables"],
        "the engine's machine needs iptables (apt-get install -y iptables) and its kernel's modules for networks of \
         containers; without, let the driver's table say `network = \"host\"`",
    ),
    (&["range of cpus is from"], "the engine's machine has no more processors than that; give the node fewer `cpus`"),
    (&["minimum memory limit"], "give the node more `memory`"),
    (
        &["mounts denied", "is not shared from", "bind source path does not exist"],
        "the engine does not see that folder of this machine; name one that it sees with --work DIR, or reach it as one of \
         another machine (tcp://, ssh://), where data directories are volumes",
    ),
    (&["authorization denied"], "an authorization plugin of that engine forbids it; ask who runs the engine"),
    (
        &["operation not permitted", "permission denied", "rootless"],
        "an engine without root, or one in a container, may do less; `docker info` names its security options",
    ),
    (
        &["client version", "minimum supported api"],
        "engines from 20.10 on are spoken with; install a newer one, or a newer pgbench-rs for an engine that is newer",
    ),
];

/// What helps against what an engine says, as another line.
fn hint(said: &str) -> String {
    let said = said.to_lowercase();
    let fits = |(words, _): &&(&[&str], &str)| words.iter().any(|words| said.contains(words));
    HINTS.iter().find(fits).map_or_else(String::new, |(_, hint)| format!("\nhint: {hint}"))
}

/// What helps against an engine that says nothing.
fn of_silence(why: &str) -> &'static str {
    let why = why.to_lowercase();
    let silent = ["timeout", "timed out", "connection closed", "connection reset", "broken pipe", "connection refused"];
    if silent.iter().any(|words| why.contains(words)) {
        "\nhint: does it still run? its log says more (`journalctl -u docker` on its machine)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts as engines send them.
    #[test]
    fn what_can_be_helped_has_a_hint() {
        for (said, expected) in [
            ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "docker system df"),
            (
                r#"Conflict. The container name "/x" is already in use by container "4c1". You have to remove (or rename) that container to be able to reuse that name."#,
                "another container has that name",
            ),
            ("remove x: volume is in use - [4c1]", "shows who uses it"),
            ("error while removing network: network x id 7 has active endpoints", "docker network inspect"),
            ("could not find an available, non-overlapping IPv4 address pool among the defaults", "ip route"),
            (
                "Failed to program NAT chain: iptables failed: iptables --wait -t nat: No chain/target",
                "`network = \"host\"`",
            ),
            ("Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", "fewer `cpus`"),
            ("Mounts denied: \nThe path /var/tmp is not shared from the host", "--work DIR"),
            ("authorization denied by plugin opa: no", "ask who runs the engine"),
            ("client version 1.24 is too old. Minimum supported API version is 1.44", "newer pgbench-rs"),
        ] {
            let error = EngineError::Refused { what: "it".to_owned(), status: 500, said: said.to_owned() }.to_string();
            let hint = error.split_once("\nhint: ").map(|(_, hint)| hint).unwrap_or_default();
            assert!(hint.contains(expected), "{error}");
        }
        let other = EngineError::Refused { what: "it".to_owned(), status: 500, said: "odd".to_owned() };
        assert_eq!(other.to_string(), "it: the container engine says: odd");
        let silent = EngineError::Lost { what: "it".to_owned(), why: "Timeout error".to_owned() }.to_string();
        assert!(silent.contains("\nhint: does it still run?"), "{silent}");
    }
}
