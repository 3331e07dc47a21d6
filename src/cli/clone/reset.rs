//! `pgbench-rs clone reset`.

use super::create::told;
use super::make::{Wish, make};
use super::{remove, shelf, wait_for};
use crate::clone::shelf::State;
use clap::Args;
use std::process::ExitCode;

/// Make a clone anew, of the source as it is now, in the same way and at the same port.
///
/// What was written to the clone is lost, also when making it anew fails. Its time begins again.
#[derive(Debug, Args)]
pub struct Reset {
    /// The clone
    name: String,
    /// How the source is reached; default: as before. Needed when the password stood in the connection string, for it
    /// was not kept
    #[arg(long, value_name = "CONNINFO")]
    from: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Reset {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let shelf = shelf()?;
        let item = shelf.get(&self.name)?;
        let card = item.card.clone();
        if item.state == State::Base {
            anyhow::bail!(
                "`{}` is a base, of which other clones are made\nhint: destroy it; the next precooked clone cooks another",
                self.name
            );
        }
        if card.from.had_password && self.from.is_none() {
            anyhow::bail!("the password of the source was not kept\nhint: say --from again, or use a password file");
        }
        remove(&shelf, &item)?;
        let port = card.ready.as_ref().map(|ready| ready.port);
        let conninfo = self.from.clone().unwrap_or_else(|| card.from.conninfo.clone());
        let wish = Wish { name: card.name, owner: card.owner, expires: card.expires, conninfo, from: card.from };
        let made = wait_for(make(&shelf, wish, port))?;
        told(&made, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}
