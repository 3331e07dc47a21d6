//! By which way clones came, for the record: what a plan cannot know, as it depends on the source's directory and server.

use crate::clone::{Facts, Method, Recipe};
use serde::{Deserialize, Serialize};
use std::fmt;

/// By which way the clones of a campaign came, or would have come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The campaign.
    pub campaign: String,
    /// It is the base of its clones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub base: bool,
    /// What was cloned: a node.
    pub of: String,
    /// The way of copying as written, such as `auto`.
    pub asked: String,
    /// The way that was taken; absent when none was found.
    pub method: Option<String>,
    /// The source's file system, where the way was chosen by it.
    pub file_system: Option<String>,
    /// Why this way was chosen, when none was asked for.
    pub why: Option<String>,
    /// What kept the copy whole: `atomic`, `backup`, `freeze` or `stopped`; absent when it came to no copy.
    pub protocol: Option<String>,
    /// How they came up; what is unsafe is called so.
    pub mode: String,
    /// They may be inconsistent, for they were made so.
    #[serde(rename = "unsafe")]
    pub is_unsafe: bool,
}

impl Way {
    /// That of an attempt.
    pub(super) fn of(campaign: &str, node: &str, recipe: &Recipe, facts: &Facts, base: bool) -> Way {
        Way {
            campaign: campaign.to_owned(),
            base,
            of: node.to_owned(),
            asked: recipe.method.name().to_owned(),
            // Until one was chosen, the facts have what was asked for.
            method: facts.protocol.map(|_| facts.method.name().to_owned()),
            file_system: facts.file_system.clone(),
            why: facts.why.clone(),
            protocol: facts.protocol.map(|protocol| protocol.name().to_owned()),
            mode: facts.mode.clone(),
            is_unsafe: facts.is_unsafe,
        }
    }
}

/// In a line, without the campaign's name.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = if self.base { "their base: " } else { "" };
        write!(f, "{base}of {} by {}", self.of, self.method.as_deref().unwrap_or(&self.asked))?;
        if self.asked == Method::Auto.name() {
            write!(f, " (auto: {})", self.why.as_deref().unwrap_or("none was found"))?;
        }
        match self.protocol.as_deref() {
            Some("atomic") => f.write_str(", a snapshot of one moment")?,
            Some("backup") => f.write_str(", under the backup interface")?,
            Some("freeze") => f.write_str(", while it stood still")?,
            Some("stopped") => f.write_str(", which was stopped")?,
            Some(other) => write!(f, ", under {other}")?,
            None => f.write_str(", which came to no copy")?,
        }
        write!(f, ", {}", self.mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_chosen_and_why() {
        let way = Way {
            campaign: "c".to_owned(),
            base: false,
            of: "a".to_owned(),
            asked: "auto".to_owned(),
            method: Some("reflink".to_owned()),
            file_system: Some("xfs".to_owned()),
            why: Some("xfs lets files share their blocks".to_owned()),
            protocol: Some("backup".to_owned()),
            mode: "recovery".to_owned(),
            is_unsafe: false,
        };
        let said = "of a by reflink (auto: xfs lets files share their blocks), under the backup interface, recovery";
        assert_eq!(way.to_string(), said);
        let none = Way { method: None, why: None, protocol: None, base: true, ..way.clone() };
        assert_eq!(
            none.to_string(),
            "their base: of a by auto (auto: none was found), which came to no copy, recovery"
        );
        let json = serde_json::to_value(&way).unwrap();
        assert_eq!((&json["unsafe"], json.get("base")), (&false.into(), None));
        assert_eq!(serde_json::from_value::<Way>(json).unwrap(), way);
    }
}
