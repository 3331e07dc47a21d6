//! A planned switchover, asked of the manager.

use super::{FaultError, Reach, Undo};
use crate::base::units::Time;
use crate::manager::SwitchoverError;
use serde::{Deserialize, Serialize};

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
        let manager = reach.manager.as_ref().ok_or(FaultError::NoManager)?;
        match manager.switchover(self.to.clone(), *self.timeout).await {
            Ok(_) | Err(SwitchoverError::Failed(_)) => Ok(Undo::Nothing),
            Err(source @ (SwitchoverError::Busy | SwitchoverError::Stopped)) => {
                let target = self.to.as_deref().unwrap_or("the elected standby");
                Err(FaultError::failed("cannot switch over to", target, source))
            }
        }
    }
}

fn ten_seconds() -> Time {
    Time::s(10)
}
