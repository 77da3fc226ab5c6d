//! How Dockerfiles and compose files are written here, as tests.
//!
//! As in tests/tidy.rs each rule is a function from a text (or what Compose makes of one) to what is wrong with it, so that
//! `mod proof` can show that it finds what it is for. Compose files are read by Compose itself, which needs no engine.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::engine::{compose_config, files_beside, is_there, root};

/// What is wrong, and what to do instead.
type Finding = String;

type DockerfileRule = fn(&str) -> Vec<Finding>;
type ServiceRule = fn(&Value) -> Vec<Finding>;

const DOCKERFILE_RULES: [DockerfileRule; 10] = [
    a_frontend_is_named,
    what_it_starts_from_is_pinned,
    files_are_added,
    modes_are_those_of_the_checkout,
    a_shell_is_between,
    packages_are_left_over,
    nothing_is_said_of_it,
    nobody_can_do_without_root,
    a_secret_is_built_in,
    nobody_asks_whether_it_is_well,
];

const SERVICE_RULES: [ServiceRule; 14] = [
    it_can_do_too_much,
    it_can_use_too_much,
    it_is_left_alone,
    it_is_ended_too_soon,
    its_check_is_incomplete,
    it_starts_before_others_are_well,
    a_secret_is_in_its_environment,
    it_can_write_where_it_reads,
    its_image_is_not_pinned,
    it_has_two_first_processes,
    it_may_be_one_only,
    it_asks_for_more_than_svinit_needs,
    it_can_fill_the_memory,
    it_mounts_units_that_it_does_not_trust,
];

#[test]
fn dockerfiles_keep_to_the_conventions() {
    let mut wrong = Vec::new();
    let folders = folders("images").into_iter().chain([root().to_owned()]);
    for path in folders.map(|folder| folder.join("Dockerfile")).filter(|path| path.exists()) {
        let text = fs::read_to_string(&path).unwrap();
        for rule in DOCKERFILE_RULES {
            wrong.extend(rule(&text).into_iter().map(|what| format!("{}: {what}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{} against the conventions:\n  {}", wrong.len(), wrong.join("\n  "));
}

#[test]
fn compose_files_keep_to_the_conventions() {
    if !is_there() {
        return;
    }
    let mut wrong = Vec::new();
    for folder in folders("compose") {
        let Some(file) = compose_file(&folder) else { continue };
        let name = folder.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        wrong.extend(of_the_text(&text).into_iter().map(|what| format!("{name}: {what}")));
        wrong.extend(of_what_compose_makes_of_it(name, &[&file]));
        // What is laid over a file must not take away what the file keeps to.
        for over in overlays(&folder, &file) {
            let name = format!("{name}: {}", over.file_name().unwrap().to_str().unwrap());
            wrong.extend(of_what_compose_makes_of_it(&name, &[&file, &over]));
        }
        for beside in files_beside(&folder) {
            let name = format!("{name}: {}", beside.file_name().unwrap().to_str().unwrap());
            let text = fs::read_to_string(&beside).unwrap();
            wrong.extend(of_the_text(&text).into_iter().map(|what| format!("{name}: {what}")));
            wrong.extend(of_what_compose_makes_of_it(&name, &[&beside]));
        }
        for needed in ["README.md", "demo.txt"] {
            if !folder.join(needed).exists() {
                wrong.push(format!("{name}: {needed} is missing"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} against the conventions:\n  {}", wrong.len(), wrong.join("\n  "));
}

fn of_what_compose_makes_of_it(name: &str, files: &[&Path]) -> Vec<Finding> {
    let said = compose_config(files);
    assert!(said.code == 0 && said.err.is_empty(), "{name}: {}", said.err);
    let config: Value = serde_json::from_str(&said.out).unwrap();
    let mut wrong = everybody_reaches_everybody(&config);
    for (service, keys) in config["services"].as_object().expect("it has services") {
        for rule in SERVICE_RULES {
            wrong.extend(rule(keys).into_iter().map(|what| format!("{service}: {what}")));
        }
    }
    wrong.into_iter().map(|what| format!("{name}: {what}")).collect()
}

fn folders(of: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(root().join(of)).unwrap().flatten().map(|entry| entry.path()).collect();
    all.retain(|path| path.is_dir());
    all.sort();
    assert!(!all.is_empty(), "no folder in {of}/");
    all
}

/// The file that `docker compose` takes in that folder.
fn compose_file(folder: &Path) -> Option<PathBuf> {
    let names = ["compose.yaml", "docker-compose.yml"];
    names.into_iter().map(|name| folder.join(name)).find(|path| path.exists())
}

/// For a swarm, by itself and with rules of its own.
const STACK: &str = "compose.stack.yaml";

/// Other compose files of the folder, each for `-f` after the first.
fn overlays(folder: &Path, file: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    let is_one = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        path != file && name.starts_with("compose.") && name.ends_with(".yaml") && name != STACK
    };
    all.retain(|path| is_one(path));
    all.sort();
    all
}

// Dockerfiles.

/// Instructions, continued lines joined, comments left out.
fn instructions(dockerfile: &str) -> Vec<(String, String)> {
    let lines = dockerfile.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let of = |line: &str| {
        let (word, rest) = line.trim().split_once(char::is_whitespace)?;
        Some((word.to_uppercase(), rest.trim().to_owned()))
    };
    joined.lines().filter_map(of).collect()
}

fn with<'a>(all: &'a [(String, String)], word: &'a str) -> impl Iterator<Item = &'a str> {
    all.iter().filter(move |(name, _)| name == word).map(|(_, rest)| rest.as_str())
}

fn a_frontend_is_named(text: &str) -> Vec<Finding> {
    let named = text.lines().any(|line| line.replace(' ', "").to_lowercase().starts_with("#syntax="));
    named
        .then(|| "a `# syntax=` line fetches a frontend from a registry: leave it out".to_owned())
        .into_iter()
        .collect()
}

fn what_it_starts_from_is_pinned(text: &str) -> Vec<Finding> {
    let all = instructions(text);
    let stages: Vec<&str> =
        with(&all, "FROM").filter_map(|from| from.split_once(" AS ")).map(|(_, name)| name).collect();
    let is_pinned = |name: &str| {
        let tag = name.rsplit_once(':').map(|(_, tag)| tag);
        stages.contains(&name) || name == "scratch" || tag.is_some_and(|tag| tag != "latest")
    };
    let mut found = Vec::new();
    for from in with(&all, "FROM") {
        let image = from.split(' ').next().unwrap_or_default();
        let argument = image.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let default = argument.map(|name| {
            let value = with(&all, "ARG").find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default()
        });
        if !is_pinned(default.unwrap_or(image)) {
            found.push(format!("FROM {image}: name a tag, or an ARG with one"));
        }
    }
    found
}

fn files_are_added(text: &str) -> Vec<Finding> {
    with(&instructions(text), "ADD").map(|what| format!("ADD {what}: COPY does no magic")).collect()
}

/// Git keeps no mode but the x, so a umask of 002 makes units that svinit does not trust, and one of 077 pages that nobody reads.
fn modes_are_those_of_the_checkout(text: &str) -> Vec<Finding> {
    let all = instructions(text);
    let copies = with(&all, "COPY").filter(|what| !what.contains("--from=") && !what.contains("--chmod="));
    copies.map(|what| format!("COPY {what}: --chmod=0755, or 0644 for files alone")).collect()
}

fn a_shell_is_between(text: &str) -> Vec<Finding> {
    let all = instructions(text);
    let mut found: Vec<Finding> = Vec::new();
    for word in ["ENTRYPOINT", "CMD"] {
        found.extend(
            with(&all, word)
                .filter(|rest| !rest.starts_with('['))
                .map(|_| format!("{word} as a list, so that signals reach it")),
        );
    }
    let checks = with(&all, "HEALTHCHECK").filter(|rest| *rest != "NONE" && !rest.contains("CMD ["));
    found.extend(checks.map(|_| "HEALTHCHECK CMD as a list".to_owned()));
    found
}

/// What runs in stages that end up in an image. What others leave behind stays with them.
fn shipped_runs(text: &str) -> Vec<String> {
    let mut stages: Vec<(String, String, Vec<String>)> = Vec::new();
    for (word, rest) in instructions(text) {
        if word == "FROM" {
            let (parent, name) = rest.split_once(" AS ").unwrap_or((&rest, ""));
            stages.push((name.to_owned(), parent.to_owned(), Vec::new()));
        } else if let (true, Some((_, _, runs))) = (word == "RUN", stages.last_mut()) {
            runs.push(rest);
        }
    }
    let mut runs = Vec::new();
    let mut wanted =
        vec![stages.len().checked_sub(1), stages.iter().position(|(name, ..)| name == "rootless")];
    let mut seen = Vec::new();
    while let Some(next) = wanted.pop() {
        let Some(at) = next.filter(|at| !seen.contains(at)) else { continue };
        seen.push(at);
        runs.extend(stages[at].2.iter().cloned());
        wanted.push(stages.iter().position(|(name, ..)| !name.is_empty() && *name == stages[at].1));
    }
    runs
}

fn packages_are_left_over(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for run in shipped_runs(text) {
        if run.contains("apt-get install") {
            for needed in ["--no-install-recommends", " /var/lib/apt/lists/*", "apt-get update"] {
                if !run.contains(needed) {
                    found.push(format!("apt-get install without `{}` in the same RUN", needed.trim()));
                }
            }
        }
        if run.contains("pip install") && !run.contains("--no-cache-dir") {
            found.push("pip install without --no-cache-dir".to_owned());
        }
        if run.contains("sudo") {
            found.push("sudo: the build is root".to_owned());
        }
    }
    found
}

fn nothing_is_said_of_it(text: &str) -> Vec<Finding> {
    let needed = ["org.opencontainers.image.title=", "org.opencontainers.image.description="];
    needed
        .into_iter()
        .filter(|label| !text.contains(label))
        .map(|label| format!("without the label {label}"))
        .collect()
}

/// An image from which others copy, with nothing to run in it.
fn is_only_files(text: &str) -> bool {
    let last = instructions(text).iter().rev().find(|(word, _)| word == "FROM").map(|(_, from)| from.clone());
    last.is_some_and(|from| from.starts_with("scratch"))
}

/// The base itself serves nothing.
fn nobody_can_do_without_root(text: &str) -> Vec<Finding> {
    if text.contains("ENTRYPOINT [\"svinit\"]") || is_only_files(text) {
        return Vec::new();
    }
    let stage = text
        .split("\nFROM ")
        .find(|stage| stage.lines().next().is_some_and(|from| from.contains(" AS rootless")));
    let user = stage.and_then(|stage| stage.lines().find_map(|line| line.strip_prefix("USER ")));
    let is_number = |user: &str| user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id != 0));
    match user {
        Some(user) if is_number(user) => Vec::new(),
        _ => vec!["a stage `rootless` that ends with a numeric USER is missing: Kubernetes must see that it is not root".to_owned()],
    }
}

fn a_secret_is_built_in(text: &str) -> Vec<Finding> {
    let all = instructions(text);
    let words = with(&all, "ENV").chain(with(&all, "ARG")).flat_map(str::split_whitespace);
    let names = words.filter_map(|word| word.split('=').next()).filter(|name| is_secret(name));
    names
        .map(|name| format!("{name}: whoever has the image has the secret; a file at run time instead"))
        .collect()
}

fn is_secret(name: &str) -> bool {
    ["PASSWORD", "SECRET", "TOKEN"].iter().any(|word| name.contains(word))
        && !name.ends_with("_FILE")
        && !name.ends_with("_DIR")
}

/// An image of ours has the check of what it starts from.
fn nobody_asks_whether_it_is_well(text: &str) -> Vec<Finding> {
    let is_ours = text.contains("_IMAGE=svinit/") || text.contains("HEALTHCHECK ") || is_only_files(text);
    (!is_ours)
        .then(|| "HEALTHCHECK is missing: start from svinit/base, which has it".to_owned())
        .into_iter()
        .collect()
}

// Compose files.

fn of_the_text(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if text.lines().any(|line| line.starts_with("version:")) {
        found.push("version: is obsolete".to_owned());
    }
    if !text.lines().any(|line| line.starts_with("name:")) {
        found.push("name: is missing; the folder's name would be the project's".to_owned());
    }
    if text.contains("start_interval") {
        found.push("start_interval: engines before 25 refuse the whole file; put it into compose.start-interval.yaml".to_owned());
    }
    for line in text.lines().filter(|line| line.trim_start().starts_with("ports: [\"")) {
        if !line.contains("_PORT:-") {
            found.push(format!("{}: a published port is a variable, as ${{HTTP_PORT:-80}}", line.trim()));
        }
    }
    found
}

fn everybody_reaches_everybody(config: &Value) -> Vec<Finding> {
    let services = config["services"].as_object().into_iter().flatten();
    let nowhere: Vec<&String> = services
        .filter(|(_, keys)| keys["network_mode"] != "none")
        .filter(|(_, keys)| keys["networks"].as_object().is_none_or(|all| all.contains_key("default")))
        .map(|(name, _)| name)
        .collect();
    let is_alone = config["services"].as_object().is_some_and(|all| all.len() == 1);
    if is_alone {
        Vec::new()
    } else {
        nowhere.iter().map(|name| format!("{name}: networks: those that it needs, by name")).collect()
    }
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true)
}

fn holds(list: &Value, wanted: &str) -> bool {
    list.as_array()
        .is_some_and(|all| all.iter().any(|item| item.as_str().is_some_and(|text| text.contains(wanted))))
}

fn it_can_do_too_much(service: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut want = |good: bool, what: &str| {
        if !good {
            found.push(what.to_owned());
        }
    };
    want(holds(&service["cap_drop"], "ALL"), "cap_drop: [ALL], and cap_add what it needs");
    want(holds(&service["security_opt"], "no-new-privileges"), "security_opt: [no-new-privileges:true]");
    want(is_true(&service["read_only"]), "read_only: true, with a tmpfs where it writes");
    want(!is_true(&service["privileged"]), "privileged is everything");
    for space in ["network_mode", "pid", "ipc", "userns_mode"] {
        want(service[space] != "host", &format!("{space}: host"));
    }
    found
}

fn it_can_use_too_much(service: &Value) -> Vec<Finding> {
    let limits = &service["deploy"]["resources"]["limits"];
    let has = |plain: &str, deployed: &str| !service[plain].is_null() || !limits[deployed].is_null();
    let mut found = Vec::new();
    for (plain, deployed) in [("mem_limit", "memory"), ("cpus", "cpus"), ("pids_limit", "pids")] {
        if !has(plain, deployed) {
            found.push(format!("{plain} is missing"));
        }
    }
    let log = &service["logging"]["options"];
    if log["max-size"].is_null() || log["max-file"].is_null() {
        found.push("logging: max-size and max-file, or the log fills the disk".to_owned());
    }
    found
}

fn it_is_left_alone(service: &Value) -> Vec<Finding> {
    let is_said = service["restart"].is_string();
    (!is_said).then(|| "restart: unless-stopped".to_owned()).into_iter().collect()
}

/// svinit takes up to 9.5 s by default, and 40 s where there is a database, which writes what it has in memory.
fn it_is_ended_too_soon(service: &Value) -> Vec<Finding> {
    let grace = service["stop_grace_period"].as_str().unwrap_or_default();
    let seconds = match grace.strip_suffix('s').map(|rest| rest.rsplit_once('m').unwrap_or(("0", rest))) {
        Some((minutes, seconds)) => {
            minutes.parse::<u32>().unwrap_or_default() * 60 + seconds.parse::<u32>().unwrap_or_default()
        }
        None => 0,
    };
    let image = service["image"].as_str().unwrap_or_default();
    let has_a_database =
        ["postgres", "patroni", "mysql", "mariadb", "monolith"].iter().any(|name| image.contains(name));
    let (bound, enough) = if has_a_database { (40, "45s") } else { (10, "15s") };
    (seconds <= bound)
        .then(|| format!("stop_grace_period: {grace:?} is not above svinit's own bound: {enough}"))
        .into_iter()
        .collect()
}

fn its_check_is_incomplete(service: &Value) -> Vec<Finding> {
    let check = &service["healthcheck"];
    // An image of ours asks svctl, if nothing else is said.
    let is_ours = service["image"].as_str().is_some_and(|image| image.starts_with("svinit/"));
    if check.is_null() {
        return if is_ours { Vec::new() } else { vec!["healthcheck is missing".to_owned()] };
    }
    let needed = ["test", "interval", "timeout", "retries", "start_period"];
    needed
        .into_iter()
        .filter(|key| check[key].is_null())
        .map(|key| format!("healthcheck without {key}"))
        .collect()
}

fn it_starts_before_others_are_well(service: &Value) -> Vec<Finding> {
    let others = service["depends_on"].as_object().into_iter().flatten();
    others
        .filter(|(_, how)| how["condition"] == "service_started")
        .map(|(other, _)| format!("depends_on {other}: condition: service_healthy"))
        .collect()
}

fn a_secret_is_in_its_environment(service: &Value) -> Vec<Finding> {
    let names = service["environment"].as_object().into_iter().flatten();
    names
        .filter(|(name, _)| is_secret(name))
        .map(|(name, _)| format!("{name}: a secret as a file, and {name}_FILE"))
        .collect()
}

fn it_can_write_where_it_reads(service: &Value) -> Vec<Finding> {
    let mounts = service["volumes"].as_array().into_iter().flatten();
    let binds = mounts.filter(|mount| mount["type"] == "bind");
    let mut found = Vec::new();
    for bind in binds {
        let source = bind["source"].as_str().unwrap_or_default();
        if source.ends_with("docker.sock") {
            if service["network_mode"] != "none" {
                found.push("the Docker socket is root on the host: who has it has no network".to_owned());
            }
        } else if !is_true(&bind["read_only"]) {
            found.push(format!("{} is mounted without :ro", bind["target"]));
        }
    }
    found
}

fn its_image_is_not_pinned(service: &Value) -> Vec<Finding> {
    let image = service["image"].as_str().unwrap_or_default();
    let is_pinned = image.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest");
    (!is_pinned).then(|| format!("image {image:?}: name a tag")).into_iter().collect()
}

fn it_has_two_first_processes(service: &Value) -> Vec<Finding> {
    is_true(&service["init"])
        .then(|| "init: true puts another program before svinit".to_owned())
        .into_iter()
        .collect()
}

/// Names that the manager's first authors use by themselves, in a file that scales nothing.
const NAMED: [&str; 3] = ["frontend_container", "backend_container", "database_container"];

fn it_may_be_one_only(service: &Value) -> Vec<Finding> {
    let name = service["container_name"].as_str();
    name.filter(|name| !NAMED.contains(name))
        .map(|name| format!("container_name: {name}: it could not be scaled, nor the system be there twice"))
        .into_iter()
        .collect()
}

/// To start units as their users, to stop them, to give them their files, and to read secrets for them.
const CAPABILITIES: [&str; 5] = ["SETUID", "SETGID", "CHOWN", "KILL", "DAC_READ_SEARCH"];

fn it_asks_for_more_than_svinit_needs(service: &Value) -> Vec<Finding> {
    let asked = service["cap_add"].as_array().into_iter().flatten().filter_map(Value::as_str);
    asked
        .filter(|name| !CAPABILITIES.contains(&name.trim_start_matches("CAP_")))
        .map(|name| format!("cap_add {name}: svinit needs none but {}", CAPABILITIES.join(", ")))
        .collect()
}

fn it_can_fill_the_memory(service: &Value) -> Vec<Finding> {
    let mounts = service["tmpfs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    mounts
        .filter(|mount| !mount.contains("size="))
        .map(|mount| format!("tmpfs {mount}: size=64m, or it may take half of the machine's memory"))
        .collect()
}

/// A folder of the repository belongs to whoever has cloned it, and not to root.
fn it_mounts_units_that_it_does_not_trust(service: &Value) -> Vec<Finding> {
    let mounts = service["volumes"].as_array().into_iter().flatten();
    let has_units = |mount: &&Value| {
        mount["type"] == "bind"
            && mount["target"].as_str().is_some_and(|path| path.starts_with("/etc/svinit/local"))
    };
    let is_trusted = service["environment"]["SVINIT_TRUST_UNITS"] == "1";
    mounts
        .filter(has_units)
        .filter(|_| !is_trusted)
        .map(|mount| {
            format!(
                "{}: SVINIT_TRUST_UNITS: \"1\", or svinit refuses files of who runs Compose",
                mount["target"]
            )
        })
        .collect()
}

/// The rules find what they are for, and leave alone what only looks like it.
mod proof {
    use super::*;
    use serde_json::json;

    const GOOD: &str = "ARG BASE_IMAGE=svinit/base:local\nFROM ${BASE_IMAGE} AS image\n\
        LABEL org.opencontainers.image.title=\"a\" \\\n org.opencontainers.image.description=\"b\"\n\
        RUN apt-get update && \\\n apt-get install -y --no-install-recommends x && rm -rf /var/lib/apt/lists/*\n\
        ENV A_PASSWORD_FILE=/run/secrets/a\nFROM image AS rootless\nUSER 7:7\nFROM image\n";

    /// What the rules say of `GOOD` with one thing changed.
    fn dockerfile(from: &str, to: &str) -> usize {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replace(from, to);
        DOCKERFILE_RULES.iter().map(|rule| rule(&text).len()).sum()
    }

    #[test]
    fn each_mistake_in_a_dockerfile_is_found_and_a_good_one_is_left_alone() {
        assert_eq!(dockerfile("USER 7:7", "USER 7:7"), 0);
        let mistakes = [
            ("ARG BASE", "# syntax=docker/dockerfile:1\nARG BASE"),
            ("ENV A", "ADD a /\nENV A"),
            ("ENV A", "COPY a /\nENV A"),
            ("ENV A", "CMD a b\nENV A"),
            ("ENV A", "HEALTHCHECK CMD curl -f http://localhost\nENV A"),
            ("--no-install-recommends", ""),
            ("rm -rf /var/lib/apt/lists/*", "true"),
            ("apt-get update", "true"),
            ("ENV A", "RUN pip install flask\nENV A"),
            ("ENV A", "RUN sudo true\nENV A"),
            ("image.title", "image.name"),
            ("USER 7:7", "USER app"),
            ("USER 7:7", "USER 0:0"),
            ("A_PASSWORD_FILE=/run/secrets/a", "A_PASSWORD=a"),
            ("FROM image AS rootless", "FROM debian:latest AS rootless"),
            ("FROM image AS rootless", "FROM debian AS rootless"),
        ];
        for (from, to) in mistakes {
            assert_eq!(dockerfile(from, to), 1, "{to}");
        }
        // What a stage leaves behind that is only built in does not matter.
        assert_eq!(
            dockerfile(
                "FROM image AS rootless",
                "FROM image AS build\nRUN pip install x\nFROM image AS rootless"
            ),
            0
        );
        // What others only copy from is asked nothing and has no user.
        let files = "FROM debian:1 AS build\nFROM scratch AS svinit\nCOPY --from=build /a /\n\
            LABEL org.opencontainers.image.title=\"a\" org.opencontainers.image.description=\"b\"\n";
        assert_eq!(DOCKERFILE_RULES.iter().map(|rule| rule(files).len()).sum::<usize>(), 0);
        // What starts from somewhere else has neither a tag of ours nor the check of the base.
        assert_eq!(dockerfile("svinit/base:local", "nginx"), 2);
    }

    fn good() -> Value {
        json!({
            "image": "svinit/web:local", "restart": "unless-stopped", "stop_grace_period": "1m15s",
            "read_only": true, "cap_drop": ["ALL"], "cap_add": ["SETUID"], "tmpfs": ["/tmp:size=64m"], "security_opt": ["no-new-privileges:true"],
            "mem_limit": "1", "cpus": 1, "deploy": { "resources": { "limits": { "pids": 1 } } },
            "logging": { "options": { "max-size": "1m", "max-file": "3" } }, "networks": { "back": null },
            "healthcheck": { "test": ["CMD", "a"], "interval": "1s", "timeout": "1s", "retries": 3, "start_period": "1s" },
            "depends_on": { "db": { "condition": "service_healthy" } },
            "environment": { "PASSWORD_FILE": "/run/secrets/a" },
            "volumes": [{ "type": "bind", "source": "/a", "target": "/a", "read_only": true }, { "type": "volume" }],
        })
    }

    #[test]
    fn each_mistake_in_a_service_is_found_and_a_good_one_is_left_alone() {
        let found = |service: &Value| -> usize { SERVICE_RULES.iter().map(|rule| rule(service).len()).sum() };
        assert_eq!(found(&good()), 0);
        let mistakes = [
            ("cap_drop", json!(["NET_RAW"])),
            ("security_opt", Value::Null),
            ("read_only", json!(false)),
            ("privileged", json!(true)),
            ("network_mode", json!("host")),
            ("pid", json!("host")),
            ("mem_limit", Value::Null),
            ("cpus", Value::Null),
            ("deploy", Value::Null),
            ("logging", Value::Null),
            ("restart", Value::Null),
            ("stop_grace_period", json!("10s")),
            ("stop_grace_period", Value::Null),
            ("healthcheck", json!({ "test": ["a"], "interval": "1s", "timeout": "1s", "retries": 3 })),
            ("depends_on", json!({ "db": { "condition": "service_started" } })),
            ("environment", json!({ "DB_PASSWORD": "a" })),
            ("volumes", json!([{ "type": "bind", "source": "/a", "target": "/a" }])),
            ("volumes", json!([{ "type": "bind", "source": "/run/docker.sock", "read_only": true }])),
            ("image", json!("nginx")),
            ("image", json!("nginx:latest")),
            ("init", json!(true)),
            ("cap_add", json!(["SETUID", "SYS_ADMIN"])),
            ("tmpfs", json!(["/tmp:mode=1777"])),
            ("container_name", json!("web")),
            ("volumes", json!([{ "type": "bind", "target": "/etc/svinit/local", "read_only": true }])),
        ];
        for (key, value) in mistakes {
            let mut service = good();
            service[key] = value.clone();
            assert_eq!(found(&service), 1, "{key}: {value}");
        }
        let mut database = good();
        database["image"] = json!("svinit/postgres:local-rootless");
        assert_eq!(found(&database), 0);
        database["stop_grace_period"] = json!("40s");
        assert_eq!(found(&database), 1);
        let mut guard = good();
        guard["volumes"] = json!([{ "type": "bind", "source": "/run/docker.sock" }]);
        guard["network_mode"] = json!("none");
        assert_eq!(found(&guard), 0);
        let mut named = good();
        named["container_name"] = json!("backend_container");
        assert_eq!(found(&named), 0);
    }

    #[test]
    fn a_service_without_a_check_or_a_network_of_its_own_is_found() {
        let mut foreign = good();
        foreign["healthcheck"] = Value::Null;
        assert_eq!(its_check_is_incomplete(&foreign).len(), 0, "our images bring one");
        foreign["image"] = json!("grafana/grafana:11.1.0");
        assert_eq!(its_check_is_incomplete(&foreign).len(), 1);

        let two = |networks: Value| json!({ "services": { "a": good(), "b": { "networks": networks } } });
        assert_eq!(everybody_reaches_everybody(&two(json!({ "default": null }))).len(), 1);
        assert_eq!(everybody_reaches_everybody(&two(json!({ "back": null }))).len(), 0);
        assert_eq!(everybody_reaches_everybody(&json!({ "services": { "a": {} } })).len(), 0);
    }

    #[test]
    fn each_mistake_in_the_text_is_found() {
        let good = "name: a\nservices:\n  web:\n    ports: [\"${HTTP_PORT:-80}:80\"]\n";
        assert_eq!(of_the_text(good), [] as [&str; 0]);
        assert_eq!(of_the_text(&format!("version: \"3\"\n{good}")).len(), 1);
        assert_eq!(of_the_text(&good.replace("name: a\n", "")).len(), 1);
        assert_eq!(of_the_text(&good.replace("${HTTP_PORT:-80}", "80")).len(), 1);
        assert_eq!(of_the_text(&format!("{good}    healthcheck: {{ start_interval: 1s }}\n")).len(), 1);
    }
}
