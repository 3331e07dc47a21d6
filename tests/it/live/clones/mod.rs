//! Thin clones of running servers: that they are whole, that they keep to themselves, and what would happen if they did
//! not.

mod lab;
mod protocols;
