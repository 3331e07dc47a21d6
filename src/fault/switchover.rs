//! A planned switchover, asked of the manager.

use super::{FaultError, Reach, Undo};
use crate::base::units::Time;
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
    pub(super) async fn inject(&self, reach: &Reach) -> Result<Undo, FaultError> {
        let manager = reach.manager.as_ref().ok_or(FaultError::NoManager)?;
        let target = self.to.clone().unwrap_or_else(|| "the elected standby".into());
        manager
            .switchover(self.to.clone(), *self.timeout)
            .await
            .map_err(|source| FaultError::failed("cannot switch over to", &target, source))?;
        Ok(Undo::Nothing)
    }
}

fn ten_seconds() -> Time {
    Time::s(10)
}
