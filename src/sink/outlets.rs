//! All outlets of a run, on a thread of their own: neither the servers that points go to nor the work of sending them
//! are in the way of what is measured.

use super::account::{Account, Accounting};
use super::http::Door;
use super::orphans::Orphanage;
use super::outlet::{FILE, Outlet, Pace, Say, pending};
use indexmap::IndexMap;
use std::io;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Outlets at work.
#[derive(Debug)]
pub struct Outlets {
    names: Vec<String>,
    thread: JoinHandle<Vec<Outlet>>,
    end: watch::Sender<Option<Instant>>,
    orphans: Orphanage,
    pace: Pace,
}

impl Outlets {
    /// Begins to deliver what is written to the results folder `dir`; `say` tells when a server does not answer.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(doors: Vec<(String, Door)>, dir: &Path, pace: Pace, say: &Say) -> io::Result<Outlets> {
        let (end, ended) = watch::channel(None);
        let orphans = if doors.is_empty() { Orphanage::default() } else { Orphanage::with_room() };
        let names = doors.iter().map(|(name, _)| name.clone()).collect();
        let outlet = |door| Outlet::new(door, pace, dir, orphans.clone(), ended.clone(), say.clone());
        let outlets: Vec<Outlet> = doors.into_iter().map(outlet).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            runtime.block_on(async {
                let mut running: JoinSet<Outlet> = outlets.into_iter().map(Outlet::run).collect();
                let mut ended = Vec::new();
                // Of one that panicked there is no account, which its name tells.
                while let Some(outlet) = running.join_next().await {
                    ended.extend(outlet);
                }
                ended
            })
        };
        let thread = std::thread::Builder::new().name("sinks".into()).spawn(work)?;
        Ok(Outlets { names, thread, end, orphans, pace })
    }

    /// Where the writer puts what the disk refuses.
    pub fn orphans(&self) -> Orphanage {
        self.orphans.clone()
    }

    /// Delivers what is left, within [`Pace::last`]; what became of all points of the run, by sink.
    pub async fn stop(self, written: Accounting) -> IndexMap<String, Account> {
        let Outlets { names, thread, end, pace, .. } = self;
        end.send_replace(Some(Instant::now() + pace.last));
        let ended = tokio::task::spawn_blocking(move || thread.join().unwrap_or_default()).await;
        let mut ended = ended.unwrap_or_default();
        let mut account = |name: &String| match ended.iter().position(|outlet| outlet.name == *name) {
            Some(index) => ended.swap_remove(index).close(written.produced, written.dropped),
            None => {
                let problem = Some("the sink failed; what became of its points is not known".to_owned());
                Account { produced: written.produced, problem, ..Account::default() }
            }
        };
        names.iter().map(|name| (name.clone(), account(name))).collect()
    }
}

/// Delivers the file of a results folder that is whole, from the byte `offset` on, and gives the account of that.
///
/// # Errors
/// The file cannot be read.
pub async fn replay(door: Door, name: &str, dir: &Path, offset: u64, pace: Pace, say: &Say) -> io::Result<Account> {
    let produced = pending(&dir.join(FILE), offset)?;
    let (_never, end) = watch::channel(None);
    let outlet = Outlet::new((name.to_owned(), door), pace, dir, Orphanage::default(), end, say.clone());
    Ok(outlet.of_whole(offset).run().await.close(produced, 0))
}
