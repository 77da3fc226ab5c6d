//! Accepts connections, as many as there may be.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::manager::gateway::Gateway;
use crate::manager::probe::words;
use crate::manager::proxy;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;

/// When there are no descriptors left: a pause, since trying again at once would only use up the processor.
const BREATH: Duration = Duration::from_millis(50);

/// Room for connections, over all listeners.
pub struct Seats {
    free: Arc<Semaphore>,
    all: usize,
    by_client: Mutex<BTreeMap<IpAddr, usize>>,
}

/// The place of one connection.
pub struct Seat {
    seats: Arc<Seats>,
    client: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    /// Room for so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let all = most.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self { free: Arc::new(Semaphore::new(all)), all, by_client: Mutex::default() }
    }

    /// Connections that there may be.
    #[must_use]
    pub fn all(&self) -> usize {
        self.all
    }

    /// Connections that are open.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.all.saturating_sub(self.free.available_permits())
    }

    /// Waits until no connection is open.
    pub async fn all_free(&self) {
        // The semaphore is never closed.
        let _ = self.free.acquire_many(u32::try_from(self.all).unwrap_or(u32::MAX)).await;
    }

    /// The place of a connection from `client`, of which there may be `most`; 0 for any number.
    fn take(self: &Arc<Self>, client: IpAddr, most: usize, permit: OwnedSemaphorePermit) -> Option<Seat> {
        if most == 0 {
            return Some(Seat { seats: self.clone(), client: None, _permit: permit });
        }
        let client = network(client);
        let mut all = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(client).or_default();
        if *own >= most {
            return None;
        }
        *own += 1;
        Some(Seat { seats: self.clone(), client: Some(client), _permit: permit })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut all = self.seats.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get_mut(&client) {
            *own -= 1;
            if *own == 0 {
                all.remove(&client);
            }
        }
    }
}

/// One client: of IPv6 everybody has at least a /64 for itself.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from(u128::from(six) >> 64 << 64).into(),
        four @ IpAddr::V4(_) => four,
    }
}

/// Sockets that were held for this process, which are taken rather than opened; see [`crate::os::inherited`].
pub struct Given(Vec<std::net::TcpListener>);

impl Given {
    /// These.
    #[must_use]
    pub fn new(held: Vec<std::net::TcpListener>) -> Self {
        Self(held)
    }

    /// A listener at this address: the one that was held, else a new one.
    ///
    /// # Errors
    /// In words, with the address.
    pub fn listener(&mut self, at: SocketAddr) -> Result<TcpListener, String> {
        let held = self.0.iter().position(|held| held.local_addr().is_ok_and(|own| own == at));
        let listener = match held {
            Some(held) => take(self.0.swap_remove(held)),
            None => open(at),
        };
        listener.map_err(|error| format!("cannot listen on {at}: {}", words(&error)))
    }
}

fn take(held: std::net::TcpListener) -> io::Result<TcpListener> {
    held.set_nonblocking(true)?;
    TcpListener::from_std(held)
}

fn open(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Serves what comes in until `stop`, or until the gateway ends.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    seats: Arc<Seats>,
    mut stop: watch::Receiver<bool>,
) {
    let mut leaving = gateway.leaving();
    let port = listener.local_addr().map_or(0, |at| at.port());
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &seats) => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
            _ = leaving.wait_for(|leaving| *leaving) => return,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let most = gateway.running().config.limits.connections_per_client;
                let Some(seat) = seats.take(peer.ip(), most, permit) else { continue };
                let _ = stream.set_nodelay(true);
                let gateway = gateway.clone();
                tokio::spawn(async move {
                    let _seat = seat;
                    proxy::serve(gateway, stream, peer, port).await;
                });
            }
            Err(error) if is_passing(&error) => {}
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    seats: &Seats,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let Ok(permit) = seats.free.clone().acquire_owned().await else {
        // The semaphore is never closed.
        return std::future::pending().await;
    };
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

/// The client was gone before it was accepted.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
