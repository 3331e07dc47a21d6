//! What people do by hand: a plain server on a plain copy of the directory, without anything that keeps it to itself.

use super::super::fixture;
use super::super::lab::LIMIT;
use super::lab::Lab;
use pgbench_rs::driver::Part;
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::{Host, Login};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tokio_postgres::Client;

impl Lab {
    /// A plain copy of a node's directory as it is at one moment, with the lock file of its server.
    pub async fn plain_copy(&self, node: &str) -> PathBuf {
        let node = self.cluster.node(node).expect("a node");
        let to = self.place.dir().join(format!("plain-{}", node.name));
        let running = node.is_running();
        if running {
            node.freeze(Part::Server).await.expect("frozen");
        }
        let copied = Command::new("cp").args(["-a", "--"]).arg(&node.dir).arg(&to).status();
        if running {
            node.thaw(Part::Server).await.expect("thawed");
        }
        assert!(copied.expect("cp runs").success());
        to
    }
}

/// A plain server, ended when dropped.
pub struct Plain {
    pub host: Host,
    child: Child,
    login: Login,
}

impl Plain {
    /// Starts one on `data`, whose lock file is removed first, and waits until it takes connections; else what it said.
    pub async fn start(data: &Path, login: Login, settings: &[&str]) -> Result<Plain, String> {
        let _ = fs::remove_file(data.join("postmaster.pid"));
        Plain::start_over(data, login, settings).await
    }

    /// The same with the lock file that is there.
    pub async fn start_over(data: &Path, login: Login, settings: &[&str]) -> Result<Plain, String> {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        let log = data.with_extension("log");
        let output = fs::File::create(&log).expect("a log");
        let mut command = fixture::server_command("postgres");
        command.arg("-D").arg(data).args(["-k", "", "-c", "listen_addresses=127.0.0.1", "-p"]).arg(port.to_string());
        for setting in settings {
            command.args(["-c", setting]);
        }
        command.stdout(Stdio::null()).stderr(output).current_dir("/");
        let mut plain =
            Plain { host: Host::new("plain", "127.0.0.1", port), child: command.spawn().expect("runs"), login };
        let began = Instant::now();
        loop {
            if plain.child.try_wait().expect("a child").is_some() {
                return Err(fs::read_to_string(&log).expect("a log"));
            }
            if connect(&plain.host, &plain.login, LIMIT).await.is_ok() {
                return Ok(plain);
            }
            assert!(began.elapsed() < LIMIT, "{}", fs::read_to_string(&log).expect("a log"));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub async fn connect(&self) -> Client {
        connect(&self.host, &self.login, LIMIT).await.expect("a connection")
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        let _ = self.child.wait();
    }
}
