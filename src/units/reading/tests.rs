//! From texts to units: defaults, layers, and every problem in its words. The snapshots are what a person reads.

use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;

use crate::units::cron::Cron;
use crate::units::name::UnitName;
use crate::units::problem::Severity;
use crate::units::reading::{Reading, read};
use crate::units::show::effective;
use crate::units::source::Source;
use crate::units::spec::{Argv, Missed, Overlap, Policy, Schedule, UnitSpec, When, Zone};

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8000".to_owned()),
        "ARGS" => Some("two words".to_owned()),
        _ => None,
    }
}

/// Each source after a line `== path`.
fn sources(text: &str) -> Vec<Source> {
    let parts = text.split("== ").filter(|part| !part.trim().is_empty());
    parts
        .map(|part| {
            let (path, text) = part.split_once('\n').unwrap_or((part, ""));
            let path = path.trim();
            if path.ends_with("svinit.toml") { Source::daemon(path, text) } else { Source::unit(path, text) }
        })
        .collect()
}

fn good(text: &str) -> Reading {
    read(&sources(text), &env).unwrap_or_else(|problems| panic!("{problems}"))
}

fn bad(text: &str) -> String {
    read(&sources(text), &env).map(|_| ()).unwrap_err().to_string()
}

fn warnings(text: &str) -> String {
    good(text).warnings.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn a_user_called_self_is_svinits_own_and_every_other_name_is_a_name() {
    let user = |text: &str| {
        good(&format!("== web.toml\ncommand = \"web\"\nuser = \"{text}\"")).set.units
            [&UnitName::new("web").unwrap()]
            .context
            .user
            .clone()
    };
    assert_eq!(user("${ACCOUNT:-self}"), None);
    assert_eq!(user("selfish"), Some("selfish".to_owned()));
}

const EVERYTHING: &str = r#"
== svinit.toml
shutdown_timeout = "20s"
[control]
socket_group = "svctl"
[http]
listen = "127.0.0.1:9500"
[log]
format = "json"
[defaults.stop]
timeout = "3s"
[defaults.restart]
policy = "always"
limit = 4
== migrate.toml
type = "oneshot"
shell = "exec echo $HOME $$ ${PORT}"
before = ["app"]
[sandbox]
no_new_privileges = true
== app.toml
description = "Django \"API\" $$"
command = "gunicorn --bind 0.0.0.0:${PORT} '${PORT}' \"${ARGS}\" ${NONE:-a b}"
type = "notify"
enabled = "${APP:-true}"
essential = true
aliases = ["django"]
user = "app"
group = "1000"
groups = ["a", "2"]
umask = "027"
working_dir = "/srv"
environment_files = ["/etc/a.env", "-/etc/b.env"]
requires = ["db"]
wants = ["cache", "cache"]
part_of = ["mysql"]
[environment]
A = "1"
"b.c" = "x\ty$$"
[secrets]
DB_PASSWORD = "/run/secrets/db"
[credentials]
tls_key = "/run/secrets/tls"
[sockets]
web = "0.0.0.0:${PORT}"
admin = { address = "unix:/run/app $$.sock", mode = "600" }
[wait_for]
tcp = ["database:3306", "[::1]:1"]
exec = ["true", ["sh", "-c", "exit 0"]]
[health]
exec = "check 'a b'"
retries = 5
on_failure = "exec:notify 'it''s' a\\ b ${PORT} '$x'"
[restart]
permanent_codes = [3]
factor = 3
[stop]
command = ["stop", "$MAINPID"]
kill = "group"
[reload]
signal = "hup"
test = "nginx -t"
[hooks]
pre_start = ["a b", ["c", "d e"]]
[log]
forward = "inherit"
file = "/var/log/app.log"
rate = 100
[limits]
nofile = 65536
nproc = 0
core = 0
nice = -5
memory_high = "400M"
memory_max = "1.5G"
cpu = "150%"
pids = 200
[sandbox]
capabilities = ["CAP_NET_BIND_SERVICE"]
== db.toml
command = ["postgres"]
aliases = ["mysql"]
conflicts = ["other"]
[ready]
log = "ready to accept.*connections$"
timeout = "1m30s"
[restart]
policy = "on-failure"
== other.toml
command = "x"
enabled = false
type = "forking"
pid_file = "/run/x.pid"
[ready]
fd = 3
== cache.toml
command = "redis"
[ready]
delay = "250ms"
"#;

const BY_CLOCK: &str = r#"
== nightly.toml
type = "oneshot"
command = "dump"
requires = ["db"]
[schedule]
cron = "0  3 * * mon-fri"
timezone = "Europe/Zurich"
overlap = "kill"
missed = "skip"
jitter = "5m"
at_start = true
== often.toml
type = "oneshot"
command = "sweep"
schedule.every = "90s"
restart.policy = "on-failure"
== db.toml
command = "db"
"#;

#[test]
fn a_schedule_is_read_with_its_defaults_and_its_runs_are_not_retried() {
    let set = good(BY_CLOCK).set;
    let [nightly, often] = ["nightly", "often"].map(|name| set.find(name).unwrap());
    let cron = Cron::parse("0 3 * * mon-fri").unwrap();
    let schedule = Schedule {
        when: When::Cron { cron, zone: Zone::Named("Europe/Zurich".to_owned()) },
        overlap: Overlap::Kill,
        missed: Missed::Skip,
        jitter: Duration::from_secs(300),
        at_start: true,
    };
    assert_eq!((&nightly.schedule, nightly.restart.policy), (&Some(schedule), Policy::Never));
    let plain = Schedule {
        when: When::Every(Duration::from_secs(90)),
        overlap: Overlap::Skip,
        missed: Missed::Once,
        jitter: Duration::ZERO,
        at_start: false,
    };
    assert_eq!((&often.schedule, often.restart.policy), (&Some(plain), Policy::OnFailure));
    for name in ["nightly", "often"] {
        let own = set.find(name).unwrap();
        let shown = format!("== {name}.toml\n{}\n== db.toml\ncommand = \"db\"", effective(own));
        assert_eq!(good(&shown).set.find(name).unwrap().schedule, own.schedule);
    }
}

#[test]
fn a_schedule_that_makes_no_sense_is_told_with_its_place_and_the_remedy() {
    let text = r#"
== a.toml
command = "a"
[schedule]
cron = "0 3 * *"
every = "50ms"
== b.toml
type = "oneshot"
command = "b"
essential = true
instances = 2
part_of = ["d"]
[schedule]
every = "5m"
timezone = "UTC"
jitter = "6m"
== c.toml
type = "oneshot"
command = "c"
[schedule]
overlap = "wait"
timezone = "the moon"
== d.toml
command = "d"
requires = ["e"]
after = ["e"]
conflicts = ["e"]
== e.toml
type = "oneshot"
command = "e"
before = ["d"]
[schedule]
cron = "@reboot"
"#;
    let all = bad(text);
    let said: Vec<&str> = all.lines().filter(|line| !line.starts_with(' ')).collect();
    let timed = "e has a [schedule], so it is up only now and then, and nothing can go by that; \
                 take this away; a unit with [schedule] can require and want others";
    let wanted = [
        "a.toml:2:2: only what ends by itself can be run by the clock; write type = \"oneshot\", or take [schedule] away",
        "a.toml:3:8: expected five fields of time like \"0 3 * * *\", found \"0 3 * *\": it has 4 fields",
        "a.toml:4:9: expected a duration like \"10s\", found \"50ms\": the least is 100ms",
        "a.toml:4:9: only one of cron and every can stand in [schedule]",
        "b.toml:3:13: the container would end with its first run: essential and [schedule] cannot both be; write essential = true for the service that the container is for",
        "b.toml:4:13: a oneshot is done once: there cannot be several instances of it; take instances away, or write type = \"simple\" for a service",
        "b.toml:5:12: it does not run along with another unit, but by the clock: part_of and [schedule] cannot both be; write requires, which starts the other before each run",
        "b.toml:8:12: every counts the time that passes, which is the same in every time zone; take timezone away, or write cron instead of every",
        "b.toml:9:10: jitter is longer than every: a run could come after the next moment",
        "c.toml:3:2: [schedule] names no time: it needs one of cron, every; write cron = \"0 3 * * *\" or every = \"5m\"",
        "c.toml:4:11: expected \"skip\", \"queue\" or \"kill\", found \"wait\"",
        "c.toml:5:12: expected a time zone like \"UTC\", \"local\", \"Europe/Zurich\", found \"the moon\"",
        &format!("d.toml:2:13: requires: {timed}"),
        &format!("d.toml:3:10: after: {timed}"),
        "d.toml:4:14: d and e conflict, and both are enabled; write enabled = false in one of them",
        &format!("d.toml:4:14: conflicts: {timed}"),
        "d.toml:2:13: d cannot need e: they conflict",
        "e.toml:5:8: expected five fields of time like \"0 3 * * *\", found \"@reboot\"; write at_start = true",
        &format!("e.toml:3:11: before: {timed}"),
    ];
    for line in wanted {
        assert!(said.contains(&line), "{line}\nis not among\n{all}");
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same_units() {
    let reading = good(EVERYTHING);
    let shown: Vec<Source> =
        reading.set.units.values().map(|spec| Source::unit(spec.origin.clone(), effective(spec))).collect();
    let again = read(&shown, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(again.set, reading.set);
}

#[test]
fn keys_and_defaults_reach_the_unit() {
    let reading = good(EVERYTHING);
    let app = reading.set.find("django").unwrap();
    assert_eq!(app.command.0, ["gunicorn", "--bind", "0.0.0.0:8000", "${PORT}", "two words", "a b"]);
    assert_eq!(app.requires[0].as_str(), "db");
    assert_eq!(app.part_of[0].as_str(), "db", "an alias becomes the name");
    assert_eq!(app.wants.len(), 1);
    assert_eq!(app.after[0].as_str(), "migrate", "the before of another");
    assert_eq!((app.restart.limit, app.restart.factor), (4, 3.0));
    assert_eq!(app.stop.timeout.as_secs(), 3);
    assert_eq!(app.context.environment["b.c"], "x\ty$");
    assert_eq!(app.context.rlimits.nproc, None);
    assert_eq!(app.context.rlimits.core, Some(0));
    let migrate = reading.set.find("migrate").unwrap();
    assert_eq!(migrate.command.0, ["/bin/sh", "-c", "exec echo $HOME $ 8000"]);
    assert!(migrate.ready_timeout.is_zero());
    assert_eq!(migrate.restart.policy, crate::units::spec::Policy::OnFailure);
    assert_eq!(reading.set.find("other").unwrap().conflicts[0].as_str(), "db");
    assert_eq!(reading.daemon.socket_group.as_deref(), Some("svctl"));
}

#[test]
fn a_unit_made_in_the_program_has_the_defaults_of_one_that_was_read() {
    let read = good("== a.toml\ncommand = 'x'");
    let name = UnitName::new("a").unwrap();
    let made = UnitSpec { origin: "a.toml".into(), ..UnitSpec::new(name, Argv(vec!["x".to_owned()])) };
    assert_eq!(**read.set.find("a").unwrap(), made);
}

#[test]
fn an_empty_unit_has_the_defaults_of_the_design() {
    let reading = good("== a.toml\ncommand = 'x'");
    assert_eq!(reading.daemon, crate::units::spec::DaemonSpec::default());
    assert_snapshot!(effective(reading.set.find("a").unwrap()), @r##"
description = ""
command = ["x"]
# shell: `command` is there instead
type = "simple"
# pid_file: for `forking` only
# watchdog: not watched
enabled = true
essential = false
# instances: one, called as the file
aliases = []
# user: svinit's own user
# group: the user's own group
groups = []
umask = "022"
working_dir = "/"
environment_files = []
stdin = "null"
requires = []
wants = []
after = []
before = []
part_of = []
conflicts = []

[environment]

[secrets]

[credentials]

[sockets]

# [wait_for]
# tcp = []
# http = []
# unix = []
# file = []
# exec = []
# timeout = "60s"
# interval = "250ms"

[ready]
# http: no such check
# tcp: no such check
# unix: no such check
# exec: no such check
# file: no such check
# log: no such check
# notify: as `type` says
# fd: no such check
# delay: no such check
timeout = "30s"
# interval = "100ms"

# [health]
# http: no such check
# tcp: no such check
# unix: no such check
# exec: no such check
# interval = "10s"
# timeout = "3s"
# retries = 3
# start_period = "10s"
# on_failure = "restart"

[restart]
policy = "always"
success_codes = [0]
permanent_codes = []
delay = "0s"
factor = 2.0
max_delay = "30s"
jitter = 0.1
limit = 10
window = "1m"
on_limit = "retry-later"
mode = "stop-first"

[stop]
signal = "SIGTERM"
timeout = "8s"
command = []
kill = "mixed"

[reload]
# signal: it cannot be reloaded by a signal
# command: it cannot be reloaded by a command
test = []
timeout = "30s"

[hooks]
pre_start = []
post_start = []
pre_stop = []
post_stop = []
timeout = "30s"

[log]
forward = true
# file: no file
timestamps = false
max_size = "10M"
max_age = "7d"
keep = 5
compress = true
buffer = "256K"
when_blocked = "block"
rate = "0"

# [limits]
# nofile: as svinit was given
# nproc: as svinit was given
# core: as svinit was given
# nice: as svinit was given
# oom_score_adj: 0
# memory_high: no bound
# memory_for = "30s"
# memory_max: no bound
# cpu: no bound
# pids: no bound

# [sandbox]
# no_new_privileges: true for a unit that changes user, else false
# capabilities: as they are for root, none for others

# [schedule]
# cron: `every` is there instead
# every: `cron` is there instead
# timezone = "UTC"
# overlap = "skip"
# missed = "once"
# jitter = "0s"
# at_start = false
"##);
}

#[test]
fn a_later_layer_changes_key_by_key() {
    let reading = good(
        "
== base/a.toml
command = ['x']
description = '${NONE:?is replaced}'
[environment]
A = '1'
B = '2'
[ready]
http = 'http://a/'
timeout = '5s'
== more/a.toml
shell = 'y'
description = 'd'
[environment]
B = '3'
[ready]
tcp = 'a:1'
",
    );
    let unit = reading.set.find("a").unwrap();
    assert_eq!(unit.command.0[2], "y");
    assert_eq!(unit.context.environment.values().collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(unit.ready_timeout.as_secs(), 5);
    assert!(matches!(
        unit.ready.as_ref().unwrap().sign,
        crate::units::spec::ReadySign::Check(crate::units::spec::Check::Tcp(_))
    ));
    assert!(reading.warnings.is_empty());
}

#[test]
fn every_problem_of_a_unit_is_told_with_its_place() {
    assert_snapshot!(bad(r#"
== web.toml
comand = "nginx"
type = "simpel"
requires = "db"
environment_files = ["etc/x"]
umask = 22
timeout = "3s"
[restart]
polcy = "always"
delay = 10
factor = 0.5
limit = "3"
enabled = true
[stop]
signal = "SIGTREM"
timeout = "10 sec"
[environment]
PORT = 8000
NOTIFY_SOCKET = "/x"
after = ["db"]
[health]
http = "https://x/"
tcp = "localhost"
retries = 0
on_failure = "restrat"
[ready]
log = "(("
[limits]
memory_high = "2G"
memory_max = "64"
cpu = 150
[sandbox]
capabilities = ["NET_BIND"]
[hooks]
pre_start = ["nginx", "-t"]
[sokets]
http = "0.0.0.0:80"
"#), @r##"
web.toml: nothing says what is to be run; write command = ["PROGRAM", "ARGUMENT"]
web.toml:1:1: no such key: "comand"; did you mean "command"?
  1 | comand = "nginx"
    | ^^^^^^
web.toml:2:8: expected "simple", "notify", "oneshot" or "forking", found "simpel"; did you mean "simple"?
  2 | type = "simpel"
    |        ^^^^^^^^
web.toml:3:12: expected a list, each the name of a unit, found "db"; write ["db"]
  3 | requires = "db"
    |            ^^^^
web.toml:4:22: expected an absolute path, "-" before it if the file may be missing, found "etc/x": it begins with "/"
  4 | environment_files = ["etc/x"]
    |                      ^^^^^^^
web.toml:5:9: expected octal digits like "022", found 22
  5 | umask = 22
    |         ^^
web.toml:6:1: no such key: "timeout"; it belongs below [wait_for], [ready], [health], [stop], [reload] or [hooks]
  6 | timeout = "3s"
    | ^^^^^^^
web.toml:8:1: no such key in [restart]: "polcy"; did you mean "policy"?
  8 | polcy = "always"
    | ^^^^^
web.toml:9:9: expected a duration like "10s", found 10; write "10s" for seconds or "10ms" for milliseconds
  9 | delay = 10
    |         ^^
web.toml:10:10: expected a number from 1 to 100, found 0.5
  10 | factor = 0.5
     |          ^^^
web.toml:11:9: expected a whole number from 0 to 1000000, found "3"; write 3 without quotes
  11 | limit = "3"
     |         ^^^
web.toml:12:1: no such key in [restart]: "enabled"; "enabled" is a key of the file itself: write it above the first [table]
  12 | enabled = true
     | ^^^^^^^
web.toml:14:10: expected a signal like "SIGTERM", found "SIGTREM"; did you mean "SIGTERM"?
  14 | signal = "SIGTREM"
     |          ^^^^^^^^^
web.toml:15:11: expected a duration like "10s", found "10 sec"
  15 | timeout = "10 sec"
     |           ^^^^^^^^
web.toml:17:8: expected text, found 8000; write "8000"
  17 | PORT = 8000
     |        ^^^^
web.toml:18:1: NOTIFY_SOCKET is set by svinit itself
  18 | NOTIFY_SOCKET = "/x"
     | ^^^^^^^^^^^^^
web.toml:19:9: expected text, found a list; "after" is a key of the file itself: write it above the first [table]
  19 | after = ["db"]
     |         ^^^^^^
web.toml:21:8: expected an address like "http://127.0.0.1:8000/health", found "https://x/": probes speak plain http: ask the service at its own address, or use exec
  21 | http = "https://x/"
     |        ^^^^^^^^^^^^
web.toml:22:7: expected an address like "database:3306", found "localhost": the port is missing: host:port
  22 | tcp = "localhost"
     |       ^^^^^^^^^^^
web.toml:22:7: only one of http and tcp can stand in [health]
  22 | tcp = "localhost"
     |       ^^^^^^^^^^^
web.toml:23:11: expected a whole number from 1 to 1000000, found 0
  23 | retries = 0
     |           ^
web.toml:24:14: expected "restart", "reload", "shutdown", "none", "signal:NAME" or "exec:COMMAND", found "restrat"; did you mean "restart"?
  24 | on_failure = "restrat"
     |              ^^^^^^^^^
web.toml:26:7: expected a regular expression, found "((": found open group without closing ')'
  26 | log = "(("
     |       ^^^^
web.toml:29:14: expected a size like "64M", found "64": after the number comes its unit: B, K, M, G or T
  29 | memory_max = "64"
     |              ^^^^
web.toml:30:7: expected percent of one CPU like "150%", found 150; write "150%"
  30 | cpu = 150
     |       ^^^
web.toml:32:17: expected a capability like "NET_BIND_SERVICE", found "NET_BIND"; did you mean "NET_BIND_SERVICE"?
  32 | capabilities = ["NET_BIND"]
     |                 ^^^^^^^^^^
web.toml:34:23: each item of this list is a command of its own, and no program begins with "-"; one command of several words is [["nginx", "-t"]] or ["nginx -t"]
  34 | pre_start = ["nginx", "-t"]
     |                       ^^^^
web.toml:35:2: no such key: "sokets"; did you mean "sockets"?
  35 | [sokets]
     |  ^^^^^^
"##);
}

#[test]
fn units_that_do_not_fit_together_are_told() {
    assert_snapshot!(bad(r#"
== a.toml
command = "x"
requires = ["b", "dbb"]
aliases = ["b", "all", "two"]
== b.toml
command = "x"
wants = ["c"]
aliases = ["two"]
== c.toml
command = "x"
before = ["b"]
after = ["a", "c"]
conflicts = ["d"]
== d.toml
command = "x"
== db.toml
command = "x"
conflicts = ["b"]
requires = ["b"]
== all.toml
command = "x"
== no name.toml
command = "x"
"#), @r##"
a.toml:2:13: these units wait for each other in a circle: a requires b, b wants c, c after a; take one of these words away
  2 | requires = ["b", "dbb"]
    |             ^^^
a.toml:2:18: requires: there is no unit "dbb"; did you mean "db"?
  2 | requires = ["b", "dbb"]
    |                  ^^^^^
a.toml:3:12: b cannot be an alias of a: a unit has that name
  3 | aliases = ["b", "all", "two"]
    |            ^^^
a.toml:3:17: all cannot be an alias: "all" means every unit
  3 | aliases = ["b", "all", "two"]
    |                 ^^^^^
b.toml:3:12: two cannot be an alias of b: it is one of a
  3 | aliases = ["two"]
    |            ^^^^^
c.toml:3:15: after: a unit cannot name itself
  3 | after = ["a", "c"]
    |               ^^^
c.toml:4:14: c and d conflict, and both are enabled; write enabled = false in one of them
  4 | conflicts = ["d"]
    |              ^^^
db.toml:2:14: db and b conflict, and both are enabled; write enabled = false in one of them
  2 | conflicts = ["b"]
    |              ^^^
db.toml:3:13: db cannot need b: they conflict
  3 | requires = ["b"]
    |             ^^^
all.toml: a unit cannot have this name: "all" means every unit; rename the file
no name.toml: the file name is the unit's name: a unit name has letters, digits, '.', '_' and '-' only, not ' '; rename the file
"##);
}

#[test]
fn contradictions_within_a_unit_are_told() {
    assert_snapshot!(bad(r#"
== a.toml
command = "x"
shell = "y"
type = "forking"
stdin = "tty"
[health]
[wait_for]
[secrets]
A = "/a"
[environment]
A = "a"
[restart]
permanent_codes = [0, 300]
== b.toml
type = "oneshot"
command = "it's"
pid_file = "/x"
watchdog = "9s"
[ready]
http = "http://a/"
tcp = "a:1"
[health]
exec = []
on_failure = "reload"
[restart]
policy = "always"
delay = "1m"
== c.toml
command = "a ${B:?set B in compose.yaml} ${C"
type = "notify"
description = "${D:?}"
[ready]
delay = "40s"
"#), @r##"
a.toml:2:9: only one of command and shell can stand
  2 | shell = "y"
    |         ^^^
a.toml:3:8: type = "forking" needs pid_file: how else would its daemon be told from other processes
  3 | type = "forking"
    |        ^^^^^^^^^
a.toml:4:9: only the unit "main" can have the terminal
  4 | stdin = "tty"
    |         ^^^^^
a.toml:5:2: [health] asks nothing: it needs one of http, tcp, unix, exec
  5 | [health]
    |  ^^^^^^
a.toml:6:2: [wait_for] waits for nothing: it needs one of tcp, http, unix, file, exec
  6 | [wait_for]
    |  ^^^^^^^^
a.toml:8:1: A stands in [environment] too: only one of them can hold
  8 | A = "/a"
    | ^
a.toml:12:23: expected a whole number from 0 to 255, found 300
  12 | permanent_codes = [0, 300]
     |                       ^^^
b.toml:2:11: cannot split this into words: a single quote is not closed
  2 | command = "it's"
    |           ^^^^^^
b.toml:3:12: pid_file is read of type = "forking" only; remove it, or write the type
  3 | pid_file = "/x"
    |            ^^^^
b.toml:4:12: a oneshot is never up, so nobody watches whether it hangs; remove watchdog; [ready] timeout bounds how long it may take
  4 | watchdog = "9s"
    |            ^^^^
b.toml:6:8: a oneshot is ready when it has ended well: http cannot stand here
  6 | http = "http://a/"
    |        ^^^^^^^^^^^
b.toml:7:7: a oneshot is ready when it has ended well: tcp cannot stand here
  7 | tcp = "a:1"
    |       ^^^^^
b.toml:7:7: only one of http and tcp can stand in [ready]
  7 | tcp = "a:1"
    |       ^^^^^
b.toml:8:2: a oneshot has no process to look after once it is done: [health] cannot stand here
  8 | [health]
    |  ^^^^^^
b.toml:9:8: the command is empty
  9 | exec = []
    |        ^^
b.toml:10:14: on_failure = "reload" needs signal or command in [reload]
  10 | on_failure = "reload"
     |              ^^^^^^^^
b.toml:12:10: a oneshot that ended well is done: "always" would run it for ever; use "on-failure", or type = "simple" for a service
  12 | policy = "always"
     |          ^^^^^^^^
b.toml:13:9: delay is longer than max_delay; write max_delay too, which is 30s
  13 | delay = "1m"
     |         ^^^^
c.toml:1:14: B is not set: set B in compose.yaml
  1 | command = "a ${B:?set B in compose.yaml} ${C"
    |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^
c.toml:1:42: this "${" has no "}"
  1 | command = "a ${B:?set B in compose.yaml} ${C"
    |                                          ^^^
c.toml:3:16: D is not set: it has to be
  3 | description = "${D:?}"
    |                ^^^^^^
c.toml:5:9: delay must be less than timeout, or it can never be ready
  5 | delay = "40s"
    |         ^^^^^
c.toml:5:9: type = "notify" is ready when it says so: delay cannot stand beside it
  5 | delay = "40s"
    |         ^^^^^
"##);
}

#[test]
fn several_mistakes_of_grammar_are_told_at_once() {
    assert_snapshot!(bad("
== a.toml
command = [\"x\"
[restart
delay = '1s'
delay = '2s'
jitter = 0.
factor = 1
polcy = 'x'
== svinit.toml
shutdown_timeout = '9s'
fork_rate = 0
[control]
listen = 'x'
[http]
listen = ':9500'
[defaults.restart]
polcy = 'never'
"), @r##"
a.toml:2:1: not TOML: missing comma between array elements, expected ","; is a bracket not closed above?
  2 | [restart
    | ^
a.toml:7:12: not TOML: unclosed array, expected "]"
  7 | polcy = 'x'
    |            ^
svinit.toml:2:13: expected a whole number from 1 to 10000, found 0
  2 | fork_rate = 0
    |             ^
svinit.toml:4:10: expected an address and port like "0.0.0.0:9500", or "off", found "x"
  4 | listen = 'x'
    |          ^^^
svinit.toml:6:10: expected an address and port like "0.0.0.0:9500", or "off", found ":9500"; write "0.0.0.0:9500" for every address
  6 | listen = ':9500'
    |          ^^^^^^^
svinit.toml:8:1: no such key in [defaults.restart]: "polcy"; did you mean "policy"?
  8 | polcy = 'never'
    | ^^^^^
"##);
}

#[test]
fn what_looks_wrong_is_warned_of() {
    assert_snapshot!(warnings(
        "
== a.toml
command = 'x ${NONE}'
wants = ['b']
[stop]
timeout = '1m'
[restart]
success_codes = [1]
[limits]
memory_for = '3s'
== b.toml
command = 'x'
enabled = false
"
    ), @r##"
a.toml:1:14: warning: NONE is not set, so nothing stands here; write ${NONE:-} if that is meant, ${NONE:?why} if it must be set
  1 | command = 'x ${NONE}'
    |              ^^^^^^^
a.toml:2:10: warning: b is not enabled, so it is started only because of this; use after if it should only be waited for when it runs
  2 | wants = ['b']
    |          ^^^
a.toml:4:11: warning: the whole shutdown has 9.5s, so this timeout is never used up then; raise shutdown_timeout in svinit.toml, and the container's own stop timeout
  4 | timeout = '1m'
    |           ^^^^
a.toml:6:17: warning: 0 is not among success_codes, so a clean end is a failure; add 0 if that is not meant
  6 | success_codes = [1]
    |                 ^^^
a.toml:8:14: warning: memory_for means nothing without memory_high; write memory_high too
  8 | memory_for = '3s'
    |              ^^^^
"##);
}

#[test]
fn a_line_is_shown_so_that_it_cannot_harm_a_terminal() {
    let text = format!("== a.toml\ncommand = 'x'\n\tü = 1\n'\u{202e}x' = 1 # {}\n", "y".repeat(100_000));
    let said = bad(&text);
    assert!(said.len() < 1000 && !said.contains(['\t', '\u{202e}']), "{said}");
    assert!(said.contains("a.toml:2:2: no such key"), "{said}");
}

#[test]
fn a_text_of_mistakes_only_is_told_of_in_part() {
    let text: String = (0..5000).map(|n| format!("k{n} = 1\n")).collect();
    let said = bad(&format!("== a.toml\n{text}"));
    assert!(said.lines().count() < 700 && said.contains("more problems that are not shown"));
}

#[test]
fn only_errors_refuse() {
    let problems = read(&sources("== a.toml\ncommand = '${NONE}'\nx = 1"), &env).unwrap_err();
    assert!(problems.has_errors());
    assert!(problems.0.iter().any(|problem| problem.severity == Severity::Warning));
}

#[test]
fn every_default_can_be_read() {
    // Reading them asserts that nothing was noted.
    std::sync::LazyLock::force(&super::UNIT_DEFAULTS);
    std::sync::LazyLock::force(&super::DAEMON_DEFAULTS);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _ = read(&[Source::unit("a.toml", text.clone()), Source::daemon("svinit.toml", text)], &env);
    }

    #[test]
    fn no_toml_makes_it_panic(
        lines in proptest::collection::vec(
            (
                prop_oneof!["command", "shell", "type", "requires", "aliases", "\\[ready\\]", "\\[health\\]", "log", "http", "tcp",
                    "exec", "fd", "delay", "\\[restart\\]", "success_codes", "factor", "\\[environment\\]", "\\[[a-z.]{1,6}\\]", "\"[a-z]\""],
                prop_oneof!["'[^'\n]{0,9}'", "\"[$]\\{[A-Z]{1,4}(:[-?][a-z]?)?\\}?\"", "-?[0-9]{1,20}", "\\[\\['a'\\], 'b', 1\\]",
                    "\\{ a = 1 \\}", "true", "1e9", "nan", "1979-05-27", "\"\\\\u0000\""],
            ),
            0..12,
        ),
    ) {
        let text: String = lines
            .iter()
            .map(|(key, value)| if key.starts_with('[') { format!("{key}\n") } else { format!("{key} = {value}\n") })
            .collect();
        let sources = [Source::unit("x/a.toml", text.clone()), Source::unit("y/a.toml", text.clone()), Source::unit("b.toml", text)];
        if let Ok(reading) = read(&sources, &env) {
            let shown: Vec<Source> =
                reading.set.units.values().map(|spec| Source::unit(spec.origin.clone(), effective(spec))).collect();
            prop_assert_eq!(read(&shown, &|_| None).unwrap().set, reading.set);
        }
    }

    #[test]
    fn any_words_survive_being_shown(words in proptest::collection::vec("[^\0]{1,12}", 1..5)) {
        let argv: Vec<String> = words.iter().map(|word| crate::units::table::toml_string(&word.replace('$', "$$"))).collect();
        let list = argv.join(", ");
        let exec = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ");
        let exec = crate::units::table::toml_string(&format!("exec:{exec}"));
        let text = format!("command = [{list}]\n[health]\nexec = [{list}]\non_failure = {exec}");
        let reading = read(&[Source::unit("a.toml", text)], &env).unwrap();
        let unit = reading.set.find("a").unwrap();
        prop_assert_eq!(&unit.command.0, &words);
        let again = read(&[Source::unit("a.toml", effective(unit))], &env).unwrap();
        prop_assert_eq!(again.set, reading.set);
    }
}

/// A thousand units at boot must not cost what a person notices; in a debug build this takes far less than the bound.
#[test]
fn a_thousand_units_are_read_without_quadratic_work() {
    let unit = |n: usize| {
        let needs = if n == 0 { String::new() } else { format!("requires = ['u{}']\n", n - 1) };
        let text = format!(
            "{needs}command = ['sleep', '${{PORT}}']\n[restart]\ndelay = '1s'\n[environment]\nA = 'b'\n"
        );
        Source::unit(format!("u{n}.toml"), text)
    };
    let units: Vec<Source> = (0..1000).map(unit).collect();
    let reading = read(&units, &env).unwrap();
    assert_eq!(reading.set.units.len(), 1000);
    assert_eq!(crate::units::graph::levels(&reading.set).len(), 1000);
}
