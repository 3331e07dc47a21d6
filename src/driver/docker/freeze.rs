//! Freezing a server in a container: all of it by the engine's pause, parts of it by signals from within.

use super::engine::{EngineError, asked};
use super::server::ContainerServer;
use crate::driver::Part;
use crate::driver::outcome::SignalError;
use bollard::query_parameters::TopOptions;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Signals `$2` to the processes whose title begins with `$1`, waits up to two seconds until all are stopped
/// (when that is what it does), and prints how many there are and how many of them still move.
const SCRIPT: &str = r#"
members() {
    for p in /proc/[0-9]*; do
        title=; IFS= read -r title 2>/dev/null < "$p/cmdline"
        case "$title" in "$1"*) echo "${p#/proc/}" ;; esac
    done
}
state() { while read -r key value rest; do [ "$key" = State: ] && echo "$value"; done < "/proc/$1/status"; } 2>/dev/null
i=0
while :; do
    count=0; moving=0; changed=0
    for pid in $(members "$1"); do
        count=$((count + 1))
        stopped=no; [ "$(state "$pid")" = T ] && stopped=yes
        if [ "$2" = CONT ]; then
            [ $stopped = yes ] && kill -s CONT "$pid" && changed=$((changed + 1))
        elif [ $stopped = no ]; then
            moving=$((moving + 1)); kill -s STOP "$pid"
        fi
    done
    [ $moving = 0 ] || [ $i = 200 ] && break
    i=$((i + 1)); sleep 0.01
done
echo "$count $moving $changed"
"#;

/// What the script found.
struct Found {
    members: usize,
    moving: usize,
    thawed: usize,
}

impl ContainerServer {
    /// Freezes its container, or stops (SIGSTOP) the processes of a part of it, and returns how many, once all have
    /// stopped. Processes of a part that are started later are not frozen.
    pub async fn freeze(&self, part: Part) -> Result<usize, SignalError> {
        let nobody = || SignalError::Nobody { node: self.name().to_owned(), part: part.in_words() };
        if !self.is_running() {
            return Err(nobody());
        }
        let Some(role) = part.role() else {
            let processes = self.processes().await?;
            let paused = self.dock.engine.docker.pause_container(self.container()).await;
            return match paused.map_err(asked("pausing the container")) {
                Err(error) if !said(&error, "already paused") => Err(self.failed(error)),
                _ => Ok(processes),
            };
        };
        let began = Instant::now();
        self.parts_frozen.store(true, Ordering::Relaxed);
        let found = self.signal_members(&format!("postgres: {}: {role}", self.name()), "STOP").await?;
        match (found.members, found.moving) {
            (0, _) => Err(nobody()),
            (members, 0) => Ok(members),
            (_, moving) => {
                let (node, left) = (self.name().to_owned(), format!("{moving} of its container's processes"));
                Err(SignalError::Unstopped { node, waited: began.elapsed(), left })
            }
        }
    }

    /// Lets its container, or the frozen processes of a part of it, go on; with all of it also those parts that were
    /// frozen. Returns how many there were.
    pub async fn thaw(&self, part: Part) -> Result<usize, SignalError> {
        if !self.is_running() {
            return Ok(0);
        }
        let prefix = match part.role() {
            Some(role) => format!("postgres: {}: {role}", self.name()),
            None => {
                let paused = self.state().await?.is_some_and(|state| state.paused);
                let processes = if paused { self.processes().await? } else { 0 };
                if paused {
                    self.unpause().await?;
                }
                if !self.parts_frozen.load(Ordering::Relaxed) {
                    return Ok(processes);
                }
                return Ok(processes.max(self.signal_members("postgres: ", "CONT").await?.thawed));
            }
        };
        Ok(self.signal_members(&prefix, "CONT").await?.thawed)
    }

    /// Lets a paused container go on; no harm is done when it is not paused, or ended since.
    pub(super) async fn unpause(&self) -> Result<(), SignalError> {
        let thawed = self.dock.engine.docker.unpause_container(self.container()).await;
        match thawed.map_err(asked("letting the container go on")) {
            // An engine lets a container go on by itself that it has told to stop; it may be just doing so.
            Err(error) if ["not paused", "not running", "running process"].iter().any(|words| said(&error, words)) => {
                Ok(())
            }
            thawed => thawed.map_err(|source| self.failed(source)),
        }
    }

    /// How many processes of the server there are.
    async fn processes(&self) -> Result<usize, SignalError> {
        let listed = self.dock.engine.docker.top_processes(self.container(), None::<TopOptions>).await;
        let listed = listed.map_err(asked("listing processes")).map_err(|source| self.failed(source))?;
        let of_server = |row: &&Vec<String>| row.last().is_some_and(|command| command.starts_with("postgres"));
        Ok(listed.processes.unwrap_or_default().iter().filter(of_server).count())
    }

    async fn signal_members(&self, prefix: &str, signal: &str) -> Result<Found, SignalError> {
        let command = ["/bin/sh", "-c", SCRIPT, "sh", prefix, signal].map(str::to_owned).to_vec();
        let ran = self.dock.engine.exec(self.container(), command).await.map_err(|source| self.failed(source))?;
        let mut numbers = ran.stdout.split_ascii_whitespace().map_while(|number| number.parse().ok());
        let found = (|| Some(Found { members: numbers.next()?, moving: numbers.next()?, thawed: numbers.next()? }))();
        found.ok_or_else(|| {
            let why = format!("its shell ended with status {}: {}{}", ran.status, ran.stdout, ran.stderr);
            self.failed(EngineError::Lost { what: "signalling processes in the container".to_owned(), why })
        })
    }
}

fn said(error: &EngineError, words: &str) -> bool {
    matches!(error, EngineError::Refused { said, .. } if said.contains(words))
}
