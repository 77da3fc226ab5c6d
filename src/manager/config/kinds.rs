//! The kinds of values that only the manager's file has, and the two kinds of table that units do not have: a list of
//! tables (`[[route]]`) and tables by name (`[service.NAME]`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use toml::de::{DeTable, DeValue};

use crate::manager::config::spec::{AccessFormat, Balance, Cidr, Driver, HashOn, OriginName, Rung, Target};
use crate::manager::path;
use crate::units::overlay::View;
use crate::units::problem::quoted;
use crate::units::source::Place;
use crate::units::spec::HostPort;
use crate::units::table::{
    Bad, Field, Item, KeyInfo, Keys, Reader, Shape, Shower, Value, bare_or_quoted, toml_string,
};
use crate::units::value::{Word, Words};

/// Tables of one list, or of one name; more are no configuration of a gateway.
pub const TABLES_MAX: usize = 1000;

/// A list of tables: `[[route]]`.
#[derive(Clone, Debug)]
pub struct Tables<T>(pub Vec<(T, Place)>);

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Keys + Clone> Field for Tables<T> {
    fn read(view: &View<'_>, key: &'static str, reader: &mut Reader<'_>) -> Self {
        let mut out = Self::default();
        for item in view.found(key).items {
            let Some(list) = list(item) else {
                let help = matches!(item.value, DeValue::Table(_))
                    .then(|| format!("write [[{key}]], twice the brackets"));
                reader.wrong(item, &Self::shape(), Bad::help(help));
                continue;
            };
            for value in list {
                let item = Item::new(item.at.source, value);
                let Some(table) = table(item) else {
                    reader.wrong(item, &Shape::Table(&[]), Bad::default());
                    continue;
                };
                if out.0.len() == TABLES_MAX {
                    reader.error(item.at, format!("there are more than {TABLES_MAX} of these"));
                    return out;
                }
                let below =
                    View { name: key.to_owned(), at: Some(item.at), layers: vec![(item.at.source, table)] };
                out.0.push((T::read(&below, reader), item.at));
            }
        }
        out
    }

    fn fill(&mut self, base: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&base.0);
        }
    }

    fn show(&self, info: &KeyInfo, out: &mut Shower) {
        for (table, _) in &self.0 {
            out.header(info.name);
            table.show(out);
        }
    }

    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }

    fn shape() -> Shape {
        Shape::List(Box::new(Shape::Table(T::KEYS)))
    }
}

/// Tables whose names the user chooses: `[service.backend]`.
#[derive(Clone, Debug)]
pub struct Named<T>(pub BTreeMap<String, (T, Place)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Keys + Clone> Field for Named<T> {
    fn read(view: &View<'_>, key: &'static str, reader: &mut Reader<'_>) -> Self {
        let mut out = Self::default();
        let Some(view) = view.table(key, reader) else { return out };
        for name in view.names() {
            let Some(at) = view.place_of(name) else { continue };
            for item in view.found(name).items {
                let Some(table) = table(item) else {
                    let help = format!("write [{key}.NAME], and its keys below that");
                    reader.wrong(item, &Shape::Table(&[]), Bad::help(Some(help)));
                    continue;
                };
                if out.0.len() == TABLES_MAX {
                    reader.error(item.at, format!("there are more than {TABLES_MAX} of these"));
                    return out;
                }
                let below = View {
                    name: format!("{key}.{name}"),
                    at: Some(at),
                    layers: vec![(item.at.source, table)],
                };
                out.0.insert(name.to_owned(), (T::read(&below, reader), at));
            }
        }
        out
    }

    fn fill(&mut self, base: &Self) {
        for (name, value) in &base.0 {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    fn show(&self, info: &KeyInfo, out: &mut Shower) {
        for (name, (table, _)) in &self.0 {
            out.line(&format!("# {}.{}", info.name, bare_or_quoted(name)), "{}");
            table.show(out);
        }
    }

    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }

    fn shape() -> Shape {
        Shape::Map(Box::new(Shape::Table(T::KEYS)))
    }
}

fn list<'a>(item: Item<'a>) -> Option<&'a toml::de::DeArray<'a>> {
    if let DeValue::Array(list) = item.value { Some(list) } else { None }
}

fn table<'a>(item: Item<'a>) -> Option<&'a DeTable<'a>> {
    if let DeValue::Table(table) = item.value { Some(table) } else { None }
}

/// One address to listen on, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners(pub Vec<SocketAddr>);

impl Value for Listeners {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(items) = list(item) else {
            return Address::read(item, reader).map(|one| Self(vec![one.0]));
        };
        let all: Vec<Option<SocketAddr>> = items
            .iter()
            .map(|value| Address::read(Item::new(item.at.source, value), reader).map(|one| one.0))
            .collect();
        if all.is_empty() {
            reader.error(item.at, "there is no address to listen on");
            return None;
        }
        all.into_iter().collect::<Option<_>>().map(Self)
    }

    fn show(&self) -> String {
        let all: Vec<String> = self.0.iter().map(|at| toml_string(&at.to_string())).collect();
        if all.len() == 1 { all.concat() } else { format!("[{}]", all.join(", ")) }
    }

    fn shape() -> Shape {
        Shape::Any(vec![Address::shape(), Shape::List(Box::new(Address::shape()))])
    }
}

/// An address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address(SocketAddr);

impl Word for Address {
    const EXPECTED: &'static str = "an address and port like \"0.0.0.0:80\" or \"[::]:80\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        text.parse().map(Self).map_err(|_| {
            let port = text.strip_prefix(':').unwrap_or(text);
            Bad::help(
                port.parse::<u16>().ok().map(|port| format!("write \"0.0.0.0:{port}\" for every address")),
            )
        })
    }

    fn print(&self) -> String {
        self.0.to_string()
    }

    fn help_bare(number: i64) -> Option<String> {
        (1..=65_535).contains(&number).then(|| format!("write \"0.0.0.0:{number}\""))
    }
}

impl Word for Cidr {
    const EXPECTED: &'static str = "an address or network like \"10.0.0.0/8\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        Self::parse(text).map_err(Bad::why)
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `fd00::/8` or one address.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, length) =
            text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| "it begins with an address".to_owned())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(text) => text
                .parse()
                .ok()
                .filter(|length| *length <= most)
                .ok_or_else(|| format!("after the slash comes a number from 0 to {most}"))?,
        };
        let cidr = Self { address, length };
        if cidr.masked(address) != bits_of(address) {
            return Err("bits are set behind its length".to_owned());
        }
        Ok(cidr)
    }

    /// Whether `address` is one of these. An IPv4 address that came over an IPv6 socket is what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == bits_of(self.address)
    }

    fn masked(&self, address: IpAddr) -> u128 {
        let most: u32 = if address.is_ipv4() { 32 } else { 128 };
        let behind = most - u32::from(self.length).min(most);
        bits_of(address).checked_shr(behind).and_then(|bits| bits.checked_shl(behind)).unwrap_or(0)
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => u128::from(u32::from(four)),
        IpAddr::V6(six) => u128::from(six),
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Word for Target {
    const EXPECTED: &'static str = "an address like \"http://backend:8000\", or \"tcp://database:3306\"";
    const PATTERN: Option<&'static str> = Some("^(http|tcp)://");

    fn parse(text: &str) -> Result<Self, Bad> {
        let (is_http, rest) = match (text.strip_prefix("http://"), text.strip_prefix("tcp://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ if text.starts_with("https://") => {
                return Err(Bad::why("the way to services is plain http, inside their network"));
            }
            _ => {
                let guess = HostPort::parse(text).is_ok().then(|| format!("write \"http://{text}\""));
                return Err(Bad::help(guess));
            }
        };
        if let Some(at) = rest.find(['/', '?', '#']) {
            let help = format!(
                "write \"{}://{}\"; a path is changed by rewrite of a [[route]]",
                if is_http { "http" } else { "tcp" },
                &rest[..at]
            );
            return Err(Bad { why: Some("a path cannot stand here".to_owned()), help: Some(help) });
        }
        let with_port =
            if is_http && HostPort::parse(rest).is_err() && HostPort::parse(&format!("{rest}:80")).is_ok() {
                format!("{rest}:80")
            } else {
                rest.to_owned()
            };
        HostPort::parse(&with_port).map(|at| Self { at, is_http }).map_err(Bad::why)
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_http { "http" } else { "tcp" }, self.at)
    }
}

/// A path of requests, as it is after it was brought into its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePath(pub String);

impl Word for RoutePath {
    const EXPECTED: &'static str = "a path like \"/api/\"";
    const PATTERN: Option<&'static str> = Some("^/[^?#]*$");

    fn parse(text: &str) -> Result<Self, Bad> {
        if !text.starts_with('/') {
            return Err(Bad::help(Some(format!("write \"/{text}\""))));
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
            return Err(Bad::why(format!("{bad:?} cannot stand in it")));
        }
        match path::normal(text) {
            Ok(normal) if normal == text => Ok(Self(text.to_owned())),
            Ok(normal) => Err(Bad {
                why: Some("requests are compared in their normal form, which is another".to_owned()),
                help: Some(format!("write \"{normal}\"")),
            }),
            Err(why) => Err(Bad::why(why.to_string())),
        }
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// A path and perhaps a query that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedPath(pub String);

impl Word for AskedPath {
    const EXPECTED: &'static str = "a path like \"/health\"";
    const PATTERN: Option<&'static str> = Some("^/");

    fn parse(text: &str) -> Result<Self, Bad> {
        if !text.starts_with('/') {
            let help = text
                .starts_with("http://")
                .then(|| "write the path alone: each instance is asked".to_owned());
            return Err(Bad { why: Some("it begins with \"/\"".to_owned()), help });
        }
        match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
            Some(bad) => Err(Bad::why(format!("{bad:?} cannot stand in it"))),
            None => Ok(Self(text.to_owned())),
        }
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// A host name that requests ask for, `*.` in front of it for all names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteHost(pub String);

impl Word for RouteHost {
    const EXPECTED: &'static str = "a host name like \"app.example\" or \"*.app.example\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_literal = text.starts_with('[') && text.ends_with(']');
        if is_literal || (!name.is_empty() && name.len() <= 253 && name.chars().all(is_name)) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let why =
            if text.contains(':') { "the port is not looked at: leave it out" } else { "it is no host name" };
        Err(Bad::why(why))
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

impl Word for OriginName {
    const EXPECTED: &'static str = "an origin like \"https://app.example\", or \"*\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text == "null" {
            return Err(Bad::why("\"null\" is what every sandboxed page sends, so it would be everybody"));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| Bad::help(Some(format!("write \"https://{text}\""))))?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
        if !is_scheme {
            return Err(Bad::why("the scheme is in small letters"));
        }
        if let Some(host) = rest.strip_suffix('/') {
            return Err(Bad {
                why: Some("an origin has no path".to_owned()),
                help: Some(format!("write \"{scheme}://{host}\"")),
            });
        }
        if rest.contains(['/', '?', '#', '@', '*']) {
            return Err(Bad::why(
                "an origin is a scheme, a host and perhaps a port; for more there is allow_origin_patterns",
            ));
        }
        if rest.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(Bad::help(Some(format!(
                "browsers send it in small letters: write \"{}\"",
                text.to_ascii_lowercase()
            ))));
        }
        let usual = match scheme {
            "http" => rest.strip_suffix(":80"),
            "https" => rest.strip_suffix(":443"),
            _ => None,
        };
        if let Some(host) = usual {
            return Err(Bad::help(Some(format!(
                "browsers leave the usual port out: write \"{scheme}://{host}\""
            ))));
        }
        let named = if HostPort::parse(rest).is_ok() { rest.to_owned() } else { format!("{rest}:1") };
        HostPort::parse(&named).map(|_| Self::Exactly(text.to_owned())).map_err(Bad::why)
    }

    fn print(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Exactly(origin) => origin.clone(),
        }
    }
}

/// A name as HTTP has them: of a header, a method, a cookie or a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(pub String);

impl Word for Token {
    const EXPECTED: &'static str = "a name like \"X-Total\"";
    const PATTERN: Option<&'static str> = Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$");

    fn parse(text: &str) -> Result<Self, Bad> {
        if !text.is_empty() && text.len() <= 128 && text.bytes().all(path::is_token) {
            return Ok(Self(text.to_owned()));
        }
        Err(Bad::why("it has letters, digits and some signs, and no space"))
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

impl Word for HashOn {
    const EXPECTED: &'static str = "\"client\", \"path\", \"header:NAME\" or \"cookie:NAME\"";
    const PATTERN: Option<&'static str> = Some("^(client|path|header:.+|cookie:.+)$");

    fn parse(text: &str) -> Result<Self, Bad> {
        match text.split_once(':') {
            None if text == "client" => Ok(Self::Client),
            None if text == "path" => Ok(Self::Path),
            Some(("header", name)) => Token::parse(name).map(|name| Self::Header(name.0)),
            Some(("cookie", name)) => Token::parse(name).map(|name| Self::Cookie(name.0)),
            _ => Err(Bad::default()),
        }
    }

    fn print(&self) -> String {
        match self {
            Self::Client => "client".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Header(name) => format!("header:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
        }
    }
}

impl Words for Balance {
    const ALL: &'static [(&'static str, Self)] = &[
        ("round-robin", Self::RoundRobin),
        ("least-connections", Self::LeastConnections),
        ("hash", Self::Hash),
    ];
}

impl Words for AccessFormat {
    const ALL: &'static [(&'static str, Self)] =
        &[("text", Self::Text), ("json", Self::Json), ("off", Self::Off)];
}

impl Words for Driver {
    const ALL: &'static [(&'static str, Self)] =
        &[("docker", Self::Docker), ("socket", Self::Socket), ("api", Self::Api)];
}

impl Words for Rung {
    const ALL: &'static [(&'static str, Self)] = &[
        ("reload", Self::Reload),
        ("restart-unit", Self::RestartUnit),
        ("restart-dependents", Self::RestartDependents),
        ("restart-container", Self::RestartContainer),
        ("alert", Self::Alert),
    ];
}

/// What is said of a service's name that cannot be one.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain)
    {
        return Ok(());
    }
    Err(format!("{} is no name of a service: 1 to 64 letters, digits, \".\", \"_\" and \"-\"", quoted(name)))
}
