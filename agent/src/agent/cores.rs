//! The threads that carry traffic: one for each core, each with a single-threaded
//! runtime and a listener of its own on the port they share.
//!
//! A request stays on the core that accepted it, so nothing is handed from thread to
//! thread but its record to the store's writer. Owns the sockets and the life of the
//! threads; refuses to know what is served. Invariants: the port belongs to this
//! process alone; a thread outlives its listener until it is released.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Ended;
use crate::accept::{Acceptor, Certificates, TlsListener, serve};

/// Connections of one listener that wait in the kernel to be accepted.
const BACKLOG: i32 = 1_024;
/// Only there does the kernel spread connections over the listeners of a port.
const SPREADS: bool = cfg!(target_os = "linux");

/// What every thread serves with.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) acceptor: Arc<Acceptor>,
    /// With these TLS is spoken.
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) requests: TaskTracker,
    /// No more connections from here on.
    pub(super) stop: CancellationToken,
    /// The threads end, with whatever still runs on them.
    pub(super) release: CancellationToken,
}

/// Opens so many listeners on one port.
pub(super) fn listen(
    address: SocketAddr,
    count: usize,
) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let socket = open(address)?;
    // Bound before it may be shared: so the port is refused to whoever comes second, another
    // agent too.
    socket.bind(&address.into())?;
    let bound = TcpListener::from(socket.try_clone()?).local_addr()?;
    let mut sockets = vec![socket];
    if SPREADS && count > 1 {
        sockets[0].set_reuse_port(true)?;
    }
    while sockets.len() < count {
        let sibling = if SPREADS {
            let sibling = open(bound)?;
            sibling.set_reuse_port(true)?;
            sibling.bind(&bound.into())?;
            sibling
        } else {
            sockets[0].try_clone()?
        };
        sockets.push(sibling);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok((sockets.into_iter().map(TcpListener::from).collect(), bound))
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A port whose old connections are still winding down may be taken again.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Starts a thread for each listener, as parts of the agent; gives their runtimes.
pub(super) fn start(
    listeners: Vec<TcpListener>,
    served: &Served,
    parts: &mut JoinSet<Ended>,
) -> io::Result<Vec<Handle>> {
    let mut handles = Vec::new();
    for (number, listener) in listeners.into_iter().enumerate() {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        handles.push(runtime.handle().clone());
        let end = thread(number, runtime, listener, served.clone())?;
        parts.spawn(async move {
            let panicked = |_| Err("its thread panicked".to_owned());
            ("ingest", end.await.unwrap_or_else(panicked))
        });
    }
    Ok(handles)
}

fn thread(
    number: usize,
    runtime: Runtime,
    listener: TcpListener,
    served: Served,
) -> io::Result<oneshot::Receiver<Result<(), String>>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("ingest-{number}"))
        .spawn(move || {
            let outcome = runtime.block_on(carry(listener, served));
            // Not waited for: a look-up of a name may hang.
            runtime.shutdown_background();
            // Nobody listens any more when the agent was dropped.
            drop(ended.send(outcome.map_err(|error| error.to_string())));
        })?;
    Ok(end)
}

/// Accepts until it is stopped, and runs what was begun until it is released.
async fn carry(listener: TcpListener, served: Served) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let Served {
        acceptor,
        certificates,
        requests,
        stop,
        release,
    } = served;
    match certificates {
        None => serve(listener, acceptor, requests, stop).await,
        Some(certificates) => {
            let listener = TlsListener::new(listener, certificates);
            serve(listener, acceptor, requests, stop).await;
        }
    }
    release.cancelled().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_a_port_that_nobody_else_gets() {
        let (listeners, bound) = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(bound.port(), 0);
        for listener in &listeners {
            assert_eq!(listener.local_addr().unwrap(), bound);
        }
        let second = listen(bound, 3).map(drop).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        listen(bound, 1).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn connections_are_spread_over_the_listeners() {
        let (listeners, bound) = listen("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let mut clients = Vec::new();
        // Of a thousand thrown coins none falls on the same side each time.
        let mut heard = [false; 2];
        while heard != [true; 2] && clients.len() < 1_000 {
            clients.push(std::net::TcpStream::connect(bound).unwrap());
            for (heard, listener) in heard.iter_mut().zip(&listeners) {
                *heard |= listener.accept().is_ok();
            }
        }
        assert_eq!(heard, [true; 2], "a listener never hears of anybody");
    }
}
