//! What an engine tells of a run's containers while it happens: that memory was used up, that one ended.

use super::engine::{Engine, EngineError, asked};
use super::{LABEL_NODE, LABEL_RUN};
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt, future};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// Something that happened to a node's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The node.
    pub node: String,
    /// When, by the clock of the engine's machine.
    pub at: SystemTime,
    /// What.
    pub what: What,
}

/// What happens to containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// All the memory that it may use was in use, and the kernel killed one of its processes.
    OutOfMemory,
    /// It ended.
    Died {
        /// The status of its first process.
        exit_code: Option<i64>,
    },
}

impl Engine {
    /// What happens to the containers of `run` from now on. It ends when the engine can no longer be heard, after
    /// the error.
    pub async fn happenings(
        &self,
        run: &str,
    ) -> Result<impl Stream<Item = Result<Happening, EngineError>> + Unpin + Send + use<>, EngineError> {
        // The engine is only asked when the stream is first read; it remembers what has happened since.
        let now = self.docker.info().await.map_err(asked("asking the engine for its time"))?.system_time;
        let now = now.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let since = now.map(|now| format!("{}.{:09}", now.as_second(), now.subsec_nanosecond()));
        let since = since.ok_or_else(|| EngineError::Lost {
            what: "asking the engine for its time".to_owned(),
            why: "it did not say".to_owned(),
        })?;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let filters = HashMap::from([
            ("type", words(&["container"])),
            ("event", words(&["oom", "die"])),
            ("label", vec![format!("{LABEL_RUN}={run}")]),
        ]);
        let options = EventsOptionsBuilder::new().since(&since).filters(&filters).build();
        let told = self.docker.events(Some(options)).filter_map(|event| {
            future::ready(event.map_err(asked("listening to the engine")).map(happening).transpose())
        });
        Ok(Box::pin(told))
    }
}

fn happening(event: EventMessage) -> Option<Happening> {
    let attributes = event.actor?.attributes?;
    let what = match event.action?.as_str() {
        "oom" => What::OutOfMemory,
        "die" => What::Died { exit_code: attributes.get("exitCode").and_then(|code| code.parse().ok()) },
        _ => return None,
    };
    // Containers that run one command have no node.
    let node = attributes.get(LABEL_NODE)?.clone();
    let nanoseconds = event.time_nano.and_then(|time| u64::try_from(time).ok())?;
    Some(Happening { node, at: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_an_engine_tells() {
        let told = r#"{"Type":"container","Action":"die","Actor":{"ID":"x","Attributes":
            {"exitCode":"137","pgbench-rs.node":"a"}},"time":1,"timeNano":1500000000}"#;
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
        let expected = Happening { node: "a".to_owned(), at, what: What::Died { exit_code: Some(137) } };
        assert_eq!(happening(serde_json::from_str(told).unwrap()), Some(expected));
        let stranger = r#"{"Action":"oom","Actor":{"ID":"x","Attributes":{}},"timeNano":1}"#;
        assert_eq!(happening(serde_json::from_str(stranger).unwrap()), None);
    }
}
