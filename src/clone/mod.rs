//! Thin clones: a writable copy of a *running* server's data directory with a server of its own on it, made within
//! moments, measured phase by phase, and kept to itself whatever its source is connected with.
//!
//! [`create`] makes one of a [`Source`] by a [`Recipe`]; the [`Attempt`] has its phases, what was found out, and the
//! [`ThinClone`] or why there is none. What keeps the copy of a live directory whole is derived in [`protocol`], what
//! keeps a clone to itself stands in `fixup` and [`settings`], and only `fence` writes into a copy. What a clone
//! is worth is found out in [`worth`]. Each has a directory of its own:
//!
//! ```text
//! <within>/<dir>/            marked as the run's own
//!   data/                    the copy; see the room `snapshot`
//!     postgresql.conf, postgresql.auto.conf, pg_hba.conf, pg_ident.conf     the clone's own
//!   s/                       its Unix socket, when it is reached by one: for the server's user alone
//!   postgresql.log           unless it goes elsewhere
//! ```

mod attempt;
mod backup;
pub mod card;
mod door;
mod error;
mod facts;
mod fence;
mod fixup;
mod identity;
mod item;
mod making;
mod method;
mod phase;
mod precooked;
pub mod protocol;
mod recipe;
pub mod settings;
mod settle;
pub mod shelf;
mod source;
mod steps;
mod still;
pub mod stray;
mod thin;
pub mod worth;

pub use attempt::{Attempt, Facts};
pub use door::Reach;
pub use error::{CloneError, SourceError};
pub use facts::SourceFacts;
pub use fence::FenceError;
pub use identity::Stranger;
pub use making::{Caller, Order, create};
pub use phase::{Phase, Span};
pub use precooked::{Base, Cooked, Uncooked};
pub use protocol::{Protocol, Refused};
pub use recipe::{Method, Mode, Precooked, Prepared, Protect, Recipe, Recovery, Resetwal};
pub use source::{Checkpointed, Source};
pub use thin::{Destroyed, ThinClone};
