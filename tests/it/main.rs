//! The integration tests, one binary. `live` needs a real PostgreSQL.

mod compose;
mod dashboards;
mod errors;
mod layers;
mod live;
mod metrics;
mod readers;
mod scenarios;
