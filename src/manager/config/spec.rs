//! What the manager's file means, with nothing left open. Built by [`crate::manager::config::reading`] only.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::units::name::UnitName;
use crate::units::spec::{HostPort, HttpUrl};

/// All of it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where requests come in; at least one.
    pub listen: Vec<SocketAddr>,
    /// Whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// The access log.
    pub access_log: AccessFormat,
    /// For what is open after TERM.
    pub shutdown_timeout: Duration,
    /// The private listener.
    pub admin: Admin,
    /// Of clients.
    pub timeouts: Timeouts,
    /// Of clients and answers.
    pub limits: Limits,
    /// `None`: nothing is done about it.
    pub cors: Option<Cors>,
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// By name.
    pub services: BTreeMap<String, Arc<Service>>,
}

/// The private listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `None`: off.
    pub listen: Option<SocketAddr>,
    /// The file that holds the token; always there when others than this machine can reach it.
    pub token_file: Option<PathBuf>,
}

/// How long clients may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the head of a request.
    pub header: Duration,
    /// Without a request.
    pub keep_alive: Duration,
    /// Without a byte, in either direction.
    pub client: Duration,
}

/// What is too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of all clients.
    pub connections: usize,
    /// Connections of one client; 0: no limit.
    pub connections_per_client: usize,
    /// Bytes of the head of a request.
    pub header_size: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// Bytes of the body of a request; 0: no limit.
    pub body_size: u64,
    /// Bytes of the head of an answer.
    pub response_header_size: usize,
}

/// Which pages of other origins may read answers.
#[derive(Clone, Debug)]
pub struct Cors {
    /// `"*"` stands among the origins; without credentials then.
    pub any_origin: bool,
    /// Exactly as browsers send them.
    pub origins: Vec<String>,
    /// Anchored at both ends.
    pub patterns: Vec<regex_lite::Regex>,
    /// Cookies may be sent along.
    pub credentials: bool,
    /// Joined by commas.
    pub methods: String,
    /// Joined by commas; empty: whichever are asked for.
    pub headers: String,
    /// Joined by commas.
    pub expose: String,
    /// How long preflights are remembered.
    pub max_age: Duration,
    /// `Access-Control-Allow-Private-Network`.
    pub private_network: bool,
}

/// One origin of `allow_origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginName {
    /// `"*"`.
    Any,
    /// This one.
    Exactly(String),
}

/// Which requests go to which service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// In small letters; `*.` in front for every name below. `None`: every host.
    pub host: Option<String>,
    /// Begins with a slash.
    pub path: String,
    /// This path and no other.
    pub exact: bool,
    /// It is there and takes HTTP.
    pub service: String,
    /// What takes the place of `path`.
    pub rewrite: Option<String>,
    /// Bytes of a body; 0: no limit. `None`: as the limits say.
    pub body_size: Option<u64>,
    /// Other than of the service.
    pub response_timeout: Option<Duration>,
}

/// What requests go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// As it is called.
    pub name: String,
    /// Where its instances are.
    pub targets: Vec<Target>,
    /// Where they are found by Docker, if they are.
    pub discover: Option<Discover>,
    /// Which is next.
    pub balance: Balance,
    /// For [`Balance::Hash`].
    pub hash_on: HashOn,
    /// Name of the cookie.
    pub sticky: Option<String>,
    /// Of one request.
    pub retries: usize,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Until the head of an answer; zero: no limit.
    pub response_timeout: Duration,
    /// Within an answer; zero: no limit.
    pub idle_timeout: Duration,
    /// Kept, of each instance.
    pub idle_connections: usize,
    /// For so long.
    pub idle_connection_timeout: Duration,
    /// In small letters.
    pub upgrade: Vec<String>,
    /// Zero: never.
    pub upgrade_timeout: Duration,
    /// Zero: at once.
    pub slow_start: Duration,
    /// `None`: what requests show is all that is known.
    pub health: Option<Health>,
    /// For what answers are.
    pub eject: Eject,
    /// Requests wait.
    pub park: Park,
    /// How its svinit is reached.
    pub control: Option<Control>,
    /// What is done when it is not well. Without [`Service::control`] there is only the alert.
    pub recovery: Recovery,
}

impl Service {
    /// Whether routes may lead there.
    #[must_use]
    pub fn is_http(&self) -> bool {
        self.discover.is_some() || self.targets.iter().any(|target| target.is_http)
    }
}

/// Where instances are: one address, or a name with as many as it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address, and port.
    pub at: HostPort,
    /// Else it is watched only.
    pub is_http: bool,
}

/// Instances by Compose service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discover {
    /// In the Compose file.
    pub compose_service: String,
    /// `None`: the manager's own.
    pub project: Option<String>,
    /// Of each container.
    pub port: u16,
}

/// Which instance is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest requests.
    LeastConnections,
    /// The same for the same.
    Hash,
}

/// What is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    Client,
    /// The path of the request.
    Path,
    /// This header; without it the client's address.
    Header(String),
    /// This cookie; without it the client's address.
    Cookie(String),
}

/// How instances are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is done.
    pub check: Check,
    /// Another port than the one that serves.
    pub port: Option<u16>,
    /// While it is well.
    pub interval: Duration,
    /// While it is not.
    pub unhealthy_interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// Failures in a row.
    pub fall: u32,
    /// Successes in a row.
    pub rise: u32,
}

/// One way to check an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// GET of this path.
    Http(String),
    /// A connection.
    Tcp,
    /// What svinit says of this unit, on port 9500.
    Svinit(UnitName),
    /// A handshake as this user.
    Mysql(String),
    /// What the unit's own check in its container says, by its control.
    Exec,
}

/// When an instance is left out for its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eject {
    /// In a row; 0: never.
    pub failures: u32,
    /// The first time; the second time twice as long, and so on.
    pub duration: Duration,
    /// At most.
    pub duration_max: Duration,
    /// Of a hundred instances.
    pub percent: u32,
}

/// Requests that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Park {
    /// At a time.
    pub max_requests: usize,
    /// Each.
    pub timeout: Duration,
}

/// How the svinit of a service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// By what.
    pub reach: Reach,
    /// The unit that serves.
    pub unit: UnitName,
}

/// The three ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `svctl` is executed in this container, or in each that is discovered.
    Docker {
        /// Its name.
        container: Option<String>,
    },
    /// The control socket.
    Socket {
        /// Where it is.
        path: PathBuf,
    },
    /// Over TCP.
    Api {
        /// Where it is.
        url: HttpUrl,
        /// The file that holds the token.
        token_file: PathBuf,
    },
}

/// Their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// [`Reach::Docker`].
    Docker,
    /// [`Reach::Socket`].
    Socket,
    /// [`Reach::Api`].
    Api,
}

/// What is done when a service is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// One after the other; never empty.
    pub ladder: Vec<Rung>,
    /// Between two.
    pub cooldown: Duration,
    /// Before the first.
    pub grace: Duration,
    /// Services without which it cannot be well; all are there.
    pub needs: Vec<String>,
}

/// One thing that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// `svctl reload UNIT`.
    Reload,
    /// `svctl restart UNIT`.
    RestartUnit,
    /// `svctl restart --with-dependents UNIT`.
    RestartDependents,
    /// The container is restarted.
    RestartContainer,
    /// People are told.
    Alert,
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// Its first address.
    pub address: IpAddr,
    /// Bits that are the same.
    pub length: u8,
}

/// How requests are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// A line for people.
    Text,
    /// A line for programs.
    Json,
    /// Not at all.
    Off,
}
