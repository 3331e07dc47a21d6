//! A server that points go to, as the command line names it.

use super::Usage;
use crate::sink::{Address, Destination, Influx, Influx1, VictoriaMetrics};
use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// What is to be known of a server beside its address.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("kind").args(["bucket", "database"]))]
pub struct DestinationArgs {
    /// Organization, of InfluxDB 2
    #[arg(long, requires = "bucket")]
    org: Option<String>,
    /// Bucket, of InfluxDB 2
    #[arg(long, requires = "org")]
    bucket: Option<String>,
    /// Database, of InfluxDB 1
    #[arg(long)]
    database: Option<String>,
    /// User, of InfluxDB 1
    #[arg(long, requires = "database")]
    user: Option<String>,
    /// Environment variable with the token, or with the user's password
    #[arg(long, value_name = "VARIABLE", conflicts_with = "token_file")]
    token_env: Option<String>,
    /// File with the token, or with the user's password
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl DestinationArgs {
    /// The server at `address`, which `--to` says.
    pub fn at(&self, address: &str) -> Result<Destination, Usage> {
        let url: Address = address.parse().map_err(|error: String| Usage(format!("--to: {error}")))?;
        let (variable, file) = (self.token_env.clone(), self.token_file.clone());
        Ok(match (self.org.clone().zip(self.bucket.clone()), self.database.clone()) {
            (Some((org, bucket)), _) => {
                Destination::Influx(Influx { url, org, bucket, token_env: variable, token_file: file })
            }
            (None, Some(database)) => {
                let user = self.user.clone();
                Destination::Influx1(Influx1 { url, database, user, password_env: variable, password_file: file })
            }
            (None, None) => {
                Destination::VictoriaMetrics(VictoriaMetrics { url, token_env: variable, token_file: file })
            }
        })
    }
}
