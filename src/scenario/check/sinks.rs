//! Where points go beside the file.

use super::{Findings, Part};
use crate::scenario::Scenario;
use crate::sink::Destination;

pub(super) fn sinks(scenario: &Scenario, findings: &mut Findings) {
    for (name, sink) in &scenario.sink {
        findings.name(&["sink", name], Part::Key, name);
        let ([variable, file], secret) = sink.secret();
        match (sink, secret) {
            (_, (Some(_), Some(_))) => findings.key(
                &["sink", name, file],
                format!("`{variable}` says already where it is to be had"),
                "name one of them",
            ),
            (Destination::Influx(_), (None, None)) => findings.key(
                &["sink", name],
                "InfluxDB 2 takes nothing without a token",
                "add `token_env = \"INFLUX_TOKEN\"`, or `token_file` with a path",
            ),
            (Destination::Influx1(influx), (given_env, _)) if influx.user.is_none() && secret != (None, None) => {
                findings.key(
                    &["sink", name, if given_env.is_some() { variable } else { file }],
                    "a password of nobody",
                    "add `user`",
                );
            }
            _ => {}
        }
    }
}

/// A run has its sinks from its beginning to its end.
pub(super) fn varied(scenario: &Scenario, findings: &mut Findings) {
    for (axis, levels) in &scenario.vary {
        for (level, patch) in levels {
            for path in patch.keys().filter(|path| *path == "sink" || path.starts_with("sink.")) {
                findings.key(
                    &["vary", axis, level, path],
                    "points of all variants go to the same sinks",
                    "say it once, outside of `[vary]`",
                );
            }
        }
    }
}
