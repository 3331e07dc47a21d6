//! Ports without races: a port is a node's from before its server first starts until the trial ends,
//! also while the server is down.

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A port at an address of this machine that nobody else is given while this lives.
///
/// It is held by a socket that is bound and never listens. The kernel gives a bound port to nobody who
/// asks for any free one, neither for listening nor for an outgoing connection. A server can still
/// listen there: Linux lets several sockets bind one address when all of them have `SO_REUSEADDR`
/// (PostgreSQL sets it) and none listens yet. Somebody who insists on this very number gets it too;
/// the server then cannot start, and says why.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: Socket,
}

impl Port {
    /// Takes a port that is free.
    pub fn reserve(at: Ipv4Addr) -> io::Result<Port> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddrV4::new(at, 0).into())?;
        let address = socket.local_addr()?;
        let number = address.as_socket_ipv4().ok_or_else(|| io::Error::other("the port is no IPv4 port"))?.port();
        Ok(Port { number, _held: socket })
    }

    /// Takes this port, if it is free.
    pub fn claim(number: u16) -> io::Result<Port> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, number).into())?;
        Ok(Port { number, _held: socket })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_port_on_which_somebody_listens_cannot_be_claimed() {
        let free = Port::reserve(Ipv4Addr::LOCALHOST).unwrap().number();
        assert_eq!(Port::claim(free).unwrap().number(), free);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Port::claim(listener.local_addr().unwrap().port()).is_err());
    }

    #[test]
    fn nobody_else_is_given_it_and_a_server_can_listen_there() {
        let ports: Vec<Port> = (0..200).map(|_| Port::reserve(Ipv4Addr::LOCALHOST).unwrap()).collect();
        let held: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(held.len(), ports.len(), "a port was given twice");
        // std sets SO_REUSEADDR, as PostgreSQL does.
        let listener = TcpListener::bind(("127.0.0.1", ports[0].number())).unwrap();
        let others: Vec<TcpListener> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        assert!(others.iter().all(|other| !held.contains(&other.local_addr().unwrap().port())));
        let clients: Vec<TcpStream> =
            (0..100).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        assert!(clients.iter().all(|client| !held.contains(&client.local_addr().unwrap().port())));
    }
}
