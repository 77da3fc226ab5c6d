//! A Docker engine, images that are built once, and whole systems of compose/ that end with the value.
//!
//!     let Some(cluster) = System::up("cluster") else { return };
//!     let web = cluster.container("web1");
//!     web.svctl("restart nginx");
//!
//! A system gets a project name, ports, volumes and secrets of its own: nothing that somebody else runs is touched, and
//! everything goes at the end. All waits have a bound, after which they panic with what the system has said.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes, wait for them, and bound their waits by a clock"
)]
#![allow(dead_code, unreachable_pub, reason = "a tool for every module, of which each uses a part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

#[path = "../proof/load.rs"]
pub mod load;

/// Longest wait for what a system is to do by itself. Generous: the machine may be busy with other work.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Longest time for a single command. Building all images on a slow machine is the longest.
const COMMAND_MAX: &str = "1800";

/// The tag of the images under test. A person's own are `local`.
pub const TAG: &str = "test";

/// One system at a time: the machine is small, and what is measured is measured alone.
static ONE: Mutex<()> = Mutex::new(());

/// What a command has said and how it has ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Its output, if it ended well.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command of the repository to its end.
pub fn run(command: &[&str], env: &BTreeMap<String, String>) -> Said {
    let ended = Command::new("timeout")
        .arg("--kill-after=10")
        .arg(COMMAND_MAX)
        .args(command)
        .envs(env)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|why| panic!("cannot run {command:?}: {why}"));
    Said {
        code: ended.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&ended.stdout).into_owned(),
        err: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

/// Runs `docker` with these arguments.
pub fn docker(arguments: &[&str]) -> Said {
    run(&[&["docker"], arguments].concat(), &BTreeMap::new())
}

/// Whether an engine answers. Where none does, says so, which is a failure in CI.
pub fn is_there() -> bool {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    let answer = ANSWER.get_or_init(|| {
        let version = docker(&["version", "--format", "{{.Server.Version}}"]);
        if version.code != 0 {
            return Err(format!("no Docker engine answers: {}", version.err.trim()));
        }
        let compose = docker(&["compose", "version"]);
        if compose.code != 0 {
            return Err("Docker Compose is missing".to_owned());
        }
        Ok(())
    });
    match answer {
        Ok(()) => true,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}; in CI that is a failure: tests/docker-here up");
            println!("skipped: {why}; tests/docker-here up makes one");
            false
        }
    }
}

/// Builds these images, `nginx` or `nginx-rootless`, with the svinit of this test run; each once. In CI, where all are needed,
/// all at once: side by side they take less time than one after the other.
pub fn build(images: &[&str]) {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    const ALL: &str = "default";
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut missing: Vec<&str> = images.iter().copied().filter(|name| !built.contains(*name)).collect();
    if missing.is_empty() || built.contains(ALL) {
        return;
    }
    if std::env::var_os("CI").is_some() {
        missing = vec![ALL];
    }
    build_as(&missing, &[("SVINIT_TAG", TAG)]);
    built.extend(missing.iter().map(|name| (*name).to_owned()));
}

/// `scripts/images` with these variables, and the svinit of this test run.
pub fn build_as(images: &[&str], variables: &[(&str, &str)]) {
    let binary = std::env::var("SVINIT_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_svinit").to_owned());
    let own = [("SVINIT_BINARY", binary.as_str())];
    let env = variables.iter().chain(&own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let said = run(&[&["scripts/images"], images].concat(), &env.collect());
    let end: Vec<&str> = said.err.lines().rev().take(40).collect();
    assert_eq!(
        said.code,
        0,
        "cannot build {images:?}:\n{}",
        end.into_iter().rev().collect::<Vec<_>>().join("\n")
    );
}

/// The name of an image under test.
pub fn image(name: &str) -> String {
    match name.strip_suffix("-rootless") {
        Some(name) => format!("svinit/{name}:{TAG}-rootless"),
        None => format!("svinit/{name}:{TAG}"),
    }
}

/// What Compose makes of a file and those laid over it, as JSON.
pub fn compose_config(files: &[&Path]) -> Said {
    let own = tempfile::tempdir().unwrap();
    let env = [("SECRETS_DIR".to_owned(), own.path().to_str().unwrap().to_owned())];
    let files = files.iter().flat_map(|file| ["--file", file.to_str().unwrap()]);
    let command: Vec<&str> =
        ["docker", "compose"].into_iter().chain(files).chain(["config", "--format", "json"]).collect();
    run(&command, &env.into())
}

/// A name that nobody else uses, now or after us.
pub fn unique(stem: &str) -> String {
    static COUNT: Mutex<u32> = Mutex::new(0);
    let mut count = COUNT.lock().unwrap();
    *count += 1;
    format!("svinit-test-{stem}-{}-{count}", std::process::id())
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The first of so many ports in a row that are free now.
pub fn free_ports(count: u16) -> u16 {
    let free = |first: u16| (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    loop {
        let first = free_port();
        if first < u16::MAX - count && free(first) {
            return first;
        }
    }
}

/// Looks again and again until `look` is true; panics with `what` and the words of `said`.
#[track_caller]
pub fn wait_until(what: &str, said: impl Fn() -> String, mut look: impl FnMut() -> bool) {
    let given_up = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < given_up, "in {PATIENCE:?} not true: {what}\n{}", said());
        thread::park_timeout(Duration::from_millis(100));
    }
}

/// One system of compose/, with what is its own.
pub struct System {
    pub name: String,
    pub project: String,
    files: Vec<PathBuf>,
    env: BTreeMap<String, String>,
    own: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl System {
    /// Builds its images, brings it up by its one command, and waits until all of it is healthy.
    /// `None`: there is no engine here, which was said.
    pub fn up(name: &str) -> Option<Self> {
        let system = Self::laid_out(name)?;
        system.start(&[]);
        Some(system)
    }

    /// The same without a start, for more than the one command: [`System::file`], [`System::set`], [`System::start`].
    pub fn laid_out(name: &str) -> Option<Self> {
        if !is_there() {
            return None;
        }
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = root().join("compose").join(name);
        let names = ["compose.yaml", "docker-compose.yml"].map(|name| dir.join(name));
        let file = names.iter().find(|path| path.exists()).expect("a system has a compose file").clone();
        let project = unique(name);
        let own = tempfile::tempdir().unwrap();
        let secrets = own.path().join("secrets");
        let mut env = BTreeMap::new();
        let mut put = |key: &str, value: &str| env.insert(key.to_owned(), value.to_owned());
        put("SVINIT_TAG", TAG);
        put("VOLUME_PREFIX", &format!("{project}_"));
        put("SECRETS_DIR", secrets.to_str().unwrap());
        for file in names.iter().filter(|path| path.exists()).cloned().chain(files_beside(&dir)) {
            for port in port_variables(&fs::read_to_string(&file).unwrap()) {
                put(&port, &free_port().to_string());
            }
        }
        run(&["scripts/secrets", name], &env).well();
        Some(Self { name: name.to_owned(), project, files: vec![file], env, own, _one: one })
    }

    /// With another file of its directory laid over.
    pub fn file(mut self, name: &str) -> Self {
        self.files.push(root().join("compose").join(&self.name).join(name));
        self
    }

    /// With a file of this text laid over.
    pub fn overlay(mut self, text: &str) -> Self {
        let path = self.own.path().join(format!("overlay-{}.yaml", self.files.len()));
        fs::write(&path, text).unwrap();
        self.files.push(path);
        self
    }

    /// With checks each other second, svinit's own and Docker's, so that what hangs is found soon. How long it takes as it
    /// comes is shown with flask and the cluster.
    pub fn watched_closely(self) -> Self {
        let service = |name: String| {
            format!(
                "  {name}: {{ environment: {{ HEALTH_INTERVAL: 2s }}, healthcheck: {{ interval: 2s }} }}\n"
            )
        };
        let services: String = self.services().into_iter().map(service).collect();
        self.overlay(&format!("services:\n{services}"))
    }

    /// With this variable.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Builds what it needs and waits until everything is healthy; `with` are further arguments of `up`.
    #[track_caller]
    pub fn start(&self, with: &[&str]) {
        self.build(&[]);
        let bound = (PATIENCE * 2).as_secs().to_string();
        let up = ["up", "--detach", "--wait", "--wait-timeout", &bound, "--pull", "never"];
        let said = self.compose(&[&up, with].concat());
        assert_eq!(said.code, 0, "{} does not come up:\n{}\n{}", self.name, said.err, self.words());
    }

    /// `docker compose` with its files and its project.
    pub fn compose(&self, arguments: &[&str]) -> Said {
        let mut command = vec!["docker", "compose", "--project-name", &self.project];
        for file in &self.files {
            command.extend(["--file", file.to_str().unwrap()]);
        }
        command.extend(arguments);
        run(&command, &self.env)
    }

    /// `docker compose` with a file of its directory that is a project of its own, and goes with this one.
    pub fn beside(&self, file: &Path, arguments: &[&str]) -> Said {
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name").replace('.', "-");
        let project = format!("{}-{name}", self.project);
        let command =
            ["docker", "compose", "--project-name", &project, "--file", file.to_str().expect("a path")];
        run(&[&command, arguments].concat(), &self.env)
    }

    /// Runs a line of shell, for pipes and files; `$COMPOSE` is `docker compose` with its files and its project.
    pub fn shell(&self, line: &str) -> Said {
        let files: Vec<String> = self.files.iter().map(|file| format!("--file {}", file.display())).collect();
        let mut env = self.env.clone();
        let compose = format!("docker compose --project-name {} {}", self.project, files.join(" "));
        env.insert("COMPOSE".to_owned(), compose);
        run(&["sh", "-c", line], &env)
    }

    /// A line of its README.md that holds this word, for [`System::shell`], with this file in the place of `inner`.
    #[track_caller]
    pub fn readme_line(&self, word: &str, inner: &str, file: &Path) -> String {
        let readme = fs::read_to_string(root().join("compose").join(&self.name).join("README.md")).unwrap();
        let line = readme.lines().find(|line| line.starts_with("    docker compose") && line.contains(word));
        let line = line.unwrap_or_else(|| panic!("{}: README.md has no line with {word}", self.name)).trim();
        assert!(line.contains(inner), "{line}");
        line.replace("docker compose", "$COMPOSE").replace(inner, file.to_str().unwrap())
    }

    /// Where this port of a service answers, container by container.
    pub fn published(&self, service: &str, port: u16) -> Vec<String> {
        let one = |container: &Container| docker(&["port", &container.name, &port.to_string()]).well();
        let first_line = |said: String| said.lines().next().expect("it is published").to_owned();
        self.containers(service).iter().map(one).map(first_line).collect()
    }

    /// A path that is its own and goes with it.
    pub fn own_file(&self, name: &str) -> PathBuf {
        self.own.path().join(name)
    }

    /// Builds the images of these services.
    pub fn build(&self, services: &[&str]) {
        let images = self.compose(&[&["config", "--images"], services].concat()).well();
        let wanted: BTreeSet<String> = images.lines().filter_map(target_of).collect();
        build(&wanted.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// The variable's value, such as a port.
    pub fn get(&self, variable: &str) -> &str {
        self.env.get(variable).unwrap_or_else(|| panic!("{}: no variable {variable}", self.name))
    }

    /// Where a published port answers.
    pub fn at(&self, variable: &str) -> String {
        format!("127.0.0.1:{}", self.get(variable))
    }

    /// The value of one of its secrets.
    pub fn secret(&self, name: &str) -> String {
        fs::read_to_string(self.own.path().join("secrets").join(name)).unwrap()
    }

    /// The only container of a service.
    #[track_caller]
    pub fn container(&self, service: &str) -> Container {
        let all = self.containers(service);
        assert_eq!(all.len(), 1, "{service} has {} containers", all.len());
        all.into_iter().next().unwrap()
    }

    /// All containers of a service, running or not, by number.
    pub fn containers(&self, service: &str) -> Vec<Container> {
        let ids = self.compose(&["ps", "--all", "--quiet", service]).well();
        let mut all: Vec<Container> =
            ids.lines().map(|id| Container { name: id.trim().to_owned() }).collect();
        all.sort_by_key(|container| container.inspect("{{.Name}}"));
        all
    }

    /// The names of its services.
    pub fn services(&self) -> Vec<String> {
        self.compose(&["config", "--services"]).well().lines().map(str::to_owned).collect()
    }

    /// The last lines of all its containers, for a failure.
    pub fn words(&self) -> String {
        let states = self.compose(&["ps", "--all"]);
        let logs = self.compose(&["logs", "--tail", "40", "--no-color"]);
        format!("{}\n{}{}", states.out, logs.out, logs.err)
    }

    /// A request to a published port, answered or not.
    pub fn http(&self, variable: &str, path: &str) -> Result<Answer, String> {
        ask(&self.at(variable), path)
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, look: impl FnMut() -> bool) {
        wait_until(what, || self.words(), look);
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}:\n{}", self.name, self.words());
        }
        // How it ends in order is the matter of tests that stop it.
        let down = ["down", "--volumes", "--remove-orphans", "--timeout", "0"];
        // Those beside it are on its networks.
        for file in files_beside(&root().join("compose").join(&self.name)) {
            if thread::panicking() {
                eprintln!("{}", self.beside(&file, &["logs", "--tail", "40", "--no-color"]).out);
            }
            self.beside(&file, &down);
        }
        self.compose(&down);
    }
}

/// Compose files of a directory that are projects of their own: docker-compose.NAME.yml.
pub fn files_beside(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).collect();
    let is_one = |name: &str| {
        name.strip_prefix("docker-compose.").is_some_and(|rest| rest.ends_with(".yml") && rest != "yml")
    };
    all.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_one));
    all.sort();
    all
}

/// Variables of published ports, as the conventions have them: `${HTTP_PORT:-8080}`.
fn port_variables(compose: &str) -> BTreeSet<String> {
    let parts = compose.split("${").skip(1);
    parts
        .filter_map(|part| part.split_once(":-"))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.ends_with("_PORT") && !name.contains(['}', '\n']))
        .collect()
}

/// `nginx-rootless` for `svinit/nginx:test-rootless`; `None` for an image of somebody else.
fn target_of(image: &str) -> Option<String> {
    let (name, tag) = image.trim().strip_prefix("svinit/")?.split_once(':')?;
    match tag.strip_prefix(TAG)? {
        "" => Some(name.to_owned()),
        variant => Some(format!("{name}{variant}")),
    }
}

/// One container, by id or name.
#[derive(Clone, Debug)]
pub struct Container {
    pub name: String,
}

/// What of a container must be the same after a surgical restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub id: String,
    pub started_at: String,
    pub restart_count: String,
    /// Of its PID 1, as the host has it.
    pub pid: String,
}

impl Container {
    /// A Go template of `docker inspect`.
    #[track_caller]
    pub fn inspect(&self, template: &str) -> String {
        docker(&["inspect", "--format", template, &self.name]).well().trim().to_owned()
    }

    #[track_caller]
    pub fn identity(&self) -> Identity {
        let all = self.inspect("{{.Id}} {{.State.StartedAt}} {{.RestartCount}} {{.State.Pid}}");
        let mut words = all.split(' ').map(str::to_owned);
        let mut next = || words.next().expect("four words");
        Identity { id: next(), started_at: next(), restart_count: next(), pid: next() }
    }

    /// `healthy`, `unhealthy`, `starting`.
    pub fn health(&self) -> String {
        self.inspect("{{if .State.Health}}{{.State.Health.Status}}{{end}}")
    }

    pub fn exit_code(&self) -> i32 {
        self.inspect("{{.State.ExitCode}}").parse().unwrap()
    }

    /// `docker exec` as the container's own user.
    pub fn exec(&self, command: &[&str]) -> Said {
        docker(&[&["exec", &self.name], command].concat())
    }

    /// `docker exec` as root with every capability, for what a disaster would do.
    pub fn disaster(&self, command: &[&str]) -> Said {
        docker(&[&["exec", "--privileged", "--user", "0", &self.name], command].concat())
    }

    /// `svctl` inside, which must do what it was asked; words between blanks.
    #[track_caller]
    pub fn svctl(&self, words: &str) -> String {
        self.exec(&[&["svctl"], &words.split(' ').collect::<Vec<_>>()[..]].concat()).well()
    }

    /// All units, as `svctl status --json` has them.
    #[track_caller]
    pub fn units(&self) -> Vec<Value> {
        let said = self.svctl("status --json");
        serde_json::from_str::<Vec<Value>>(&said).unwrap_or_else(|why| panic!("{why}: {said}"))
    }

    /// One unit of them.
    #[track_caller]
    pub fn unit(&self, name: &str) -> Value {
        let all = self.units();
        let found = all.iter().find(|unit| unit["unit"] == name);
        found.cloned().unwrap_or_else(|| panic!("no unit {name} in {all:?}"))
    }

    /// The main process of a unit, if it has one.
    pub fn pid(&self, unit: &str) -> Option<u64> {
        self.unit(unit)["pid"].as_u64()
    }

    /// Units with a process, and its number.
    pub fn pids(&self) -> BTreeMap<String, u64> {
        let units = self.units();
        units
            .iter()
            .filter_map(|unit| Some((unit["unit"].as_str()?.to_owned(), unit["pid"].as_u64()?)))
            .collect()
    }

    /// `kill -9` of a unit's main process, from outside svinit.
    #[track_caller]
    pub fn kill(&self, unit: &str) -> u64 {
        let pid = self.pid(unit).unwrap_or_else(|| panic!("{unit} has no process"));
        self.disaster(&["sh", "-c", &format!("kill -9 {pid}")]).well();
        pid
    }

    /// Waits until a unit is ready with another process than `old`.
    #[track_caller]
    pub fn wait_for_successor(&self, unit: &str, old: u64) -> u64 {
        let mut new = None;
        wait_until(
            &format!("{unit} has a successor of process {old}"),
            || self.words(),
            || {
                let now = self.unit(unit);
                new = now["pid"].as_u64();
                now["state"] == "ready" && new.is_some_and(|pid| pid != old)
            },
        );
        new.expect("was waited for")
    }

    #[track_caller]
    pub fn wait_for_health(&self, health: &str) {
        wait_until(&format!("{} is {health}", self.name), || self.words(), || self.health() == health);
    }

    /// Stops it as `docker stop` does, and says how long that took.
    #[track_caller]
    pub fn stop(&self) -> Duration {
        let began = Instant::now();
        docker(&["stop", &self.name]).well();
        began.elapsed()
    }

    /// Everything it has said lately.
    pub fn words(&self) -> String {
        let said = docker(&["logs", "--tail", "80", &self.name]);
        format!("{}{}", said.out, said.err)
    }
}

/// A container of one image, removed with the value.
pub struct Single {
    container: Container,
    _one: MutexGuard<'static, ()>,
}

impl std::ops::Deref for Single {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

impl Single {
    /// `docker run` of an image under test, without waiting. `None`: there is no engine here, which was said.
    pub fn run(name: &str, options: &[&str], command: &[&str]) -> Option<Self> {
        if !is_there() {
            return None;
        }
        build(&[name]);
        Some(Self::of(&image(name), options, command))
    }

    /// The same of an image that is there, by its whole name.
    #[track_caller]
    pub fn of(image: &str, options: &[&str], command: &[&str]) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let own = unique("single");
        let head = ["run", "--detach", "--pull", "never", "--name", &own];
        docker(&[&head, options, &[image], command].concat()).well();
        Self { container: Container { name: own }, _one: one }
    }

    /// The address at which a port of its answers, published by `--publish 127.0.0.1::PORT`.
    #[track_caller]
    pub fn at(&self, port: u16) -> String {
        let said = docker(&["port", &self.name, &port.to_string()]).well();
        said.lines().next().expect("it is published").trim().to_owned()
    }

    /// Waits for its end and gives its status.
    #[track_caller]
    pub fn wait_for_end(&self) -> i32 {
        wait_until("it ends", || self.words(), || self.inspect("{{.State.Status}}") == "exited");
        self.exit_code()
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}:\n{}", self.name, self.words());
        }
        docker(&["rm", "--force", "--volumes", &self.name]);
    }
}

/// What an HTTP server has answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
    }
}

/// One GET on a connection of its own.
pub fn ask(at: &str, path: &str) -> Result<Answer, String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(at).map_err(|why| format!("refused: {why}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|why| why.to_string())?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|why| format!("cut off while asking: {why}"))?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).map_err(|why| format!("cut off: {why}"))?;
    let said = String::from_utf8_lossy(&said);
    let (head, body) = said.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {said:?}"))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| head.to_owned())?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
