//! The table of books on a server: made anew and filled, the same rows everywhere.

use crate::pg::books::{CREATE, FILL};
use tokio_postgres::{Client, Error};

/// Makes the table with `books` rows; what stood there under its name is dropped.
pub async fn fill(client: &Client, books: u32) -> Result<(), Error> {
    client.batch_execute(CREATE).await?;
    client.execute(FILL, &[&i64::from(books)]).await?;
    client.batch_execute("VACUUM ANALYZE books").await
}
