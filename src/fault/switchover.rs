//! A planned switchover, asked of the manager; of servers that somebody else runs, of the command that a standby names.

use super::{FaultError, Reach, Undo};
use crate::base::units::Time;
use crate::cluster::Node;
use crate::manager::SwitchoverError;
use crate::pg::connect::connect;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two looks whether the promoted server accepts writes, and the longest that one may take.
const LOOK: Duration = Duration::from_millis(10);
const ANSWER: Duration = Duration::from_secs(1);

/// Settings of [`super::Fault::Switchover`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switchover {
    /// The standby to promote; the manager elects one when absent.
    #[serde(default)]
    pub to: Option<String>,
    /// How long the standby may take to catch up before the switchover is rolled back.
    #[serde(default = "ten_seconds")]
    pub timeout: Time,
}

impl Switchover {
    /// Asks for it. That it is refused or rolled back is an outcome, of which the manager's own event tells;
    /// it fails only when there is nobody to ask.
    pub(super) async fn inject(&self, reach: &Reach) -> Result<Undo, FaultError> {
        if reach.manager.is_none() && reach.cluster.is_external() {
            return self.by_command(reach).await;
        }
        let manager = reach.manager.as_ref().ok_or(FaultError::NoManager)?;
        match manager.switchover(self.to.clone(), *self.timeout).await {
            Ok(_) | Err(SwitchoverError::Failed(_)) => Ok(Undo::Nothing),
            Err(source @ (SwitchoverError::Busy | SwitchoverError::Stopped)) => {
                let target = self.to.as_deref().unwrap_or("the elected standby");
                Err(FaultError::failed("cannot switch over to", target, source))
            }
        }
    }

    /// Runs the command `promote` of the standby, and waits until it accepts writes. Unlike a refusal of the manager,
    /// a command that fails is no outcome of the scenario.
    async fn by_command(&self, reach: &Reach) -> Result<Undo, FaultError> {
        let node = self.candidate(reach).await?;
        let failed = |why: String| FaultError::failed("cannot switch over to", &node.name, why);
        let (began, limit) = (Instant::now(), *self.timeout);
        match node.promote(limit).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(failed(error.to_string())),
            None => return Err(failed("it names no command `promote`".to_owned())),
        }
        while !accepts_writes(&node, reach).await {
            if began.elapsed() >= limit {
                return Err(failed(format!("it does not accept writes {limit:?} after its command was begun")));
            }
            tokio::time::sleep(LOOK).await;
        }
        let text = format!("{} accepts writes {:.1?} after its command was begun", node.name, began.elapsed());
        reach.say("switchover.promoted", Some(&node.name), text);
        Ok(Undo::Nothing)
    }

    /// The standby that is named, or the first by rank of those that name a command.
    async fn candidate(&self, reach: &Reach) -> Result<Arc<Node>, FaultError> {
        let mut nodes = match &self.to {
            Some(to) => reach.resolve(to).await?,
            None => reach.in_recovery().await,
        };
        nodes.retain(|node| self.to.is_some() || (node.priority > 0 && node.can_promote()));
        // Stable: among equals the first of the scenario.
        nodes.sort_by_key(|node| std::cmp::Reverse(node.priority));
        let target = "a standby with a command `promote`".to_owned();
        nodes.into_iter().next().ok_or(FaultError::NoTarget { target })
    }
}

async fn accepts_writes(node: &Node, reach: &Reach) -> bool {
    let asked = async {
        let client = connect(&node.host, &reach.cluster.login("pgbr-fault"), ANSWER).await.ok()?;
        let row = client.query_one("SHOW transaction_read_only", &[]).await.ok()?;
        (row.get::<_, &str>(0) == "off").then_some(())
    };
    matches!(tokio::time::timeout(ANSWER, asked).await, Ok(Some(())))
}

fn ten_seconds() -> Time {
    Time::s(10)
}
