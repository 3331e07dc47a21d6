//! Clones that were made by hand and outlive the program that made them: what must be known of each in the next call.
//!
//! ```text
//! $XDG_STATE_HOME/pgbench-rs/clones/<name>/
//!   clone.json         its card; without `ready` until it is
//!   inventory.jsonl    what was made for it; named in the index of runs, so that `clean` finds it, too
//! ```
//!
//! Each clone is a run of its own: it is removed by its inventory as the leftovers of a dead run are, and by nothing else.

use super::card::Card;
pub use super::item::{Item, State};
use super::stray::{Stray, strays};
use crate::base::index::{Index, state_of_user};
use crate::clean::runs;
use crate::snapshot::SnapshotError;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The card's file.
const CARD: &str = "clone.json";
/// The longest name: it is part of a path that a Unix socket must fit into.
const NAME_MAX: usize = 40;

/// A user's clones.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
    index: Index,
}

/// Why a clone is not on the shelf, or cannot be put there.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// There is none of that name.
    #[error("there is no clone `{0}`\nhint: `pgbench-rs clone list` shows all")]
    None(String),
    /// There is one already.
    #[error(
        "there is a clone `{0}` already\nhint: `pgbench-rs clone reset {0}` makes it anew; another name makes another"
    )]
    Taken(String),
    /// That is no name.
    #[error(
        "`{0}` is no name of a clone\nhint: at most {NAME_MAX} letters, digits, `-` and `_`, a letter or digit first"
    )]
    Name(String),
    /// A file system did not tell what is on it.
    #[error(transparent)]
    Strays(#[from] SnapshotError),
    /// A file of the shelf.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ShelfError + use<> {
    let path = path.to_owned();
    move |source| ShelfError::Io { path, source }
}

impl Shelf {
    /// That of the user who runs this.
    pub fn of_user() -> io::Result<Shelf> {
        Ok(Shelf { dir: state_of_user()?.join("clones"), index: Index::of_user()? })
    }

    /// The index of runs, in which all clones are.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Where the inventory of a clone is.
    pub fn inventory(&self, name: &str) -> PathBuf {
        self.dir.join(name).join("inventory.jsonl")
    }

    /// A name that is free: `clone-1`, `clone-2`, …
    pub fn free_name(&self) -> String {
        let name = |number: u32| format!("clone-{number}");
        (1..).map(name).find(|name| !self.dir.join(name).exists()).unwrap_or_default()
    }

    /// Puts a card on the shelf, where none of that name may be.
    pub fn put(&self, card: &Card) -> Result<(), ShelfError> {
        if !is_name(&card.name) {
            return Err(ShelfError::Name(card.name.clone()));
        }
        fs::create_dir_all(&self.dir).map_err(at(&self.dir))?;
        let dir = self.dir.join(&card.name);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ShelfError::Taken(card.name.clone()));
            }
            made => made.map_err(at(&dir))?,
        }
        self.change(card)
    }

    /// Writes the card of a clone that is on the shelf.
    pub fn change(&self, card: &Card) -> Result<(), ShelfError> {
        let path = self.dir.join(&card.name).join(CARD);
        let aside = path.with_extension("new");
        let write = || {
            let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(&serde_json::to_vec_pretty(card)?)?;
            // So that no reader ever sees half of it.
            fs::rename(&aside, &path)
        };
        write().map_err(at(&path))
    }

    /// Takes a clone off the shelf of which nothing is left.
    pub fn take_off(&self, name: &str) -> Result<(), ShelfError> {
        let dir = self.dir.join(name);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&dir)(error)),
            _ => Ok(()),
        }
    }

    /// All clones, by name. Blocks while container engines are asked.
    pub fn all(&self) -> Result<Vec<Item>, ShelfError> {
        let names = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(at(&self.dir))?,
        };
        let known = runs(&self.index).map_err(at(&self.dir))?;
        let mut items = Vec::new();
        for entry in names {
            let path = entry.map_err(at(&self.dir))?.path().join(CARD);
            let card = match fs::read(&path) {
                // Somebody is putting it there, or taking it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                bytes => bytes.map_err(at(&path))?,
            };
            let card: Card = serde_json::from_slice(&card).map_err(|error| at(&path)(error.into()))?;
            let run = known.iter().find(|run| run.owner.run == card.run).cloned();
            items.push(Item::of(card, run));
        }
        items.sort_by(|a, b| a.card.name.cmp(&b.card.name));
        Ok(items)
    }

    /// Copies of which a file system tells, and that are on no shelf and in no inventory of this user. Blocks.
    pub fn strays(&self, items: &[Item]) -> Result<Vec<Stray>, ShelfError> {
        let entries = self.index.entries().map_err(at(&self.dir))?;
        let runs = entries.iter().map(|(_, entry)| entry.owner.run.as_str());
        let known: Vec<&str> = runs.chain(items.iter().map(|item| item.card.run.as_str())).collect();
        Ok(strays(&known)?)
    }

    /// The clone of that name.
    pub fn get(&self, name: &str) -> Result<Item, ShelfError> {
        let found = self.all()?.into_iter().find(|item| item.card.name == name);
        found.ok_or_else(|| ShelfError::None(name.to_owned()))
    }
}

/// Whether a clone, and what is made for it, can be called so.
fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    first && name.len() <= NAME_MAX && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::inventory::Inventory;
    use crate::base::proc::Identity;
    use crate::base::units::Time;
    use crate::clone::Recipe;
    use crate::clone::card::From;

    fn card(name: &str, run: &str, maker: Identity) -> Card {
        let from = From {
            conninfo: "host=127.0.0.1".to_owned(),
            had_password: true,
            data_dir: "/data".into(),
            recipe: Recipe::default(),
            to: None,
            postgres: None,
            image: None,
            host_network: false,
            no_egress: false,
            start_limit: Time::s(60),
        };
        Card {
            name: name.to_owned(),
            run: run.to_owned(),
            owner: "me".to_owned(),
            created_at: "2024-11-25T08:00:00Z".to_owned(),
            expires: Some(Time::s(3600)),
            from,
            maker,
            ready: None,
        }
    }

    const DEAD: Identity = Identity { pid: 1, started: u64::MAX };

    #[test]
    fn a_clone_is_what_its_inventory_says() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf { dir: dir.path().join("clones"), index: Index::at(dir.path().join("runs")) };
        assert!(shelf.all().unwrap().is_empty());
        assert_eq!(shelf.free_name(), "clone-1");
        shelf.put(&card("clone-1", "r1", DEAD)).unwrap();
        assert_eq!(shelf.free_name(), "clone-2");
        let taken = shelf.put(&card("clone-1", "r2", DEAD)).unwrap_err().to_string();
        assert!(taken.starts_with("there is a clone `clone-1` already"), "{taken}");
        let state = |name: &str| shelf.get(name).unwrap().state;
        assert_eq!(state("clone-1"), State::Gone, "nothing was made yet");
        let inventory = Inventory::create(shelf.index(), &shelf.inventory("clone-1"), "r1").unwrap();
        inventory.directory(&dir.path().join("c"), dir.path(), None).unwrap();
        assert_eq!(state("clone-1"), State::HalfMade);
        shelf.put(&card("mine", "r3", Identity::own().unwrap())).unwrap();
        assert_eq!(state("mine"), State::Making);
        shelf.take_off("clone-1").unwrap();
        assert!(matches!(shelf.get("clone-1"), Err(ShelfError::None(_))));
    }

    #[test]
    fn names_are_parts_of_paths() {
        assert!(is_name("a") && is_name("9-b_c") && !is_name(&"a".repeat(NAME_MAX + 1)));
        for wrong in ["", "-a", "..", "a/b", "a b", "a.b"] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn it_expires_when_its_time_is_over() {
        let item = Item::of(card("a", "r", DEAD), None);
        assert!(!item.is_expired("2024-11-25T08:59:59Z".parse().unwrap()));
        assert!(item.is_expired("2024-11-25T09:00:00Z".parse().unwrap()));
        let never = Item::of(Card { expires: None, ..card("a", "r", DEAD) }, None);
        assert!(!never.is_expired("2999-01-01T00:00:00Z".parse().unwrap()));
    }
}
