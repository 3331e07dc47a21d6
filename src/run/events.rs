//! Gathers what happens in a trial, for the record, and passes it on as points while it happens.

use crate::metric::{Event, Events, Points};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Gathers events at work.
pub struct Gathering {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<Event>>,
}

impl Gathering {
    /// Begins; what is sent to the channel becomes a point as well.
    pub fn start(points: Points) -> (Events, Gathering) {
        let (events, mut inbox) = mpsc::unbounded_channel::<Event>();
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut gathered: Vec<Event> = Vec::new();
            let mut take = |event: Event| {
                points.send(vec![event.point(gathered.len() as u32 + 1)]);
                gathered.push(event);
            };
            loop {
                tokio::select! {
                    event = inbox.recv() => match event {
                        Some(event) => take(event),
                        None => break,
                    },
                    _ = &mut stopped => break,
                }
            }
            // Some that send may outlive the trial; nobody waits for what they have yet to say.
            while let Ok(event) = inbox.try_recv() {
                take(event);
            }
            gathered
        });
        (events, Gathering { stop, task })
    }

    /// All that was sent until now, in the order of its instants.
    pub async fn stop(self) -> Result<Vec<Event>, tokio::task::JoinError> {
        // An error means that the task has ended already, which the next line tells.
        let _ = self.stop.send(());
        let mut events = self.task.await?;
        events.sort_by_key(|event| event.elapsed);
        Ok(events)
    }
}
