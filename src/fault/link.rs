//! A way through a TCP proxy of ours, made slower, broken or held. The proxy's kernel still acknowledges what it is
//! sent, so keepalive and `tcp_user_timeout` see a peer that lives; a partition is what they act in.

use super::{Aim, Between, FaultError, Reach, Undo};
use crate::base::units::{Size, Time};
use crate::cluster::ways::{Lane, Only, Slower};
use crate::net::Side;
use serde::{Deserialize, Serialize};
use std::num::NonZero;

/// Settings of [`super::Fault::Link`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The two sides.
    pub between: [Side; 2],
    /// What each way takes longer.
    #[serde(default)]
    pub delay: Time,
    /// How far the delay may lie beside that.
    #[serde(default)]
    pub jitter: Time,
    /// Bytes a second each way.
    #[serde(default)]
    pub bandwidth: Option<Size>,
}

/// Settings of [`super::Fault::Reset`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The two sides.
    pub between: [Side; 2],
}

/// Settings of [`super::Fault::Stall`]: `between` both ways, or one way `from` one side `to` the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// The two sides.
    #[serde(default)]
    pub between: Option<[Side; 2]>,
    /// What this side sends is held.
    #[serde(default)]
    pub from: Option<Side>,
    /// This side gets nothing.
    #[serde(default)]
    pub to: Option<Side>,
}

impl Link {
    /// Such as `50ms more each way, ±5ms`.
    pub(super) fn in_words(&self) -> String {
        let mut words = format!("{} more each way", self.delay);
        if !self.jitter.is_zero() {
            words += &format!(", ±{}", self.jitter);
        }
        if let Some(bandwidth) = self.bandwidth {
            words += &format!(", {bandwidth} a second");
        }
        words
    }

    pub(super) fn inject(&self, aim: &Aim, reach: &Reach) -> Result<Undo, FaultError> {
        let lanes = aim.lanes(reach)?;
        let bandwidth = self.bandwidth.and_then(|size| NonZero::new(size.0));
        let by = Slower { delay: *self.delay, jitter: *self.jitter, bandwidth };
        lanes.iter().for_each(|lane| reach.cluster.ways().slow(lane, by));
        Ok(Undo::Quicken(lanes, by))
    }
}

/// Resets every connection of the ways.
pub(super) async fn reset(aim: &Aim, reach: &Reach) -> Result<Undo, FaultError> {
    for lane in &aim.lanes(reach)? {
        let reset = reach.cluster.ways().reset(lane).await;
        reset.map_err(|source| FaultError::failed("cannot reset connections", &aim.words(), source))?;
    }
    Ok(Undo::Nothing)
}

/// Holds what is sent.
pub(super) fn stall(aim: &Aim, reach: &Reach) -> Result<Undo, FaultError> {
    let lanes = aim.lanes(reach)?;
    let Some(ways) = &aim.ways else { return Ok(Undo::Nothing) };
    lanes.iter().for_each(|lane| reach.cluster.ways().hold(lane, only(ways)));
    Ok(Undo::Release(lanes, ways.clone()))
}

/// Lets what was held pass.
pub(super) fn release(lanes: &[Lane], ways: &Between, reach: &Reach) {
    lanes.iter().for_each(|lane| reach.cluster.ways().release(lane, only(ways)));
}

fn only(ways: &Between) -> Only<'_> {
    ways.one_way.then_some((&ways.from, &ways.to))
}
