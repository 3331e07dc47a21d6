//! Thin clones of running servers: that they are whole, that they keep to themselves, and what would happen if they did
//! not.

mod containers;
mod elsewhere;
mod encrypted;
mod guards;
mod lab;
mod lives;
mod logical;
mod plain;
mod protocols;
mod standbys;
mod starts;
mod systems;
