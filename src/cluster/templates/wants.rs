//! What a template's bytes depend on, and the key that follows from it.

use crate::driver::Make;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Version of how templates are made: to be raised whenever the same wants would give other bytes (a table of a probe, a
/// setting of the filling server), so that what an earlier program kept is not taken for what this one would make.
const FORMAT: u32 = 2;

/// Digits of the key in a template's name: enough that no two of a store are alike by accident, and what stands in the
/// state file is compared anyway.
const DIGITS: usize = 12;

/// Everything that a template's bytes depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wants {
    /// Version of how it is made.
    format: u32,
    /// The server's version, minor version included.
    version: String,
    /// What made it; see [`Make::key`].
    made_by: String,
    /// Id of the user whose it is.
    owner: u32,
    /// What was loaded: of each data set its source's key, its schema and how it was loaded, as JSON.
    data: Vec<serde_json::Value>,
}

impl Wants {
    /// What `make` makes for servers of the user `owner`, with `data` loaded.
    pub fn new(make: &Make, owner: u32, data: Vec<serde_json::Value>) -> Wants {
        Wants { format: FORMAT, version: make.version().to_string(), made_by: make.key(), owner, data }
    }

    /// The name of such a template: `label`, which is for people, and the key.
    pub fn name(&self, label: &str) -> String {
        // serde_json keeps the order of fields, so the same wants give the same text; it cannot fail on such values.
        let text = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha256::digest(&text);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{label}-{}", &hex[..DIGITS])
    }

    /// What was loaded.
    pub fn data(&self) -> &[serde_json::Value] {
        &self.data
    }

    /// The server's version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(in crate::cluster::templates) fn wants(scale: u32) -> Wants {
        let data = vec![json!({ "pgbench": { "scale": scale } })];
        Wants { format: FORMAT, version: "15.14".into(), made_by: "process /x".into(), owner: 0, data }
    }

    #[test]
    fn whatever_the_bytes_depend_on_is_in_the_key() {
        let one = wants(1);
        let others = [
            wants(2),
            Wants { format: FORMAT + 1, ..one.clone() },
            Wants { version: "15.15".into(), ..one.clone() },
            Wants { made_by: "process /y".into(), ..one.clone() },
            Wants { owner: 1, ..one.clone() },
        ];
        assert_eq!(one.name("pgbench"), wants(1).name("pgbench"));
        assert_eq!(one.name("x").len(), "x-".len() + DIGITS);
        for other in others {
            assert_ne!(one.name("pgbench"), other.name("pgbench"), "{other:?}");
        }
    }
}
