//! Thin clones of a running server, made again and again in a phase: how long each part of a clone's life takes, what the
//! clone is worth, and what a load of its own gets from it. What making them costs the source is for the loads and
//! probes to tell that go to the source.
//!
//! A campaign goes in rounds. A round makes its clones at once, checks them, lets them live, and destroys them; the
//! next one begins at the next instant of the grid, or right away where there is none. When the phase is over, what is
//! being made is given up, and counted. When the room that is left on the source's file system falls under the recipe's
//! `reserve`, the clones there are end at once, and have failed: see [`guard`].
//!
//! Summary: `clone.*`, of the phase. The subject is the campaign's name for the median of its clones, or their number,
//! and `NAME/3` for the third clone. Points: measurement `clone`, one a clone. Events: `clone.method`, `clone.ready`,
//! `clone.failed`, `clone.unfinished`, `clone.evicted`, `clone.inconsistent`, `clone.behind`, `clone.problem`.

mod campaign;
mod guard;
mod life;
mod summary;
mod way;

pub use campaign::{Bench, Ended, Running};
pub use way::Way;

use crate::base::units::Time;
use crate::clone::Recipe;
use crate::clone::worth::Checks;
use crate::driver::Driver;
use crate::workload::{Load, Mix, Profile};
use serde::{Deserialize, Serialize};

/// A campaign as written: `[clone.NAME]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Whose data directory is cloned: `@primary`, or a node.
    #[serde(default = "primary")]
    pub of: String,
    /// The phase in which clones are made.
    pub phase: String,
    /// How they are made.
    #[serde(default)]
    pub recipe: Recipe,
    /// How their servers exist; absent: as the source's does.
    #[serde(default)]
    pub driver: Option<Driver>,
    /// How many are made at once in each round.
    #[serde(default = "one")]
    pub at_once: u32,
    /// Most rounds; absent: as many as the phase has room for.
    #[serde(default)]
    pub rounds: Option<u32>,
    /// Time from the beginning of a round to that of the next; absent: a round begins when the last one has ended.
    #[serde(default)]
    pub every: Option<Time>,
    /// How long clones live once they were checked.
    #[serde(default)]
    pub lasts: Time,
    /// What is sent to each clone while it lives.
    #[serde(default)]
    pub load: Option<Explore>,
    /// How it is found out what clones are worth.
    #[serde(default)]
    pub check: Checks,
}

/// A load that goes to a clone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explore {
    /// What is sent.
    pub mix: Mix,
    /// When it is sent.
    pub profile: Profile,
    /// Connections that send it.
    #[serde(default = "one")]
    pub clients: u32,
}

impl Explore {
    fn load(&self) -> Load {
        Load {
            mix: self.mix.clone(),
            profile: self.profile.clone(),
            clients: self.clients,
            threads: 1,
            to: String::new(),
            timeout: None,
            site: None,
            pool: None,
        }
    }
}

fn primary() -> String {
    "@primary".to_owned()
}

fn one() -> u32 {
    1
}
