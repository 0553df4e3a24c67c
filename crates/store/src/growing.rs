//! Being told by the database that label logs have grown.

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::timeout;

use crate::{Dialect, Store, StoreError};

const CHANNEL: &str = "lockstep_label_log";

/// A connection on which PostgreSQL tells of each commit that lets a label log grow.
#[derive(Debug)]
pub struct Growing {
    listener: PgListener,
}

impl Store {
    /// Listens, where the database can tell: PostgreSQL. `None` elsewhere.
    ///
    /// # Errors
    /// When the server cannot be reached, or is a standby, on which nobody can listen.
    pub async fn growing(&self) -> Result<Option<Growing>, StoreError> {
        if self.database.dialect() != Dialect::PostgreSql {
            return Ok(None);
        }
        let connect = async {
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .connect(self.database.url().as_str())
                .await?;
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            Ok(Some(Growing { listener }))
        };
        match timeout(self.database.pool.wait, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(StoreError::NoAnswer),
        }
    }
}

impl Growing {
    /// Returns when it is worth looking: a log has grown, or may have while the connection was
    /// lost and made again.
    ///
    /// # Errors
    /// When the connection cannot be made again.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        self.listener.try_recv().await?;
        Ok(())
    }
}
