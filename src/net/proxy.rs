#![allow(missing_docs, clippy::unused_async)]
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    pub delay: Duration,
    pub jitter: Duration,
    pub bandwidth: Option<u64>,
}
#[derive(Clone, Copy, Debug)]
pub enum Way {
    ToServer,
    ToClient,
}
#[derive(Debug)]
pub struct Proxy;
impl Proxy {
    pub async fn start(_: SocketAddr, _: Option<IpAddr>, _: (String, u16), _: Shape) -> std::io::Result<Proxy> {
        todo!()
    }
    pub fn address(&self) -> SocketAddr {
        todo!()
    }
    pub fn shape(&self, _: Shape) {}
    pub fn stall(&self, _: Way, _: bool) {}
    pub fn reset(&self) {}
    pub async fn stop(self) {}
}
