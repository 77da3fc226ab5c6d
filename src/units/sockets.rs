//! `[sockets]`: from texts to sockets in the order in which they are handed over, and back.
//!
//! The order matters: the first is descriptor 3. It is the order in which the names were first written, the lowest layer
//! first, so that a layer which changes a backlog does not renumber what a service was told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use toml::de::DeValue;

use crate::units::file::{KindWord, SocketTable, UnitFile};
use crate::units::links::Drawn;
use crate::units::overlay::View;
use crate::units::problem::quoted;
use crate::units::socket::{
    BACKLOG_DEFAULT, MODE_DEFAULT, SocketAddress, SocketSpec, SocketType, check_name, takes,
};
use crate::units::source::Place;
use crate::units::spec::{DaemonSpec, HTTP_PORT, HostPort};
use crate::units::table::{
    Bad, Field, Item, Key, KeyInfo, Keys, Reader, Shape, Shower, Value, above_the_first, bare_or_quoted,
};
use crate::units::value::{Choice, Int, Mode, Owner, Word, Words};

/// Sockets of one unit; each is a descriptor in every one of its main processes.
const SOCKETS_MAX: usize = 64;

/// The first descriptor that is handed over, by the convention.
pub const FIRST: i32 = 3;

/// What was written, in the order of the descriptors.
#[derive(Clone, Debug, Default)]
pub struct Sockets(pub(crate) Vec<Written>);

/// Where the sockets of a unit were written. Kept beside the unit, not in it: the same unit may stand elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Whom its processes run as, which says as well to whom its unix sockets belong.
    pub user: Option<Place>,
    /// The same of the group.
    pub group: Option<Place>,
    /// By the name of the socket.
    pub sockets: BTreeMap<String, SocketPlace>,
}

/// Where one of them was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketPlace {
    /// Its address.
    pub address: Place,
    /// Its owner, if that was.
    pub owner: Option<Place>,
    /// Its group, if that was.
    pub group: Option<Place>,
}

/// The places of the sockets of `file`; nothing if it has none.
pub(crate) fn places(file: &UnitFile) -> Option<Places> {
    let one = |written: &Written| {
        let SocketTable { owner, group, .. } = &written.keys;
        let found = SocketPlace { address: place(written), owner: owner.at, group: group.at };
        (written.name.clone(), found)
    };
    let sockets: BTreeMap<_, _> = file.sockets.0.iter().map(one).collect();
    (!sockets.is_empty()).then_some(Places { user: file.user.at, group: file.group.at, sockets })
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    name: String,
    /// Where the name stands.
    at: Place,
    keys: SocketTable,
    /// The address has the number of an instance in it.
    is_of_instance: bool,
}

impl Field for Sockets {
    fn read(view: &View<'_>, key: &'static str, reader: &mut Reader<'_>) -> Self {
        let Some(view) = view.table(key, reader) else { return Self::default() };
        Self(in_order(&view).into_iter().filter_map(|name| one(&view, name, reader)).collect())
    }

    fn fill(&mut self, base: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&base.0);
        }
    }

    fn show(&self, info: &KeyInfo, out: &mut Shower) {
        out.header(info.name);
        for Written { name, keys, .. } in &self.0 {
            let mut inner = Shower::default();
            keys.show(&mut inner);
            let text = inner.into_text();
            let set: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            out.line(&bare_or_quoted(name), &format!("{{ {} }}", set.join(", ")));
        }
    }

    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }

    fn shape() -> Shape {
        let address = SocketAddress::shape();
        Shape::Map(Box::new(Shape::Any(vec![address, Shape::Table(SocketTable::KEYS)])))
    }
}

/// The names as they were written, the lowest layer first.
fn in_order<'a>(view: &View<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (_, table) in &view.layers {
        let mut here: Vec<_> = table.keys().collect();
        here.sort_by_key(|key| key.span().start);
        for key in here {
            let name = key.get_ref().as_ref();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// An address, or a table that may change the table of a lower layer key by key.
fn one(view: &View<'_>, name: &str, reader: &mut Reader<'_>) -> Option<Written> {
    let items = view.found(name).items;
    let at = view.place_of(name)?;
    let lone = items.iter().rposition(|item| !matches!(item.value, DeValue::Table(_)));
    let before = reader.notes.len();
    let asked = reader.asked_for_instance.get();
    let mut address = Key::default();
    if let Some(lone) = lone {
        for (number, item) in items.iter().enumerate().take(lone + 1) {
            reader.as_lower(number != lone, |reader| match item.value {
                DeValue::Table(table) => {
                    drop(SocketTable::read(&below(name, &[(item.at.source, table)]), reader))
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => {
                    address = Key { value: SocketAddress::read(*item, reader), at: Some(item.at) };
                }
            });
        }
        if address.value.is_none() && reader.is_top_key(name) && reader.notes.len() > before {
            let last = reader.notes.len() - 1;
            reader.notes[last].help = Some(above_the_first(name));
        }
    }
    let tables: Vec<_> = items[lone.map_or(0, |lone| lone + 1)..]
        .iter()
        .filter_map(|item: &Item<'_>| match item.value {
            DeValue::Table(table) => Some((item.at.source, table)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => None,
        })
        .collect();
    let mut keys = SocketTable::read(&below(name, &tables), reader);
    if !keys.address.is_written() {
        keys.address = address;
    }
    if let Err(why) = check_name(name) {
        reader.error(at, why);
    }
    if !keys.address.is_written() {
        let help = "write address = \"0.0.0.0:8000\", \"[::]:8000\" or \"unix:/run/app.sock\"";
        reader.error_with_help(at, format!("socket {} has no address", quoted(name)), help);
    }
    let is_of_instance = reader.instance.is_some() && reader.asked_for_instance.get() != asked;
    Some(Written { name: name.to_owned(), at, keys, is_of_instance })
}

fn below<'a>(name: &str, layers: &[(usize, &'a toml::de::DeTable<'a>)]) -> View<'a> {
    View { name: format!("sockets.{name}"), at: None, layers: layers.to_vec() }
}

impl Word for SocketAddress {
    const EXPECTED: &'static str =
        "an address like \"0.0.0.0:8000\", \"[::]:8000\" or \"unix:/run/app.sock\"";
    const PATTERN: Option<&'static str> =
        Some(r"^([0-9.]+:[0-9]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]:[0-9]+|unix:/.+)$");

    fn parse(text: &str) -> Result<Self, Bad> {
        Self::parse(text).map_err(|(why, help)| Bad { why, help })
    }

    fn print(&self) -> String {
        self.to_string()
    }

    fn help_bare(number: i64) -> Option<String> {
        (1..=65_535).contains(&number).then(|| format!("write \"0.0.0.0:{number}\""))
    }
}

impl Words for SocketType {
    const ALL: &'static [(&'static str, Self)] = &[("stream", Self::Stream), ("datagram", Self::Datagram)];
}

/// Notes what is wrong with the sockets of one unit, taken by itself.
pub(crate) fn check(file: &UnitFile, is_oneshot: bool, reader: &mut Reader<'_>) {
    let sockets = &file.sockets.0;
    if is_oneshot && let Some(first) = sockets.first() {
        let help = "take [sockets] away, or write type = \"simple\" for a service";
        reader.error_with_help(first.at, "a oneshot serves nobody: it cannot have [sockets]", help);
    }
    if let (Some(first), Some(Choice(KindWord::Forking))) = (sockets.first(), file.r#type.value) {
        let help = "have it stay in the foreground and write type = \"simple\" or \"notify\"; or it has to take them without asking";
        reader.warning(
            first.at,
            "a daemon that forks is never the process that LISTEN_PID names: it finds no [sockets]",
            help,
        );
    }
    check_shell(file, reader);
    if let Some(more) = sockets.get(SOCKETS_MAX) {
        reader.error(more.at, format!("a unit has at most {SOCKETS_MAX} sockets"));
    }
    for written in sockets {
        check_keys(written, reader);
    }
    check_descriptor(file, reader);
    for (name, key) in [("ready", &file.ready.keys.tcp), ("health", &file.health.keys.tcp)] {
        if let (Some(to), Some(at)) = (&key.value, key.at)
            && sockets.iter().any(|written| is_held_at(written, to))
        {
            warn_of_check(name, at, reader);
        }
    }
    for (name, key) in [("ready", &file.ready.keys.unix), ("health", &file.health.keys.unix)] {
        if let (Some(to), Some(at)) = (&key.value, key.at)
            && sockets.iter().any(|written| {
                matches!(&written.keys.address.value, Some(SocketAddress::Unix(path)) if *path == to.0)
            })
        {
            warn_of_check(name, at, reader);
        }
    }
}

/// A shell that stays is the process that `LISTEN_PID` names, and the program that it starts is not.
fn check_shell(file: &UnitFile, reader: &mut Reader<'_>) {
    let written = match (&file.shell, &file.command) {
        (Key { value: Some(line), at: Some(at) }, _) => Some((line, *at)),
        (_, Key { value: Some(argv), at: Some(at) }) => shell_line(&argv.0).map(|line| (line, *at)),
        _ => None,
    };
    if let Some((line, at)) = written
        && !file.sockets.0.is_empty()
        && !line.split(|c: char| c.is_whitespace() || ";&|(){}".contains(c)).any(|word| word == "exec")
        && !NUMBERED.iter().any(|sign| line.contains(sign))
    {
        let message = "LISTEN_PID names the shell, so the program that it starts may find no [sockets]";
        reader.warning(at, message, "write exec in front of the program");
    }
}

/// Signs that a program is told the number of its descriptor, and so does not ask for `LISTEN_PID`.
const NUMBERED: [&str; 5] = ["--fd", "fd://", "fd@", "/dev/fd/", "NGINX="];

/// The line that a command gives to a shell.
fn shell_line(argv: &[String]) -> Option<&String> {
    let [program, flag, line, ..] = argv else { return None };
    let name = program.rsplit('/').next().unwrap_or_default();
    let is_line = flag.starts_with('-') && !flag.starts_with("--") && flag.ends_with('c');
    (["sh", "ash", "bash", "dash", "ksh", "zsh"].contains(&name) && is_line).then_some(line)
}

/// Keys that mean nothing for a socket of this kind.
fn check_keys(written: &Written, reader: &mut Reader<'_>) {
    let SocketTable { address, r#type, backlog, reuse_port, v6only, mode, owner, group, .. } = &written.keys;
    let Some(address) = &address.value else { return };
    let is_unix = matches!(address, SocketAddress::Unix(_));
    let is_v6 = matches!(address, SocketAddress::Inet(at) if at.is_ipv6());
    let is_datagram = r#type.value == Some(Choice(SocketType::Datagram));
    for (at, name) in [(mode.at, "mode"), (owner.at, "owner"), (group.at, "group")] {
        if let (Some(at), false) = (at, is_unix) {
            reader.error(at, format!("{name} is of unix sockets, and {address} is none: it has no file"));
        }
    }
    if let (Some(at), true) = (reuse_port.at, is_unix) {
        reader.error(at, format!("reuse_port is of addresses with a port, and {address} has none"));
    }
    if let (Some(at), false) = (v6only.at, is_v6) {
        reader.error(at, format!("v6only is of IPv6 addresses, and {address} is none"));
    }
    if let (Some(at), true) = (backlog.at, is_datagram) {
        reader.error(at, "backlog is of connections, and a datagram socket has none");
    }
}

/// The descriptor on which the service is to say that it is ready must not be one of the sockets.
fn check_descriptor(file: &UnitFile, reader: &mut Reader<'_>) {
    let (Some(fd), Some(at)) = (file.ready.keys.fd.value, file.ready.keys.fd.at) else { return };
    let sockets = &file.sockets.0;
    let taken = usize::try_from(fd.0 - i64::from(FIRST)).ok().and_then(|place| sockets.get(place));
    if let Some(taken) = taken {
        let free = i64::from(FIRST) + i64::try_from(sockets.len()).unwrap_or(i64::MAX);
        let message = format!("descriptor {} is the socket {} of this unit", fd.0, quoted(&taken.name));
        reader.error_with_help(at, message, format!("sockets come first: write fd = {free}"));
    }
}

/// Whether a connection to `to` comes to this socket. Names are not looked up, but this one everybody knows.
fn is_held_at(written: &Written, to: &HostPort) -> bool {
    let Some(SocketAddress::Inet(at)) = &written.keys.address.value else { return false };
    if at.port() != to.port || written.keys.r#type.value == Some(Choice(SocketType::Datagram)) {
        return false;
    }
    match to.host.parse::<IpAddr>() {
        Ok(ip) => takes(at.ip(), false, ip),
        Err(_) => to.host == "localhost" && (at.ip().is_unspecified() || at.ip().is_loopback()),
    }
}

fn warn_of_check(table: &str, at: Place, reader: &mut Reader<'_>) {
    let message = format!(
        "svinit holds this socket itself, so connecting always succeeds, whether or not anybody serves: \
         this says nothing in [{table}]"
    );
    let help = if table == "ready" { "use http, notify or log" } else { "use http or exec" };
    reader.warning(at, message, help);
}

/// Notes addresses that two sockets, or a socket and svinit itself, cannot both have.
pub(crate) fn check_all(units: &[Drawn], daemon: &DaemonSpec, reader: &mut Reader<'_>) {
    let all: Vec<(&Drawn, &Written)> = units
        .iter()
        .flat_map(|unit| unit.file.sockets.0.iter().map(move |written| (unit, written)))
        .collect();
    for (number, (unit, written)) in all.iter().enumerate() {
        let Some(address) = &written.keys.address.value else { continue };
        if let Some(Some(listen)) = daemon.http_listen
            && address.clashes(kind(written), &SocketAddress::Inet(listen), (SocketType::Stream, false))
        {
            let message = format!("{address} is where svinit itself serves /health, as svinit.toml says");
            reader.error_with_help(place(written), message, "take another address here or there");
        }
        if let Some(listen) = daemon.control_listen
            && address.clashes(kind(written), &SocketAddress::Inet(listen), (SocketType::Stream, false))
        {
            let message =
                format!("{address} is where svinit itself serves the control API, as svinit.toml says");
            reader.error_with_help(place(written), message, "take another address here or there");
        }
        let usual = SocketAddress::Inet(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), HTTP_PORT));
        if daemon.http_listen.is_none() && address.clashes(kind(written), &usual, (SocketType::Stream, false))
        {
            let message =
                format!("{address} is where svinit itself serves /health unless it is told otherwise");
            let help =
                "take another address, or write listen = \"off\" or another one below [http] of svinit.toml";
            reader.warning(place(written), message, help);
        }
        let earlier = all[..number].iter().find(|(other_unit, other)| {
            // One unit would be handed the same socket twice.
            let is_shared = is_sharing(written) && is_sharing(other) && unit.name != other_unit.name;
            let is_one = one_for_all(unit, written) && one_for_all(other_unit, other);
            if is_one && unit.file_name() == other_unit.file_name() && written.name == other.name {
                return false;
            }
            let clash = |at: &SocketAddress| address.clashes(kind(written), at, kind(other));
            !is_shared && other.keys.address.value.as_ref().is_some_and(clash)
        });
        if let Some((other_unit, other)) = earlier {
            let whose = match other_unit.file_name() {
                name if name != unit.file_name() => name.as_str(),
                _ if other_unit.name == unit.name => "this unit",
                _ => "another instance",
            };
            let there = other.keys.address.value.as_ref().map(ToString::to_string).unwrap_or_default();
            let message = if there == address.to_string() {
                format!("{address} is held already, as {} of {whose}", quoted(&other.name))
            } else {
                format!(
                    "{address} cannot be held beside {there}, which is {} of {whose}",
                    quoted(&other.name)
                )
            };
            let help = match address {
                _ if other_unit.name == unit.name => "one of the two is enough, or take another address",
                SocketAddress::Inet(_) => {
                    "take another address, or write reuse_port = true in both, which share the connections then"
                }
                SocketAddress::Unix(_) => "take another path",
            };
            reader.error_with_help(place(written), message, help);
        }
    }
}

/// All instances of its group have it.
fn one_for_all(unit: &Drawn, written: &Written) -> bool {
    unit.instance.is_some() && !written.is_of_instance
}

/// Whether a connection to `to` comes to a socket that all instances of its group have.
pub(crate) fn is_shared_at(unit: &Drawn, to: &HostPort) -> bool {
    unit.file.sockets.0.iter().any(|written| one_for_all(unit, written) && is_held_at(written, to))
}

/// The same of a unix socket.
pub(crate) fn is_shared_path(unit: &Drawn, to: &std::path::Path) -> bool {
    let is_at = |written: &Written| matches!(&written.keys.address.value, Some(SocketAddress::Unix(path)) if path == to);
    unit.file.sockets.0.iter().any(|written| one_for_all(unit, written) && is_at(written))
}

/// Whether svinit holds a socket with this port for the unit.
pub(crate) fn has_port(unit: &Drawn, port: u16) -> bool {
    let is_it = |written: &Written| matches!(&written.keys.address.value, Some(SocketAddress::Inet(at)) if at.port() == port);
    unit.file.sockets.0.iter().any(is_it)
}

fn place(written: &Written) -> Place {
    written.keys.address.at.unwrap_or(written.at)
}

fn kind(written: &Written) -> (SocketType, bool) {
    let r#type = written.keys.r#type.value.map_or(SocketType::Stream, |choice| choice.0);
    (r#type, written.keys.v6only.value == Some(true))
}

fn is_sharing(written: &Written) -> bool {
    written.keys.reuse_port.value == Some(true)
}

/// The sockets of a unit that is sound.
pub(crate) fn specs(sockets: Sockets) -> Vec<SocketSpec> {
    sockets.0.into_iter().filter_map(spec).collect()
}

fn spec(written: Written) -> Option<SocketSpec> {
    let SocketTable { address, r#type, backlog, reuse_port, nonblocking, v6only, mode, owner, group } =
        written.keys;
    Some(SocketSpec {
        name: written.name,
        // A socket without an address is an error, and nothing of a reading with errors is used.
        address: address.value?,
        is_of_instance: written.is_of_instance,
        r#type: r#type.value.map_or(SocketType::Stream, |choice| choice.0),
        backlog: backlog.value.map_or(BACKLOG_DEFAULT, Int::to),
        reuse_port: reuse_port.value.unwrap_or(false),
        nonblocking: nonblocking.value.unwrap_or(false),
        v6only: v6only.value.unwrap_or(false),
        mode: mode.value.map_or(MODE_DEFAULT, |mode| mode.0),
        owner: owner.value.map(|owner| owner.0),
        group: group.value.map(|group| group.0),
    })
}

/// What says that a unit has these sockets: the keys that mean something for each.
pub(crate) fn written(specs: &[SocketSpec]) -> Sockets {
    Sockets(specs.iter().map(written_one).collect())
}

fn written_one(spec: &SocketSpec) -> Written {
    let is_unix = matches!(spec.address, SocketAddress::Unix(_));
    let is_v6 = matches!(spec.address, SocketAddress::Inet(at) if at.is_ipv6());
    let is_stream = spec.r#type == SocketType::Stream;
    fn when<T>(means_something: bool, value: T) -> Key<T> {
        Key { value: means_something.then_some(value), at: None }
    }
    let keys = SocketTable {
        address: Key::of(spec.address.clone()),
        r#type: Key::of(Choice(spec.r#type)),
        backlog: when(is_stream, Int(spec.backlog.into())),
        reuse_port: when(!is_unix, spec.reuse_port),
        nonblocking: when(spec.nonblocking, true),
        v6only: when(is_v6, spec.v6only),
        mode: when(is_unix, Mode(spec.mode)),
        owner: Key { value: spec.owner.clone().map(Owner), at: None },
        group: Key { value: spec.group.clone().map(Owner), at: None },
    };
    let is_of_instance = spec.is_of_instance;
    Written { name: spec.name.clone(), at: Place::whole(0), keys, is_of_instance }
}

#[cfg(test)]
mod tests;
