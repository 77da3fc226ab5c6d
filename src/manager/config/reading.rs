//! From the text to a [`Config`], or every problem with its place.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use toml::de::DeTable;

use crate::manager::config::file::{
    ControlTable, CorsTable, HealthTable, ManagerFile, RouteTable, ServiceTable,
};
use crate::manager::config::kinds::check_name;
use crate::manager::config::spec::{
    Admin, Check, Config, Control, Cors, Discover, Driver, Eject, Health, Limits, OriginName, Park, Reach,
    Recovery, Route, Rung, Service, Timeouts,
};
use crate::units::name::UnitName;
use crate::units::overlay::View;
use crate::units::problem::{Problem, Problems, quoted};
use crate::units::reading::{syntax, told};
use crate::units::source::{Place, Source};
use crate::units::table::{Key, Keys, Note, Reader, defaults};
use crate::units::value::{Choice, List};

static FILE: LazyLock<ManagerFile> = LazyLock::new(defaults);
static ROUTE: LazyLock<RouteTable> = LazyLock::new(defaults);
static SERVICE: LazyLock<ServiceTable> = LazyLock::new(defaults);

/// A sound text, read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What it says.
    pub config: Config,
    /// What looks wrong but stops nothing.
    pub warnings: Vec<Problem>,
}

/// Reads `source`. `env` is the container's environment, for `${VAR}`.
///
/// # Errors
/// Every problem of it, warnings among them.
pub fn read(source: &Source, env: &dyn Fn(&str) -> Option<String>) -> Result<Reading, Problems> {
    let sources = std::slice::from_ref(source);
    let (tree, errors) = DeTable::parse_recoverable(&source.text);
    let mut notes: Vec<Note> = syntax(0, &source.text, &errors);
    let mut reader = Reader::new(sources, env, ManagerFile::KEYS);
    let mut file = ManagerFile::read(&View::single(0, tree.get_ref()), &mut reader);
    if errors.is_empty() {
        check(&file, &mut reader);
    }
    notes.append(&mut reader.notes);
    let (problems, has_errors) = told(sources, notes);
    if has_errors {
        return Err(Problems(problems));
    }
    file.fill(&FILE);
    match build(file) {
        Some(config) => Ok(Reading { config, warnings: problems }),
        // What is needed was checked above, and the defaults are there.
        None => Err(Problems(vec![Problem::of_file(&source.path, "cannot make sense of this file")])),
    }
}

/// What the keys mean together.
fn check(file: &ManagerFile, reader: &mut Reader<'_>) {
    if let (Some(listen), Some(at), false) = (
        file.admin.keys.listen.value.and_then(|listen| listen.0),
        file.admin.keys.listen.at,
        file.admin.keys.token_file.is_written(),
    ) && !listen.ip().is_loopback()
    {
        let help = "write token_file = \"/run/secrets/admin_token\", or listen on 127.0.0.1";
        reader.error_with_help(at, "whoever reaches this address could do anything", help);
    }
    check_cors(&file.cors.keys, file.cors.at, reader);
    for (name, (service, at)) in &file.service.0 {
        if let Err(why) = check_name(name) {
            reader.error(*at, why);
        }
        check_service(name, service, *at, reader);
        for (need, at) in service.recovery.keys.needs.value.iter().flat_map(|needs| &needs.0) {
            if need.0 == *name || !file.service.0.contains_key(&need.0) {
                let message = format!("there is no other service {:?}", need.0);
                reader.error_with_help(*at, message, "name one that has a table [service.NAME] of its own");
            }
        }
    }
    let mut seen: BTreeMap<(Option<String>, String, bool), Place> = BTreeMap::new();
    for (route, at) in &file.route.0 {
        check_route(route, *at, file, reader);
        let host = route.host.value.as_ref().map(|host| host.0.clone());
        let path = route.path.value.as_ref().map_or_else(|| "/".to_owned(), |path| path.0.clone());
        let exact = route.exact.value.unwrap_or(false);
        if seen.insert((host, path.clone(), exact), *at).is_some() {
            let at = route.path.at.unwrap_or(*at);
            reader.error(at, format!("another route above has {} already, for the same host", quoted(&path)));
        }
    }
    if file.route.0.is_empty() && !file.route.0.iter().any(|(_, at)| at.start > 0) {
        let help = "write [[route]] with path = \"/\" and service = \"NAME\"";
        reader.warning(Place::whole(0), "there is no route, so every request is answered with 404", help);
    }
    for (name, (service, at)) in &file.service.0 {
        let is_used = file.route.0.iter().any(|(route, _)| route.service.value.as_deref() == Some(name));
        // One that is healed from here is of use without a route: a database, for one.
        if !is_used && is_http(service) && service.control.at.is_none() {
            reader.warning(
                *at,
                format!("no route leads to {}", quoted(name)),
                "write a [[route]], or tcp:// in its targets if it is to be watched only",
            );
        }
    }
}

fn check_cors(cors: &CorsTable, at: Option<Place>, reader: &mut Reader<'_>) {
    let any = cors
        .allow_origins
        .value
        .iter()
        .flat_map(|list| &list.0)
        .find(|(origin, _)| *origin == OriginName::Any);
    if let (Some((_, at)), Some(true)) = (any, cors.allow_credentials.value) {
        let help = "name the origins, or take allow_credentials away";
        reader.error_with_help(
            *at,
            "with credentials \"*\" would let every page on earth act for its visitor",
            help,
        );
    }
    let asks = cors.allow_origins.value.as_ref().is_some_and(|list| !list.0.is_empty())
        || cors.allow_origin_patterns.value.as_ref().is_some_and(|list| !list.0.is_empty());
    let is_written = cors.allow_origins.is_written() || cors.allow_origin_patterns.is_written();
    if let (Some(at), false, false) = (at, asks, is_written) {
        reader.error_with_help(
            at,
            "[cors] allows no origin, so its other keys do nothing",
            "write allow_origins = [\"https://app.example\"]",
        );
    }
}

fn check_route(route: &RouteTable, at: Place, file: &ManagerFile, reader: &mut Reader<'_>) {
    if let (Some(true), Some(at)) = (route.strip.value, route.strip.at)
        && route.rewrite.is_written()
    {
        reader.error_with_help(at, "strip and rewrite both change the path", "write one of them");
    }
    let Some(name) = &route.service.value else {
        if !route.service.is_written() {
            reader.error_with_help(at, "this route leads nowhere", "write service = \"NAME\"");
        }
        return;
    };
    let at = route.service.at.unwrap_or(at);
    match file.service.0.get(name) {
        None => {
            let help = reader.hint(name, file.service.0.keys().map(String::as_str));
            let help = help.or_else(|| Some(format!("write [service.{name}] with its targets")));
            reader.note(
                at,
                crate::units::problem::Severity::Error,
                format!("there is no service {}", quoted(name)),
                help,
            );
        }
        Some((service, _)) if !is_http(service) => {
            reader
                .error(at, format!("service {} takes no HTTP: its targets begin with tcp://", quoted(name)));
        }
        Some(_) => {}
    }
}

fn is_http(service: &ServiceTable) -> bool {
    let targets = service.targets.value.as_ref();
    service.discover.at.is_some()
        || targets.is_none_or(|list| list.0.iter().any(|(target, _)| target.is_http))
}

fn check_service(name: &str, service: &ServiceTable, at: Place, reader: &mut Reader<'_>) {
    let has_targets = service.targets.is_written();
    let discover = &service.discover;
    match (has_targets, discover.at) {
        (true, Some(at)) => reader.error_with_help(
            at,
            format!("service {} has targets and discover", quoted(name)),
            "write one of them",
        ),
        (false, None) => {
            let help = "write targets = [\"http://HOST:PORT\"]";
            reader.error_with_help(at, format!("service {} has no targets", quoted(name)), help);
        }
        (true, None) => {}
        (false, Some(at)) => {
            for (key, is_there) in [
                ("compose_service", discover.keys.compose_service.is_written()),
                ("port", discover.keys.port.is_written()),
            ] {
                if !is_there {
                    reader.error(at, format!("discover of {} lacks {key}", quoted(name)));
                }
            }
        }
    }
    if let Some(list) = &service.targets.value {
        if list.0.is_empty() {
            reader
                .error(service.targets.at.unwrap_or(at), format!("service {} has no targets", quoted(name)));
        }
        let kinds = |is_http: bool| list.0.iter().find(|(target, _)| target.is_http == is_http);
        if let (Some(_), Some((_, at))) = (kinds(true), kinds(false)) {
            reader.error(*at, "the targets of one service are all http:// or all tcp://");
        }
    }
    if let (Some(at), false) =
        (service.hash_on.at, service.balance.value == Some(Choice(super::spec::Balance::Hash)))
    {
        reader.error_with_help(
            at,
            "hash_on is for balance = \"hash\"",
            "write balance = \"hash\", or take it away",
        );
    }
    check_health(name, service, reader);
    check_control(&service.control.keys, service.control.at, service.discover.at.is_some(), reader);
    if let (Some(list), Some(at)) = (&service.recovery.keys.ladder.value, service.recovery.keys.ladder.at) {
        if list.0.is_empty() {
            reader.error_with_help(
                at,
                "the ladder has no rung",
                "write [\"alert\"] if nothing is to be done",
            );
        }
        if service.control.at.is_none()
            && let Some((_, at)) = list.0.iter().find(|(rung, _)| rung.0 != Rung::Alert)
        {
            reader.error_with_help(
                *at,
                format!("nothing can be done about service {} without its control", quoted(name)),
                "write control = { driver = ..., ... }",
            );
        }
    }
}

fn check_health(name: &str, service: &ServiceTable, reader: &mut Reader<'_>) {
    let keys = &service.health.keys;
    let Some(at) = service.health.at else { return };
    let written: Vec<(&str, Option<Place>)> = [
        ("http", keys.http.at),
        ("tcp", keys.tcp.at),
        ("svinit", keys.svinit.at),
        ("mysql", keys.mysql.at),
        ("exec", keys.exec.at),
    ]
    .into_iter()
    .filter(|(_, at)| at.is_some())
    .collect();
    match written.as_slice() {
        [] => reader.error_with_help(
            at,
            format!("health of {} asks nothing", quoted(name)),
            "write http = \"/health\" or tcp = true",
        ),
        [_] => {}
        [(first, _), (second, at), ..] => {
            reader.error(
                at.unwrap_or(service.health.at.unwrap_or(Place::whole(0))),
                format!("{first} and {second} contradict each other: one check a service"),
            );
        }
    }
    for (key, value) in [("tcp", &keys.tcp), ("exec", &keys.exec)] {
        if let (Some(false), Some(at)) = (value.value, value.at) {
            reader.error_with_help(
                at,
                "this asks nothing",
                format!("write {key} = true, or take health away"),
            );
        }
    }
    if let (Some(at), None) = (keys.exec.at, service.control.at) {
        reader.error_with_help(
            at,
            "the container can be asked by control alone",
            "write control = { driver = ..., ... }",
        );
    }
    if let (Some(at), false) = (keys.http.at, is_http(service)) {
        reader.error_with_help(
            at,
            "its targets begin with tcp://, so it is not asked by HTTP",
            "write tcp = true",
        );
    }
    if let (Some(timeout), Some(interval), Some(at)) =
        (keys.timeout.value, keys.interval.value, keys.timeout.at)
        && timeout.0 > interval.0
    {
        reader.warning(at, "a check may take longer than the time between two", "the next one waits for it");
    }
}

fn check_control(keys: &ControlTable, at: Option<Place>, is_discovered: bool, reader: &mut Reader<'_>) {
    let Some(at) = at else { return };
    let Some(Choice(driver)) = keys.driver.value else {
        if !keys.driver.is_written() {
            reader.error_with_help(
                at,
                "control lacks its driver",
                "write driver = \"docker\", \"socket\" or \"api\"",
            );
        }
        return;
    };
    let all = [
        (
            "container",
            keys.container.at,
            driver == Driver::Docker,
            driver == Driver::Docker && !is_discovered,
        ),
        ("path", keys.path.at, driver == Driver::Socket, driver == Driver::Socket),
        ("url", keys.url.at, driver == Driver::Api, driver == Driver::Api),
        ("token_file", keys.token_file.at, driver == Driver::Api, driver == Driver::Api),
    ];
    let word = Choice(driver);
    let word = crate::units::table::Value::show(&word);
    for (key, written, may, must) in all {
        match written {
            Some(at) if !may => reader.error(at, format!("{key} means nothing with driver = {word}")),
            None if must => reader.error(at, format!("driver = {word} needs {key}")),
            _ => {}
        }
    }
}

/// The value of a key that may be left out.
fn may<T>(key: Key<T>) -> Option<T> {
    key.value
}

fn build(file: ManagerFile) -> Option<Config> {
    let limits = file.limits.keys;
    let timeouts = file.timeouts.keys;
    let services = file
        .service
        .0
        .into_iter()
        .map(|(name, (table, _))| Some((name.clone(), Arc::new(service(name, table)?))));
    let services: BTreeMap<String, Arc<Service>> = services.collect::<Option<_>>()?;
    let routes = file.route.0.into_iter().map(|(table, _)| route(table)).collect::<Option<_>>()?;
    Some(Config {
        listen: may(file.listen)?.0,
        trusted_proxies: may(file.trusted_proxies)?.into_values(),
        access_log: may(file.access_log)?.0,
        shutdown_timeout: may(file.shutdown_timeout)?.0,
        admin: Admin {
            listen: may(file.admin.keys.listen)?.0,
            token_file: may(file.admin.keys.token_file).map(|path| path.0),
        },
        timeouts: Timeouts {
            header: may(timeouts.header)?.0,
            keep_alive: may(timeouts.keep_alive)?.0,
            client: may(timeouts.client)?.0,
        },
        limits: Limits {
            connections: size(may(limits.connections)?.0),
            connections_per_client: size(may(limits.connections_per_client)?.0),
            header_size: bytes(may(limits.header_size)?.0),
            headers: size(may(limits.headers)?.0),
            body_size: may(limits.body_size)?.0,
            response_header_size: bytes(may(limits.response_header_size)?.0),
        },
        cors: cors(file.cors.keys)?,
        routes,
        services,
    })
}

fn size(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn cors(keys: CorsTable) -> Option<Option<Cors>> {
    let origins = may(keys.allow_origins)?.into_values();
    let patterns = may(keys.allow_origin_patterns)?.into_values();
    if origins.is_empty() && patterns.is_empty() {
        return Some(None);
    }
    let joined = |tokens: Vec<super::kinds::Token>| {
        tokens.into_iter().map(|token| token.0).collect::<Vec<_>>().join(", ")
    };
    let patterns =
        patterns.iter().map(|pattern| regex_lite::Regex::new(&format!("^(?:{})$", pattern.0)).ok());
    Some(Some(Cors {
        any_origin: origins.contains(&OriginName::Any),
        origins: origins
            .into_iter()
            .filter_map(|origin| match origin {
                OriginName::Any => None,
                OriginName::Exactly(origin) => Some(origin),
            })
            .collect(),
        patterns: patterns.collect::<Option<_>>()?,
        credentials: may(keys.allow_credentials)?,
        methods: joined(may(keys.allow_methods)?.into_values()),
        headers: joined(may(keys.allow_headers)?.into_values()),
        expose: joined(may(keys.expose_headers)?.into_values()),
        max_age: may(keys.max_age)?.0,
        private_network: may(keys.allow_private_network)?,
    }))
}

fn route(mut table: RouteTable) -> Option<Route> {
    table.fill(&ROUTE);
    let path = may(table.path)?.0;
    let exact = may(table.exact)?;
    let rewrite = match may(table.rewrite) {
        Some(path) => Some(path.0),
        None if may(table.strip)? => {
            Some(if path.ends_with('/') || exact { "/".to_owned() } else { String::new() })
        }
        None => None,
    };
    Some(Route {
        host: may(table.host).map(|host| host.0),
        path,
        exact,
        service: may(table.service)?,
        rewrite,
        body_size: may(table.body_size).map(|size| size.0),
        response_timeout: may(table.response_timeout).map(|time| time.0),
    })
}

fn service(name: String, mut table: ServiceTable) -> Option<Service> {
    let (has_health, has_control, is_found) =
        (table.health.at.is_some(), table.control.at.is_some(), table.discover.at.is_some());
    table.fill(&SERVICE);
    let eject = table.eject.keys;
    let park = table.park.keys;
    Some(Service {
        targets: may(table.targets).map(List::into_values).unwrap_or_default(),
        discover: if is_found {
            let keys = table.discover.keys;
            Some(Discover {
                compose_service: may(keys.compose_service)?.0,
                project: may(keys.project).map(|project| project.0),
                port: u16::try_from(may(keys.port)?.0).ok()?,
            })
        } else {
            None
        },
        balance: may(table.balance)?.0,
        hash_on: may(table.hash_on)?,
        sticky: may(table.sticky).map(|token| token.0),
        retries: size(may(table.retries)?.0),
        connect_timeout: may(table.connect_timeout)?.0,
        response_timeout: may(table.response_timeout)?.0,
        idle_timeout: may(table.idle_timeout)?.0,
        idle_connections: size(may(table.idle_connections)?.0),
        idle_connection_timeout: may(table.idle_connection_timeout)?.0,
        upgrade: may(table.upgrade)?
            .into_values()
            .into_iter()
            .map(|token| token.0.to_ascii_lowercase())
            .collect(),
        upgrade_timeout: may(table.upgrade_timeout)?.0,
        slow_start: may(table.slow_start)?.0,
        health: if has_health { Some(health(table.health.keys)?) } else { None },
        eject: Eject {
            failures: may(eject.failures)?.to(),
            duration: may(eject.duration)?.0,
            duration_max: may(eject.duration_max)?.0,
            percent: may(eject.percent)?.to(),
        },
        park: Park { max_requests: size(may(park.max_requests)?.0), timeout: may(park.timeout)?.0 },
        control: if has_control { Some(control(&name, table.control.keys)?) } else { None },
        recovery: Recovery {
            ladder: if has_control || table.recovery.at.is_some() {
                may(table.recovery.keys.ladder)?.into_values().into_iter().map(|rung| rung.0).collect()
            } else {
                vec![Rung::Alert]
            },
            cooldown: may(table.recovery.keys.cooldown)?.0,
            grace: may(table.recovery.keys.grace)?.0,
            needs: may(table.recovery.keys.needs)?.into_values().into_iter().map(|name| name.0).collect(),
        },
        name,
    })
}

fn health(keys: HealthTable) -> Option<Health> {
    let port = may(keys.port).map(|port| u16::try_from(port.0).unwrap_or(0));
    let check = match (may(keys.http), may(keys.svinit), may(keys.mysql), may(keys.exec)) {
        (Some(path), ..) => Check::Http(path.0),
        (_, Some(unit), ..) => Check::Svinit(unit),
        (.., Some(user), _) => Check::Mysql(user.0),
        (.., Some(true)) => Check::Exec,
        (None, None, None, Some(false) | None) => Check::Tcp,
    };
    Some(Health {
        check,
        port,
        interval: may(keys.interval)?.0,
        unhealthy_interval: may(keys.unhealthy_interval)?.0,
        timeout: may(keys.timeout)?.0,
        fall: may(keys.retries)?.to(),
        rise: may(keys.rise)?.to(),
    })
}

fn control(name: &str, keys: ControlTable) -> Option<Control> {
    let reach = match may(keys.driver)?.0 {
        Driver::Docker => Reach::Docker { container: may(keys.container).map(|name| name.0) },
        Driver::Socket => Reach::Socket { path: may(keys.path)?.0 },
        Driver::Api => Reach::Api { url: may(keys.url)?, token_file: may(keys.token_file)?.0 },
    };
    Some(Control { reach, unit: may(keys.unit).or_else(|| UnitName::new(name).ok())? })
}

#[cfg(test)]
mod tests;
