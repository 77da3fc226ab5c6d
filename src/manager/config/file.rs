//! The file format of `manager.toml`: every key, its meaning, its default.
//!
//! This is the one place where a key is described, as [`crate::units::file`] is for units: the decoding, the words of
//! its errors and the reference in `docs/manager.md` come from it.

use crate::manager::config::kinds::{AskedPath, Listeners, Named, RouteHost, RoutePath, Tables, Token};
use crate::manager::config::spec::{AccessFormat, Balance, Cidr, Driver, HashOn, OriginName, Rung, Target};
use crate::units::name::UnitName;
use crate::units::spec::HttpUrl;
use crate::units::table::{Key, Table, table};
use crate::units::value::{AbsolutePath, Choice, Int, Lasting, List, Listen, Pattern, Size};

table! {
    /// `manager.toml`.
    pub struct ManagerFile {
        /// Where requests come in: an address and port, or a list of them.
        listen: Key<Listeners> = "\"0.0.0.0:80\"", AtOnce;
        /// Addresses and networks of proxies in front of this one. Only from them are `X-Forwarded-*` and `X-Request-Id` believed.
        trusted_proxies: Key<List<Cidr>> = "[]", AtOnce;
        /// One line a request on standard output: `text`, `json` or `off`.
        access_log: Key<Choice<AccessFormat>> = "\"text\"", AtOnce;
        /// After TERM: how long requests and connections that are open may take to end.
        shutdown_timeout: Key<Lasting> = "\"9s\"", AtOnce;
        /// The private listener.
        admin: Table<AdminTable>, Within;
        /// How long a client may take.
        timeouts: Table<TimeoutsTable>, Within;
        /// What is too much.
        limits: Table<LimitsTable>, Within;
        /// Which pages of other origins may read answers. Without `allow_origins` and `allow_origin_patterns` nothing is done
        /// about it, and what a service says passes as it is.
        cors: Table<CorsTable>, Within;
        /// Which requests go to which service. Of those that match, the most exact host wins, then an exact path, then the
        /// longest prefix.
        route: Tables<RouteTable>, AtOnce;
        /// What requests go to.
        service: Named<ServiceTable>, AtOnce;
    }
}

table! {
    /// `[admin]`.
    pub struct AdminTable {
        /// Address of the private listener, or `"off"`. One that is not of this machine alone needs `token_file`.
        listen: Key<Listen> = "\"off\"", AtOnce;
        /// A file with the token that callers send as `Authorization: Bearer TOKEN`.
        token_file: Key<AbsolutePath> => "no token", AtOnce;
    }
}

table! {
    /// `[timeouts]`.
    pub struct TimeoutsTable {
        /// From the first byte of a request to the end of its head.
        header: Key<Lasting<100>> = "\"10s\"", AtOnce;
        /// A connection on which nothing is asked is kept open so long.
        keep_alive: Key<Lasting<100>> = "\"60s\"", AtOnce;
        /// The longest pause of a client that sends a body, or that does not take what it is sent.
        client: Key<Lasting<100>> = "\"30s\"", AtOnce;
    }
}

table! {
    /// `[limits]`.
    pub struct LimitsTable {
        /// Connections of all clients; more wait in the kernel's queue.
        connections: Key<Int<1, 1_000_000>> = "10000", Boot;
        /// Connections of one client address, of IPv6 of one /64; more are closed at once. 0: no limit.
        connections_per_client: Key<Int<0, 1_000_000>> = "0", AtOnce;
        /// The head of a request; a larger one is answered with 431.
        header_size: Key<Size<1024>> = "\"16K\"", AtOnce;
        /// Header lines of a request; more are answered with 431.
        headers: Key<Int<1, 1000>> = "100", AtOnce;
        /// The body of a request; a larger one is answered with 413. `"0"`: no limit.
        body_size: Key<Size> = "\"0\"", AtOnce;
        /// The head of an answer; a larger one becomes 502.
        response_header_size: Key<Size<1024>> = "\"64K\"", AtOnce;
    }
}

table! {
    /// `[cors]`.
    pub struct CorsTable {
        /// Origins, exactly as browsers send them; `"*"` is all of them, without credentials.
        allow_origins: Key<List<OriginName>> = "[]", AtOnce;
        /// Regular expressions of further origins, which match the whole of it.
        allow_origin_patterns: Key<List<Pattern>> = "[]", AtOnce;
        /// Cookies and authorization may be sent along.
        allow_credentials: Key<bool> = "false", AtOnce;
        /// Methods that preflights are told.
        allow_methods: Key<List<Token>> = "[\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\", \"OPTIONS\"]", AtOnce;
        /// Headers that preflights are told; empty: whichever the preflight asks for.
        allow_headers: Key<List<Token>> = "[]", AtOnce;
        /// Headers of answers that pages may read.
        expose_headers: Key<List<Token>> = "[]", AtOnce;
        /// How long a browser may remember a preflight.
        max_age: Key<Lasting> = "\"10m\"", AtOnce;
        /// Allow pages of the open network to ask this one in a private network.
        allow_private_network: Key<bool> = "false", AtOnce;
    }
}

table! {
    /// One of `[[route]]`.
    pub struct RouteTable {
        /// Name that is asked for, without the port. `*.` in front stands for every name below it.
        host: Key<RouteHost> => "every host", AtOnce;
        /// The path, or what it begins with: whole parts of it, so `/api` is not the beginning of `/apis`.
        path: Key<RoutePath> = "\"/\"", AtOnce;
        /// The path and no other.
        exact: Key<bool> = "false", AtOnce;
        /// The service that answers, by its name.
        service: Key<String> => "must be there", AtOnce;
        /// Take `path` away before the service is asked.
        strip: Key<bool> = "false", AtOnce;
        /// Put this in the place of `path` before the service is asked.
        rewrite: Key<RoutePath> => "as it was asked", AtOnce;
        /// Other than in `[limits]`.
        body_size: Key<Size> => "as `[limits]` says", AtOnce;
        /// Other than of the service.
        response_timeout: Key<Lasting> => "as the service says", AtOnce;
    }
}

table! {
    /// One of `[service.NAME]`.
    pub struct ServiceTable {
        /// Where its instances are. A name is looked up again and again, and each of its addresses is an instance. With
        /// `tcp://` it is watched and no route leads there.
        targets: Key<List<Target>> => "`discover` is there instead", AtOnce;
        /// Instances by Compose service.
        discover: Table<DiscoverTable>, Within;
        /// Which instance is next: each in turn, the one with the fewest requests, or always the same for the same `hash_on`.
        balance: Key<Choice<Balance>> = "\"round-robin\"", AtOnce;
        /// What `balance = "hash"` goes by.
        hash_on: Key<HashOn> = "\"client\"", AtOnce;
        /// Name of a cookie that keeps a client at its instance as long as that is well.
        sticky: Key<Token> => "no cookie", AtOnce;
        /// How often a request is tried again, where that is safe: before any of it was sent, or when it can be
        /// repeated, has no body that is gone, and nothing of an answer has come.
        retries: Key<Int<0, 10>> = "2", AtOnce;
        /// Longest time until a connection stands.
        connect_timeout: Key<Lasting<1>> = "\"2s\"", AtOnce;
        /// Longest time from the end of the request to the head of the answer; `"0"`: no limit.
        response_timeout: Key<Lasting> = "\"60s\"", AtOnce;
        /// Longest pause within an answer, or of a service that does not take what it is sent; `"0"`: no limit.
        idle_timeout: Key<Lasting> = "\"10m\"", AtOnce;
        /// Connections that are kept for later requests, of each instance.
        idle_connections: Key<Int<0, 10_000>> = "64", AtOnce;
        /// How long they are kept. Shorter than the service itself keeps them.
        idle_connection_timeout: Key<Lasting> = "\"30s\"", AtOnce;
        /// Protocols a connection may be switched to. `[]`: none.
        upgrade: Key<List<Token>> = "[\"websocket\"]", AtOnce;
        /// An upgraded connection on which nothing moves is closed after this; `"0"`: never.
        upgrade_timeout: Key<Lasting> = "\"0\"", AtOnce;
        /// An instance that has become well gets its full share after this; `"0"`: at once.
        slow_start: Key<Lasting> = "\"0\"", AtOnce;
        /// How each instance is asked whether it is well.
        health: Table<HealthTable>, Within;
        /// When an instance is left out for what its answers to requests are.
        eject: Table<EjectTable>, Within;
        /// Requests wait while no instance can take them.
        park: Table<ParkTable>, Within;
        /// How the svinit in its container is reached.
        control: Table<ControlTable>, Within;
        /// What is done when it is not well.
        recovery: Table<RecoveryTable>, Within;
    }
}

table! {
    /// `discover` of a service.
    pub struct DiscoverTable {
        /// Its name in the Compose file. Who takes requests is looked up by it every other second, whom recovery looks
        /// after is asked of the Docker engine, where there is one, every five; and both at once when the engine tells
        /// that a container has started or ended.
        compose_service: Key<Token> => "must be there", AtOnce;
        /// Of a Compose project other than the manager's own.
        project: Key<Token> => "the manager's own", AtOnce;
        /// Where each container serves.
        port: Key<Int<1, 65_535>> => "must be there", AtOnce;
    }
}

table! {
    /// `health` of a service.
    pub struct HealthTable {
        /// GET of this path is answered with a status of 200 to 399.
        http: Key<AskedPath> => "no such check", AtOnce;
        /// A connection is accepted.
        tcp: Key<bool> => "no such check", AtOnce;
        /// The svinit of its container says on its port 9500 that this unit is well.
        svinit: Key<UnitName> => "no such check", AtOnce;
        /// The server lets this user in, or says that it does not: a whole handshake of MySQL or MariaDB, without a password.
        mysql: Key<Token> => "no such check", AtOnce;
        /// What the unit's own check says, which runs in its container (`[health]` there); asked by the driver of `control`.
        exec: Key<bool> => "no such check", AtOnce;
        /// Ask this port rather than the one that serves.
        port: Key<Int<1, 65_535>> => "the one that serves", AtOnce;
        /// Between two checks of an instance that is well.
        interval: Key<Lasting<50>> = "\"10s\"", AtOnce;
        /// Between two checks of one that is not, or of which nothing is known.
        unhealthy_interval: Key<Lasting<50>> = "\"2s\"", AtOnce;
        /// Longest time for one check.
        timeout: Key<Lasting<1>> = "\"3s\"", AtOnce;
        /// So many failures in a row, and it is not well.
        retries: Key<Int<1, 1000>> = "3", AtOnce;
        /// So many successes in a row, and it is well again. For the first time one is enough.
        rise: Key<Int<1, 1000>> = "2", AtOnce;
    }
}

table! {
    /// `eject` of a service. The last instance that is left is never ejected.
    pub struct EjectTable {
        /// So many failures in a row: 500 to 599, no answer, a broken one. 0: never.
        failures: Key<Int<0, 10_000>> = "5", AtOnce;
        /// For so long, and so much longer each further time.
        duration: Key<Lasting<1>> = "\"30s\"", AtOnce;
        /// At most.
        duration_max: Key<Lasting<1>> = "\"5m\"", AtOnce;
        /// At most so many of a hundred instances at a time, but always one.
        percent: Key<Int<1, 100>> = "50", AtOnce;
    }
}

table! {
    /// `park` of a service.
    pub struct ParkTable {
        /// So many requests wait at a time; more are answered with 503. 0: none waits.
        max_requests: Key<Int<0, 100_000>> = "200", AtOnce;
        /// Each so long at most; then it is answered with 503.
        timeout: Key<Lasting> = "\"10s\"", AtOnce;
    }
}

table! {
    /// `control` of a service.
    pub struct ControlTable {
        /// `docker`: `svctl` is executed in the container. `socket`: the control socket lies on a volume of both. `api`: over TCP.
        driver: Key<Choice<Driver>> => "it is not reached", AtOnce;
        /// With `docker`: the container's name; with `discover` it is known.
        container: Key<Token> => "as `discover` finds", AtOnce;
        /// The unit that serves.
        unit: Key<UnitName> => "the name of the service", AtOnce;
        /// With `socket`: where it is.
        path: Key<AbsolutePath> => "for `socket` only", AtOnce;
        /// With `api`: the address of the control API.
        url: Key<HttpUrl> => "for `api` only", AtOnce;
        /// With `api`: a file with the token.
        token_file: Key<AbsolutePath> => "for `api` only", AtOnce;
    }
}

table! {
    /// `recovery` of a service.
    pub struct RecoveryTable {
        /// What is tried, one after the other.
        ladder: Key<List<Choice<Rung>>> = "[\"reload\", \"restart-unit\", \"alert\"]", AtOnce;
        /// Between two rungs, and after the last one before it begins again.
        cooldown: Key<Lasting> = "\"30s\"", AtOnce;
        /// How long it may become well by itself before anything is done.
        grace: Key<Lasting> = "\"5s\"", AtOnce;
        /// Services without which it cannot be well. While one of them is not, nothing is done about it.
        needs: Key<List<Token>> = "[]", AtOnce;
    }
}

#[cfg(test)]
mod tests;
