//! How far standbys and subscribers are behind, and what that keeps.

use super::super::Fold::{Last, Max, Rate};
use super::super::View::{Lines, Marks};
use super::super::{Dashboard, Panel, Query, Scope};
use super::panel;
use crate::metric::sampled::{
    LAG, LAG_VISIBLE, POSITIONS, REPLICATION, REPLICATION_SLOTS, SLOTS, SUBSCRIPTION_STATS, WAL,
};

const STANDBY: &[&str] = &["node", "application_name"];
const SLOT: &[&str] = &["node", "slot_name"];
const SUBSCRIPTION: &[&str] = &["node", "subname"];

pub fn board() -> Dashboard {
    let mut panels = physical();
    panels.extend(logical());
    Dashboard {
        name: "replication",
        title: "Replication",
        about: "lag in time and bytes, slots, and what subscribers could not apply",
        scope: Scope::Run,
        panels,
    }
}

fn physical() -> Vec<Panel> {
    let lag = |field, name| Query::new(&REPLICATION, field, Max).split(STANDBY).called(name);
    let visible = |field| Query::new(&LAG_VISIBLE, field, Max).split(&["node", "source"]);
    vec![
        panel(
            ("Lag in time", "write, flush and replay lag as the sender measures them; none without traffic"),
            Lines,
            "s",
            12,
            [lag("write_lag", "write"), lag("flush_lag", "flush"), lag("replay_lag", "replay")],
        ),
        panel(
            ("Lag in bytes", "WAL that each stream has not replayed or applied"),
            Lines,
            "bytes",
            12,
            [Query::new(&LAG, "distance_bytes", Max).split(&["node", "stream"]).called("behind")],
        ),
        panel(
            ("Commit to visible", "largest bounds of the writes that became visible; the truth lies between"),
            Lines,
            "s",
            12,
            [visible("lower_max"), visible("upper_max")],
        ),
        panel(("WAL", "written a second"), Lines, "Bps", 12, [Query::new(&WAL, "wal_bytes", Rate)]),
        panel(
            ("Positions", "in the WAL, in bytes: of a primary what it wrote, of a standby what it replayed"),
            Lines,
            "bytes",
            12,
            [
                Query::new(&POSITIONS, "current_lsn_bytes", Last).called("written"),
                Query::new(&POSITIONS, "replayed_lsn_bytes", Last).called("replayed"),
            ],
        ),
        panel(
            ("Timeline", "goes up by one at a promotion"),
            Lines,
            "short",
            12,
            [Query::new(&POSITIONS, "timeline", Max)],
        ),
    ]
}

fn logical() -> Vec<Panel> {
    let slots = |field| Query::new(&REPLICATION_SLOTS, field, Rate).split(SLOT);
    let subscription = |field| Query::new(&SUBSCRIPTION_STATS, field, Max).split(SUBSCRIPTION);
    vec![
        panel(
            ("WAL kept by slots", "which cannot be removed as long as a slot needs it"),
            Lines,
            "bytes",
            12,
            [Query::new(&SLOTS, "retained_bytes", Max).split(SLOT).called("retained")],
        ),
        panel(
            ("Logical decoding", "bytes a second passed on, and of these what was written to disk meanwhile"),
            Lines,
            "Bps",
            12,
            [slots("total_bytes"), slots("spill_bytes")],
        ),
        panel(
            ("Errors of subscriptions", "since their statistics were reset"),
            Marks,
            "short",
            12,
            [subscription("apply_error_count"), subscription("sync_error_count")],
        ),
        panel(
            ("Heartbeat of streams", "age of the newest heartbeat that came through"),
            Lines,
            "s",
            12,
            [Query::new(&LAG, "heartbeat_seconds", Max).split(&["node", "stream"]).called("heartbeat")],
        ),
    ]
}
