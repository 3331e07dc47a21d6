//! Clones of a copy that was recovered and shut down in order before: they are there as soon as a server starts that has
//! nothing to recover, and as old as the copy.

use super::attempt::{Attempt, Facts};
use super::error::{CloneError, SourceError};
use super::facts::SourceFacts;
use super::making::{Caller, Order, create};
use super::phase::Span;
use super::recipe::{Mode, Recipe, Recovery};
use super::source::Source;
use super::thin::{Destroyed, ThinClone};
use crate::driver::Workplace;
use crate::pg::Lsn;
use crate::snapshot::label;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a base: of the server as it was when the base was cooked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cooked {
    /// What the source said.
    pub source: Option<SourceFacts>,
    /// The timeline of the WAL.
    pub timeline: Option<u32>,
    /// From where recovery had to read.
    pub redo: Option<Lsn>,
    /// Up to where the base has the source's changes.
    pub reached: Option<Lsn>,
    /// When the last transaction was committed that it has, by the source's clock, in RFC 3339.
    pub last_commit: Option<String>,
}

impl Cooked {
    fn of(facts: &Facts) -> Cooked {
        let Facts { source, timeline, redo, reached, last_commit, .. } = facts;
        let last_commit = last_commit.map(|at| at.to_string());
        Cooked { source: source.clone(), timeline: *timeline, redo: *redo, reached: *reached, last_commit }
    }

    /// What clones are made of, with [`Mode::Precooked`]: the base whose data directory is `data`.
    pub fn as_source(&self, name: impl Into<String>, data: &Path) -> Result<Source, SourceError> {
        Ok(Source::stopped(name, data)?.inheriting(self.clone()))
    }
}

/// A stopped copy, from which clones come again and again.
#[derive(Debug)]
pub struct Base {
    thin: ThinClone,
    source: Arc<Source>,
    /// The phases of its making.
    pub spans: Vec<Span>,
    /// What was found out when it was made.
    pub facts: Facts,
    /// How long shutting it down took.
    pub stopping: Duration,
}

/// A base that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Uncooked {
    /// The phases that were gone through.
    pub spans: Vec<Span>,
    /// What was found out.
    pub facts: Facts,
    /// Why there is none.
    pub cause: CloneError,
}

impl Base {
    /// Makes one of `source`: clones it, lets it recover, shuts it down. `recipe` is that of the clones to come; the
    /// base's own `order` names a directory on the same file system as theirs.
    pub async fn cook(
        place: &Arc<Workplace>,
        source: &Arc<Source>,
        recipe: &Recipe,
        order: Order,
        caller: Caller,
    ) -> Result<Base, Box<Uncooked>> {
        let recovery = Mode::Recovery(Recovery { checkpoint: recipe.mode.checkpoint() });
        let recipe = Recipe { mode: recovery, query: None, quota: None, ..recipe.clone() };
        let name = order.name.clone();
        let Attempt { spans, mut facts, outcome, .. } = create(place, source, &recipe, order, caller).await;
        let uncooked = |spans, facts, cause| Box::new(Uncooked { spans, facts, cause });
        let thin = match outcome {
            Ok(thin) => thin,
            Err(cause) => return Err(uncooked(spans, facts, cause)),
        };
        facts.last_commit = thin.last_commit().await;
        let cooked = async {
            let stopping = thin.shut_down().await?;
            thin.say(label::State::Base).await?;
            let source = Cooked::of(&facts).as_source(name, thin.data()).map_err(CloneError::Source)?;
            Ok((stopping, Arc::new(source)))
        };
        match cooked.await {
            Ok((stopping, source)) => Ok(Base { thin, source, spans, facts, stopping }),
            Err(cause) => {
                let left = thin.destroy().await.left;
                let cause = match left.is_empty() {
                    true => cause,
                    false => CloneError::Left { cause: Box::new(cause), left },
                };
                Err(uncooked(spans, facts, cause))
            }
        }
    }

    /// What clones are made of, with [`Mode::Precooked`].
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// What is known of it, for another process.
    pub fn cooked(&self) -> Cooked {
        Cooked::of(&self.facts)
    }

    /// The stopped clone that it is.
    pub fn thin(&self) -> &ThinClone {
        &self.thin
    }

    /// Removes it. No clone of it may be left, where the file system does not let one outlive its origin.
    pub async fn destroy(&self) -> Destroyed {
        self.thin.destroy().await
    }
}
