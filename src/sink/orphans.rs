//! Batches that a full disk kept out of the file, and that servers can still be given.

use super::batch::Batch;
use std::sync::{Arc, Mutex};

/// Most points that wait in memory for servers; what is more is lost.
const ROOM: u64 = 100_000;

/// Batches that the disk refused, shared by the writer and the outlets.
#[derive(Clone, Debug, Default)]
pub struct Orphanage(Arc<Mutex<Orphans>>);

#[derive(Debug, Default)]
struct Orphans {
    batches: Vec<Batch>,
    /// Points for which there is room yet: none where there is nobody to give them to.
    room: u64,
}

impl Orphanage {
    /// One whose batches are asked for.
    pub(super) fn with_room() -> Orphanage {
        Orphanage(Arc::new(Mutex::new(Orphans { batches: Vec::new(), room: ROOM })))
    }

    pub(super) fn take(&self, batch: Batch) {
        let Ok(mut orphans) = self.0.lock() else { return };
        if let Some(room) = orphans.room.checked_sub(batch.points) {
            orphans.room = room;
            orphans.batches.push(batch);
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Batch> {
        self.0.lock().ok()?.batches.get(index).cloned()
    }
}
