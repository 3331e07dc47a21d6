//! Clones of a copy that was recovered and shut down in order before: they are there as soon as a server starts that has
//! nothing to recover, and as old as the copy.

use super::attempt::{Attempt, Facts};
use super::error::CloneError;
use super::making::{Order, create};
use super::phase::{Phase, Span};
use super::recipe::{Mode, Recipe, Recovery};
use super::source::Source;
use super::thin::{Destroyed, ThinClone};
use crate::driver::Workplace;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

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
        told: watch::Sender<Option<Phase>>,
    ) -> Result<Base, Box<Uncooked>> {
        let recovery = Mode::Recovery(Recovery { checkpoint: recipe.mode.checkpoint() });
        let recipe = Recipe { mode: recovery, query: None, ..recipe.clone() };
        let name = order.name.clone();
        let Attempt { spans, mut facts, outcome, .. } = create(place, source, &recipe, order, told).await;
        let uncooked = |spans, facts, cause| Box::new(Uncooked { spans, facts, cause });
        let thin = match outcome {
            Ok(thin) => thin,
            Err(cause) => return Err(uncooked(spans, facts, cause)),
        };
        facts.last_commit = thin.last_commit().await;
        let cooked = async {
            let stopping = thin.shut_down().await?;
            let source = Source::stopped(name, thin.data()).map_err(CloneError::Source)?;
            Ok((stopping, Arc::new(source.inheriting(facts.clone()))))
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

    /// Removes it. No clone of it may be left, where the file system does not let one outlive its origin.
    pub async fn destroy(&self) -> Destroyed {
        self.thin.destroy().await
    }
}
