//! What engines tell of the nodes' containers, as events: that memory was used up and what the kernel killed for it,
//! that a container ended.

use super::container::Now;
use crate::base::clock::Clock;
use crate::cluster::Node;
use crate::driver::docker::events::{Happening, What};
use crate::metric::{Event, Events};
use futures_util::{Stream, StreamExt};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the server's log may take to say which of its processes was killed.
const SAID: Duration = Duration::from_secs(3);
/// Time between two looks at the log.
const LOOK: Duration = Duration::from_millis(10);
/// What the postmaster writes of a process that the kernel killed.
const KILLED: &str = "was terminated by signal 9";

/// Listens to every engine that has containers of `nodes`, until it is over.
pub(super) async fn listen(
    nodes: &[Arc<Node>],
    clock: Clock,
    events: &Events,
    now: &watch::Receiver<Now>,
) -> JoinSet<()> {
    let mut listeners = JoinSet::new();
    let mut engines: BTreeMap<&str, Vec<&Arc<Node>>> = BTreeMap::new();
    for node in nodes {
        if let Some(engine) = node.engine() {
            engines.entry(engine.name()).or_default().push(node);
        }
    }
    for here in engines.into_values() {
        let Some(engine) = here.first().and_then(|node| node.engine()) else { continue };
        let listener = Listener {
            nodes: here.iter().map(|node| (node.name.clone(), Heard::new(node))).collect(),
            clock,
            events: events.clone(),
        };
        match engine.happenings(here[0].run()).await {
            Ok(happenings) => drop(listeners.spawn(listener.run(happenings, now.clone()))),
            Err(error) => listener.deaf(&error.to_string()),
        }
    }
    listeners
}

/// A node that is listened for.
struct Heard {
    node: Arc<Node>,
    /// How much of its log was read.
    read: u64,
}

impl Heard {
    fn new(node: &Arc<Node>) -> Heard {
        let read = node.log().and_then(|log| log.metadata().ok()).map_or(0, |meta| meta.len());
        Heard { node: node.clone(), read }
    }

    /// What the kernel killed, as the server's log has it, if it comes to say so.
    async fn killed(&mut self) -> Option<String> {
        let look = async {
            loop {
                if let Some(said) = self.look() {
                    return said;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(SAID, look).await.ok()
    }

    fn look(&mut self) -> Option<String> {
        let text = rest(self.node.log()?, self.read)?;
        let (said, length) = said_killed(&text)?;
        self.read += length as u64;
        Some(said)
    }
}

/// What stands in a log from `offset` on.
fn rest(log: &Path, offset: u64) -> Option<String> {
    let mut file = std::fs::File::open(log).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The first whole line that says that a process was killed, without what stands in front of the message; and how far
/// into the text it goes.
fn said_killed(text: &str) -> Option<(String, usize)> {
    let at = text.find(KILLED)?;
    let end = at + text[at..].find('\n')? + 1;
    let line = text[..end].trim_end().lines().next_back()?;
    let message = line.split_once("LOG:  ").map_or(line, |(_, message)| message);
    Some((message.to_owned(), end))
}

struct Listener {
    nodes: BTreeMap<String, Heard>,
    clock: Clock,
    events: Events,
}

impl Listener {
    async fn run<E: std::fmt::Display>(
        mut self,
        mut happenings: impl Stream<Item = Result<Happening, E>> + Unpin + Send,
        mut now: watch::Receiver<Now>,
    ) {
        loop {
            tokio::select! {
                // What has happened is told before it is over.
                biased;
                happening = happenings.next() => match happening {
                    Some(Ok(happening)) => self.tell(happening).await,
                    Some(Err(error)) => return self.deaf(&error.to_string()),
                    None => return self.deaf("it says nothing any more"),
                },
                changed = now.changed() => if changed.is_err() || *now.borrow_and_update() == Now::Over { return },
            }
        }
    }

    async fn tell(&mut self, Happening { node, at, what }: Happening) {
        // What is told of a template, or of the trial before, is of no interest.
        let Some(heard) = self.nodes.get_mut(&node) else { return };
        let (kind, text) = match what {
            What::OutOfMemory => {
                let limit = heard.node.memory_limit();
                let limit =
                    limit.map_or("all memory that it could get".to_owned(), |limit| format!("its {limit} of memory"));
                let killed = heard.killed().await;
                let killed = killed.unwrap_or("which process, its log does not say".to_owned());
                ("container.oom", format!("{node} used up {limit}, and the kernel killed a process: {killed}"))
            }
            What::Died { exit_code } => {
                let status = exit_code.map_or(String::new(), |code| format!(" with status {code}"));
                ("container.died", format!("the container of {node} ended{status}"))
            }
        };
        let since = SystemTime::now().duration_since(at).unwrap_or_default();
        let elapsed = self.clock.elapsed().saturating_sub(since);
        self.send(Event { elapsed, kind, node: Some(node), text });
    }

    /// What happens from here on is not known.
    fn deaf(&self, why: &str) {
        let text = format!("what happens to containers is not heard: {why}");
        self.send(Event { elapsed: self.clock.elapsed(), kind: "container.unheard", node: None, text });
    }

    fn send(&self, event: Event) {
        // Whoever collected events is gone at the end of the trial; then there is nobody to tell.
        let _ = self.events.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_what_was_killed() {
        let log = "2026-01-01 00:00:00 UTC [1] LOG:  ready\n\
                   2026-01-01 00:00:01 UTC [1] LOG:  server process (PID 73) was terminated by signal 9: Killed\n\
                   2026-01-01 00:00:01 UTC [1] DETAIL:  Failed process was running: SELECT 1\n";
        let (said, length) = said_killed(log).unwrap();
        assert_eq!(said, "server process (PID 73) was terminated by signal 9: Killed");
        assert!(log[length..].starts_with("2026-01-01 00:00:01 UTC [1] DETAIL"));
        assert_eq!(said_killed(&log[length..]), None);
        assert_eq!(said_killed("LOG:  server process (PID 73) was terminated by signal 9"), None, "half a line");
    }
}
