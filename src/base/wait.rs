//! Waiting on a condition: short polls, a long limit, and an error that says how far things had come.

use std::time::{Duration, Instant};

/// What one look at the condition found.
#[derive(Debug)]
pub enum Poll<T, E> {
    /// It holds.
    Done(T),
    /// Not yet, and this is how things stand.
    NotYet {
        /// How things stand, for the error should the limit pass.
        status: String,
    },
    /// It can no longer come to hold.
    Failed(E),
}

impl<T, E> Poll<T, E> {
    /// Not yet; `status` says how things stand.
    pub fn not_yet(status: impl ToString) -> Self {
        Poll::NotYet { status: status.to_string() }
    }
}

/// Why a wait ended without what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum WaitError<E> {
    /// The limit passed.
    #[error("gave up after {waited:.1?}; last status: {last_status}")]
    Timeout {
        /// How long was waited.
        waited: Duration,
        /// What the last look found.
        last_status: String,
    },
    /// It can no longer come to hold.
    #[error(transparent)]
    Failed(E),
}

/// Looks every `every` until the condition holds, has failed, or `limit` has passed. A look that
/// hangs is cut off at the limit; at least one is begun.
pub async fn until<T, E, F, Look>(limit: Duration, every: Duration, mut look: F) -> Result<T, WaitError<E>>
where
    F: FnMut() -> Look,
    Look: Future<Output = Poll<T, E>>,
{
    let began = Instant::now();
    let end = tokio::time::Instant::from_std(began + limit);
    let mut last_status = "no answer".to_owned();
    loop {
        match tokio::time::timeout_at(end, look()).await {
            Ok(Poll::Done(value)) => return Ok(value),
            Ok(Poll::Failed(error)) => return Err(WaitError::Failed(error)),
            Ok(Poll::NotYet { status }) => last_status = status,
            Err(_) => return Err(WaitError::Timeout { waited: began.elapsed(), last_status }),
        }
        if tokio::time::timeout_at(end, tokio::time::sleep(every)).await.is_err() {
            return Err(WaitError::Timeout { waited: began.elapsed(), last_status });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn ends_with_the_value() {
        let mut looks = 0;
        let value = until(Duration::from_secs(60), TICK, || {
            looks += 1;
            let looks = looks;
            async move { if looks < 3 { Poll::not_yet("early") } else { Poll::<_, ()>::Done(looks) } }
        });
        assert_eq!(value.await.ok(), Some(3));
    }

    #[tokio::test]
    async fn a_timeout_tells_the_last_status() {
        let mut looks = 0;
        let wait = until(Duration::from_millis(30), TICK, || {
            looks += 1;
            let looks = looks;
            async move { if looks < 3 { Poll::<(), ()>::not_yet(looks) } else { std::future::pending().await } }
        });
        let error = wait.await.unwrap_err();
        assert!(error_status(&error) == "2", "{error:?}");
    }

    #[tokio::test]
    async fn failure_ends_the_wait_at_once() {
        let wait = until(Duration::from_secs(3600), TICK, || async { Poll::<(), _>::Failed("dead") });
        assert!(matches!(wait.await, Err(WaitError::Failed("dead"))));
    }

    fn error_status<E>(error: &WaitError<E>) -> &str {
        match error {
            WaitError::Timeout { last_status, .. } => last_status,
            WaitError::Failed(_) => "failed",
        }
    }
}
