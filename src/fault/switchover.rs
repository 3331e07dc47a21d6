//! A planned switchover, asked of the manager.

use super::{FaultError, Reach, Undo};
use crate::base::units::Time;
use serde::{Deserialize, Serialize};
use toml::Spanned;

/// Settings of [`super::Fault::Switchover`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switchover {
    /// The standby to promote; the manager elects one when absent.
    #[serde(default)]
    pub to: Option<Spanned<String>>,
    /// How long the standby may take to catch up before the switchover is rolled back.
    #[serde(default = "ten_seconds")]
    pub timeout: Time,
}

impl Switchover {
    pub(super) async fn inject(&self, reach: &Reach) -> Result<Undo, FaultError> {
        let manager = reach.manager.as_ref().ok_or(FaultError::NoManager)?;
        let to = self.to.as_ref().map(|to| to.get_ref().clone());
        let target = to.clone().unwrap_or_else(|| "the elected standby".into());
        manager
            .switchover(to, *self.timeout)
            .await
            .map_err(|source| FaultError::failed("cannot switch over to", &target, source))?;
        Ok(Undo::Nothing)
    }
}

fn ten_seconds() -> Time {
    Time::s(10)
}
