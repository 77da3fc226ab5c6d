//! Texts that people and the kernel write: units, variables, quantities, accounts, `/proc`.

use std::path::{Component, Path};

use svinit::lifecycle::event::Pid;
use svinit::os::cgroup::Places;
use svinit::os::procfs;
use svinit::os::user;
use svinit::os::zone;
use svinit::runtime::environment::lines;
use svinit::units::cron::Cron;
use svinit::units::expand::{self, EXPANDED_MAX};
use svinit::units::graph;
use svinit::units::quantity;
use svinit::units::reading::{self, Reading};
use svinit::units::show;
use svinit::units::source::Source;
use svinit::units::spec::{Context, Zone};
use svinit::units::words;

use crate::target::Target;

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8000".to_owned()),
        "EMPTY" => Some(String::new()),
        "NASTY" => Some("a b; ${PORT} $$ \"\n'".to_owned()),
        "LONG" => Some("x".repeat(10_000)),
        _ => None,
    }
}

/// Text from bytes: what is not UTF-8 never comes so far.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sources(unit: &str) -> [Source; 3] {
    let other = "command = [\"sleep\", \"1\"]\n";
    [
        Source::unit("/u/db.toml", other),
        Source::unit("/u/cache.toml", other),
        Source::unit("/u/web.toml", unit),
    ]
}

/// A unit to a plan: what is in force, written down again, is the same unit; every problem has words.
pub const UNITS: Target = Target {
    name: "units",
    read: |bytes| {
        let text = text(bytes);
        match reading::read(&sources(&text), &env) {
            Ok(reading) => sound(&reading),
            Err(problems) => told(&problems.to_string()),
        }
    },
    dictionary: &[
        "command",
        "shell",
        "type",
        "\"notify\"",
        "\"oneshot\"",
        "\"forking\"",
        "pid_file",
        "requires",
        "wants",
        "after",
        "before",
        "part_of",
        "conflicts",
        "[\"db\"]",
        "[\"cache\", \"db\"]",
        "\"web\"",
        "[ready]",
        "[health]",
        "[restart]",
        "[stop]",
        "[log]",
        "[limits]",
        "[hooks]",
        "[environment]",
        "[secrets]",
        "[credentials]",
        "[wait_for]",
        "[reload]",
        "[sandbox]",
        "http",
        "tcp",
        "unix",
        "exec",
        "file",
        "timeout",
        "interval",
        "\"10s\"",
        "\"1m30s\"",
        "\"64M\"",
        "\"${PORT}\"",
        "${NASTY}",
        "${X:-y}",
        "${X:?z}",
        "$$",
        "true",
        "false",
        "[]",
        "{}",
        "\"\"\"",
        "'''",
        "\\u0000",
        "pre_start",
        "capabilities",
        "nofile",
        "\"unlimited\"",
        "memory_max",
        "\"SIGRTMIN+3\"",
        "aliases",
        "[schedule]",
        "cron",
        "every",
        "\"0 3 * * *\"",
        "timezone",
        "overlap",
        "missed",
        "jitter",
    ],
    most: 4096,
    runs: 2_000,
};

fn sound(reading: &Reading) -> Result<(), String> {
    let _ = (graph::levels(&reading.set), graph::text(&reading.set), graph::dot(&reading.set));
    for warning in &reading.warnings {
        told(&warning.to_string())?;
    }
    let spec = reading.set.find("web").ok_or("the unit is not in its own set")?;
    let shown = show::effective(spec);
    let again =
        reading::read(&sources(&shown), &|_| None).map_err(|why| format!("{shown}\nis refused: {why}"))?;
    let read = again.set.find("web").ok_or("the unit is not in the set of what is shown")?;
    if read == spec {
        Ok(())
    } else {
        Err(format!("it is shown as\n{shown}\nwhich is another unit:\n{read:?}\n{spec:?}"))
    }
}

fn told(words: &str) -> Result<(), String> {
    if words.trim().is_empty() { Err("it is refused without a word".to_owned()) } else { Ok(()) }
}

/// `svinit.toml`.
pub const DAEMON: Target = Target {
    name: "daemon",
    read: |bytes| {
        let mut all = Vec::from(sources("command = [\"true\"]\n"));
        all.push(Source::daemon("/etc/svinit/svinit.toml", text(bytes)));
        match reading::read(&all, &env) {
            Ok(_) => Ok(()),
            Err(problems) => told(&problems.to_string()),
        }
    },
    dictionary: &[
        "shutdown_timeout",
        "fork_rate",
        "[control]",
        "[http]",
        "[log]",
        "[defaults.restart]",
        "[defaults.log]",
        "listen",
        "\"off\"",
        "\"0.0.0.0:9500\"",
        "socket_group",
        "buffer_total",
        "\"64M\"",
        "\"json\"",
        "policy",
        "\"always\"",
    ],
    most: 4096,
    runs: 2_000,
};

/// `${VAR}`: bounded, and what was escaped comes back.
pub const EXPAND: Target = Target {
    name: "expand",
    read: |bytes| {
        let text = text(bytes);
        if let Ok(expanded) = expand::expand(&text, &env) {
            if expanded.text.len() > EXPANDED_MAX {
                return Err(format!("it has grown to {} bytes", expanded.text.len()));
            }
            if !text.contains('$') && expanded.text != text {
                return Err("a text without a dollar has changed".to_owned());
            }
        }
        let escaped = expand::escape(&text);
        match expand::expand(&escaped, &env) {
            Ok(back) if back.text == text && back.unset.is_empty() => Ok(()),
            other => Err(format!("escaped it is {escaped:?}, and then {other:?}")),
        }
    },
    dictionary: &[
        "${",
        "}",
        ":-",
        ":?",
        "$$",
        "${PORT}",
        "${NONE:-",
        "${EMPTY:?x}",
        "${NASTY}",
        "${LONG}",
        "$",
    ],
    most: 4096,
    runs: 20_000,
};

/// Fields of time: what is printed means the same, and the next moment is later and comes at a full minute.
pub const CRON: Target = Target {
    name: "cron",
    read: |bytes| {
        let text = text(bytes);
        let _ = Zone::parse(&text).map(|zone| zone::find(&zone));
        let Ok(cron) = Cron::parse(&text) else { return Ok(()) };
        if Cron::parse(cron.as_str()).as_ref() != Ok(&cron) {
            return Err(format!("{text:?} is printed as {:?}", cron.as_str()));
        }
        for rules in ["CET-1CEST,M3.5.0,M10.5.0/3", "<-04>4<-03>,M9.1.6/24,M4.1.6/24", "<+0545>-5:45"] {
            let zone = jiff::tz::TimeZone::posix(rules).map_err(|error| error.to_string())?;
            let mut after = jiff::Timestamp::from_second(1_790_000_000).map_err(|error| error.to_string())?;
            for _ in 0..4 {
                let Some(next) = cron.next(after, &zone) else { return Err(format!("{text:?} never comes")) };
                if next <= after || zone.to_datetime(next).second() != 0 {
                    return Err(format!("{text:?} comes at {next} after {after} in {rules}"));
                }
                after = next;
            }
        }
        Ok(())
    },
    dictionary: &[
        "*",
        "*/",
        "0",
        "7",
        "31",
        "-",
        ",",
        "/5",
        "jan",
        "DEC",
        "mon",
        "sun",
        "@daily",
        "@yearly",
        "29 2",
        "* * * * *",
        "0 3 * * *",
        "*/15 8-18 * * mon-fri",
        "0 0 13 * fri",
        "L",
        "W",
        "#",
        "?",
        "%",
        "UTC",
        "local",
        "Europe/Zurich",
        "CET-1CEST,M3.5.0,M10.5.0/3",
    ],
    most: 200,
    runs: 3_000,
};

/// Durations, sizes and words.
pub const QUANTITIES: Target = Target {
    name: "quantities",
    read: |bytes| {
        let text = text(bytes);
        if let Ok(duration) = quantity::parse_duration(&text) {
            let printed = quantity::print_duration(duration);
            if quantity::parse_duration(&printed) != Ok(duration) {
                return Err(format!("{duration:?} is printed as {printed}"));
            }
        }
        if let Ok(size) = quantity::parse_size(&text) {
            let printed = quantity::print_size(size);
            if quantity::parse_size(&printed) != Ok(size) {
                return Err(format!("{size} is printed as {printed}"));
            }
        }
        if let Ok(words) = words::split(&text) {
            let quoted: Vec<String> =
                words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
            let again = words::split(&quoted.join(" "));
            // A dollar within single quotes comes out as one that expansion leaves alone.
            let expected: Vec<String> = words.iter().map(|word| word.replace('$', "$$")).collect();
            if again.as_ref() != Ok(&expected) {
                return Err(format!("{words:?} in quotes is {again:?}"));
            }
        }
        Ok(())
    },
    dictionary: &[
        "1m30s",
        "9.5s",
        "250ms",
        "us",
        "w",
        "1.5G",
        "KB",
        "MiB",
        "\"",
        "'",
        "\\",
        " ",
        "18446744073709551615T",
    ],
    most: 200,
    runs: 20_000,
};

/// `environment_files`: names that a shell takes, values that exec takes.
pub const ENVIRONMENT: Target = Target {
    name: "environment",
    read: |bytes| {
        let text = text(bytes);
        let pairs = match lines::parse(&text) {
            Ok(pairs) => pairs,
            Err(why) => return told(&why),
        };
        for (name, value) in &pairs {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(plain) || value.contains('\0') {
                return Err(format!("{name:?} = {value:?}"));
            }
        }
        // What has no line end can be written in double quotes and read again.
        let lines = pairs.iter().filter(|(_, value)| !value.contains(['\n', '\r']));
        let written: String = lines
            .clone()
            .map(|(name, value)| {
                let escaped =
                    value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
                format!("export {name} = \"{escaped}\" # so\n")
            })
            .collect();
        let again = lines::parse(&written);
        if again.as_ref().is_ok_and(|again| again.iter().eq(lines)) {
            Ok(())
        } else {
            Err(format!("written again:\n{written}\nit is {again:?}"))
        }
    },
    dictionary: &["export ", "=", "\"", "'", "#", ";", "\\\"", "\\\\", "\\$", "\r\n", "A_1="],
    most: 1000,
    runs: 20_000,
};

/// `/etc/passwd`, and `/etc/group` behind the first line `---`. Nobody who is not root becomes root, and the number that
/// means "stay as you are" is nobody's.
pub const ACCOUNTS: Target = Target {
    name: "accounts",
    read: |bytes| {
        let cut = bytes.windows(5).position(|five| five == b"\n---\n");
        let (passwd, group) = cut.map_or((bytes, &b""[..]), |at| (&bytes[..=at], &bytes[at + 5..]));
        for wanted in ["app", "1000", "root", "4294967295", "-1"] {
            let context = Context {
                user: Some(wanted.to_owned()),
                groups: vec!["staff".to_owned()],
                ..Context::default()
            };
            for context in [Context { groups: Vec::new(), ..context.clone() }, context] {
                let Ok(ids) = user::resolve_in(passwd.to_vec(), group.to_vec(), &context) else { continue };
                let mut all = ids.groups.iter().chain([&ids.uid, &ids.gid]);
                let line = format!("{wanted}:");
                let is_there =
                    passwd.split(|byte| *byte == b'\n').any(|found| found.starts_with(line.as_bytes()));
                if all.any(|id| *id == u32::MAX) {
                    return Err(format!("user {wanted} is {ids:?}"));
                }
                if !is_there && wanted != "1000" {
                    return Err(format!("user {wanted}, who is not there, is {ids:?}"));
                }
                if !is_there && ids.uid != 1000 {
                    return Err(format!("user {wanted} is {ids:?}"));
                }
            }
        }
        Ok(())
    },
    dictionary: &[
        "root",
        "app",
        "1000",
        "staff",
        ":x:",
        ":*:",
        "::",
        "\n---\n",
        "+",
        "-",
        "+::::::",
        ":0:0:",
        ",app",
        "app,",
        "4294967295",
        "/bin/sh",
        "/nonexistent",
        "\n",
    ],
    most: 2000,
    runs: 10_000,
};

/// Files of `/proc/PID`. The first line is also taken as a process's name: whatever it is, the kernel's fields count.
pub const PROCESSES: Target = Target {
    name: "processes",
    read: |bytes| {
        let _ = (procfs::parse_stat(bytes), procfs::parse_resident(bytes));
        let _ = procfs::parse_rttime(bytes);
        if procfs::parse_pids(bytes).iter().any(|Pid(pid)| *pid <= 0) {
            return Err("a number that is no process's".to_owned());
        }
        let name = &bytes[..bytes.len().min(64)];
        let fields = b" S 42 43 44 0 -1 4194304 10 11 12 13 500 70 5 6 20 0 3 0 987654 1 2 3\n";
        let stat = [b"7 (", name, b")", &fields[..]].concat();
        let read = procfs::parse_stat(&stat).ok_or("a name hides the fields behind it")?;
        let seen =
            (read.state, read.parent, read.group, read.session, read.ticks, read.threads, read.started);
        if seen != (b'S', Pid(42), 43, 44, 570, 3, 987_654) {
            return Err(format!("a name makes of the fields behind it: {read:?}"));
        }
        Ok(())
    },
    dictionary: &[
        ") Z 1",
        ")",
        "(",
        " S ",
        " 1 1 1",
        "Max realtime timeout",
        "unlimited",
        "us",
        "\n",
        "18446744073709551615",
        "-1",
    ],
    most: 1500,
    runs: 20_000,
};

/// `/proc/self/cgroup`, and `/proc/self/mountinfo` behind the first line `---`: never a path that leads out of a mount.
pub const CGROUPS: Target = Target {
    name: "cgroups",
    read: |bytes| {
        let text = text(bytes);
        let (groups, mounts) = text.split_once("\n---\n").unwrap_or((&text, ""));
        let points: Vec<&str> =
            mounts.lines().filter_map(|line| line.split(" - ").next()?.split(' ').nth(4)).collect();
        let places = Places::of(groups.to_owned(), mounts.to_owned());
        for dir in [places.own_dir(), places.own_memory_dir()].into_iter().flatten() {
            let leaves = dir.components().any(|part| part == Component::ParentDir);
            if leaves || !points.iter().any(|point| dir.starts_with(Path::new(point))) {
                return Err(format!("{} is below no mount", dir.display()));
            }
        }
        Ok(())
    },
    dictionary: &[
        "0::/",
        "0::",
        ":memory:",
        "4:memory:/docker/a",
        "\n---\n",
        " - cgroup2 cgroup rw",
        " - cgroup cgroup rw,memory",
        "/sys/fs/cgroup",
        "..",
        "/..",
        "/",
        " ",
        "shared:9",
        "\\040",
    ],
    most: 2000,
    runs: 20_000,
};
