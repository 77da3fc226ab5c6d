//! compose/swarm-postgres on three machines of its own: Ansible makes a swarm of them over SSH and deploys to it, twice; then the
//! one that leads is switched off while somebody writes, and on again.
//!
//! The machines are containers with an engine of their own (tests/docker/node), so this takes minutes: SWARM=1 or `make swarm`.

#![expect(clippy::disallowed_methods, reason = "measures by a clock")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::{
    Container, Said, TAG, build, compose_config, docker, image, is_there, root, run, unique, wait_until,
};
use crate::patroni::{Writer, now};

/// What is installed from PyPI, here and not on the nodes.
const ANSIBLE: &str = "ansible-core==2.19.14";

/// The tag under which the same images are another version.
const NEXT: &str = "next";

const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// What every node runs. Ansible is left one to bring to one of them.
const IMAGES: [&str; 3] = ["etcd-rootless", "patroni", "haproxy-rootless"];

/// Three machines, and a place for what is about them.
struct Machines {
    name: String,
    own: TempDir,
    playbook: PathBuf,
}

impl Machines {
    fn up() -> Self {
        build(&IMAGES);
        build(&["base"]);
        let (base, node) = (format!("BASE_IMAGE={}", image("base")), image("node"));
        let folder = root().join("tests/docker/node");
        run(
            &["docker", "build", "--quiet", "--build-arg", &base, "--tag", &node, folder.to_str().unwrap()],
            &BTreeMap::new(),
        )
        .well();
        let machines = Self { name: unique("swarm"), own: tempfile::tempdir().unwrap(), playbook: ansible() };
        let key = machines.path("key");
        run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key], &BTreeMap::new()).well();
        docker(&["network", "create", &machines.name]).well();
        let mount = format!("{key}.pub:/etc/ssh/authorized_keys:ro");
        for node_name in NODES {
            let name = machines.node(node_name).name;
            let who = ["run", "--detach", "--pull", "never", "--name", &name, "--hostname", node_name];
            let network = ["--network", &machines.name, "--network-alias", node_name];
            let how = ["--privileged", "--cgroupns", "private", "--volume", &mount, &node];
            docker(&[&who[..], &network, &how].concat()).well();
        }
        for node_name in NODES {
            machines.node(node_name).wait_for_health("healthy");
        }
        machines.bring_images(&IMAGES);
        machines.node("node3").exec(&["docker", "rmi", &image("haproxy-rootless")]).well();
        machines.write_inventory();
        machines
    }

    fn path(&self, name: &str) -> String {
        self.own.path().join(name).to_str().unwrap().to_owned()
    }

    fn node(&self, name: &str) -> Container {
        Container { name: format!("{}-{name}", self.name) }
    }

    /// From this engine into the nodes' own, all at once, which is the longest part.
    fn bring_images(&self, names: &[&str]) {
        let archive = self.path("images.tar");
        let images: Vec<String> = names.iter().map(|name| image(name)).collect();
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        docker(&[&["save", "--output", &archive], &images[..]].concat()).well();
        let load = |name: &&str| -> Child {
            let load = ["exec", "--interactive", &self.node(name).name, "docker", "load", "--quiet"];
            let archive = File::open(&archive).unwrap();
            Command::new("docker").args(load).stdin(archive).stdout(Stdio::null()).spawn().unwrap()
        };
        for mut loading in NODES.iter().map(load).collect::<Vec<_>>() {
            assert!(loading.wait().unwrap().success(), "the nodes take the images");
        }
        fs::remove_file(&archive).unwrap();
    }

    fn write_inventory(&self) {
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let mut inventory = format!(
            "all:\n  vars: {{ ansible_user: root, ansible_ssh_private_key_file: {}, stack: swarm-postgres, \
             svinit_tag: {TAG}, image_prefix: \"\" }}\n  children:\n",
            self.path("key")
        );
        for (number, name) in (1..).zip(NODES) {
            let group = if number == 1 { "managers" } else { "workers" };
            if number <= 2 {
                let _ = writeln!(inventory, "    {group}:\n      hosts:");
            }
            let at = self.node(name).inspect(address);
            let _ = writeln!(inventory, "        {name}: {{ ansible_host: {at}, member: {number} }}");
        }
        fs::write(self.path("inventory.yaml"), inventory).unwrap();
    }

    /// Runs a playbook and says how many things it has changed, which must have worked everywhere.
    #[track_caller]
    fn play(&self, playbook: &str, with: &[&str]) -> u64 {
        let began = now();
        let folder = root().join("compose/swarm-postgres/ansible");
        let env = [
            ("SECRETS_DIR", self.path("secrets")),
            ("ANSIBLE_CONFIG", folder.join("ansible.cfg").to_str().unwrap().to_owned()),
            ("ANSIBLE_HOST_KEY_CHECKING", "False".to_owned()),
            ("ANSIBLE_LOCAL_TEMP", self.path("ansible")),
            ("ANSIBLE_NOCOLOR", "1".to_owned()),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let playbook_path = folder.join(playbook);
        let command = [
            self.playbook.to_str().unwrap(),
            "--inventory",
            &self.path("inventory.yaml"),
            playbook_path.to_str().unwrap(),
        ];
        let said = run(&[&command[..], with].concat(), &env);
        let of = |line: &str, key: &str| -> Option<u64> {
            line.split_once(key)?.1.split(' ').next()?.parse().ok()
        };
        let recap: Vec<&str> = said.out.lines().filter(|line| line.contains("unreachable=")).collect();
        assert!(said.code == 0 && recap.len() == 3, "{playbook}:\n{}\n{}", said.out, said.err);
        let changed = recap.iter().filter_map(|line| of(line, "changed=")).sum();
        println!("{playbook}: {changed} changed, {:.0} s", now() - began);
        changed
    }

    /// In the container of that node's PostgreSQL.
    fn in_member(&self, number: usize, command: &[&str]) -> Said {
        let node = self.node(NODES[number - 1]);
        let filter = format!("label=com.docker.swarm.service.name=swarm-postgres_postgres{number}");
        let id = node.exec(&["docker", "ps", "--quiet", "--filter", &filter]).out;
        node.exec(&[&["docker", "exec", id.trim()], command].concat())
    }

    fn role(&self, number: usize) -> String {
        self.in_member(number, &["member", "role"]).out.trim().to_owned()
    }

    fn words(&self) -> String {
        let manager = self.node("node1");
        let look = |command: &[&str]| manager.exec(command).out;
        format!(
            "{}{}",
            look(&["docker", "node", "ls"]),
            look(&["docker", "stack", "ps", "--no-trunc", "swarm-postgres"])
        )
    }

    #[track_caller]
    fn wait_until(&self, what: &str, look: impl FnMut() -> bool) {
        wait_until(what, || self.words(), look);
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.words());
        }
        for name in NODES {
            docker(&["rm", "--force", "--volumes", &self.node(name).name]);
        }
        docker(&["network", "rm", &self.name]);
    }
}

/// `ansible-playbook`, installed below target/ once.
fn ansible() -> PathBuf {
    let venv = root().join("target/tools").join(ANSIBLE.replace("==", "-"));
    let playbook = venv.join("bin/ansible-playbook");
    if !playbook.exists() {
        let (python, path) =
            (std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned()), venv.to_str().unwrap());
        run(&[&python, "-m", "venv", "--clear", path], &BTreeMap::new()).well();
        let pip = venv.join("bin/pip");
        let install = [pip.to_str().unwrap(), "install", "--quiet", "--disable-pip-version-check", ANSIBLE];
        run(&install, &BTreeMap::new()).well();
    }
    playbook
}

#[test]
fn the_stack_is_the_system_of_one_machine_with_a_member_on_each_node() {
    if !is_there() {
        return;
    }
    let folder = root().join("compose/swarm-postgres");
    let file = folder.join("compose.stack.yaml");
    docker(&["stack", "config", "--compose-file", file.to_str().unwrap()]).well();
    let read = |file: &Path| -> Value { serde_json::from_str(&compose_config(&[file]).well()).unwrap() };
    let (stack, one) = (read(&file), read(&folder.join("compose.yaml")));
    let (stack, one) = (&stack["services"], &one["services"]);
    let names = |all: &Value| -> Vec<String> { all.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names(stack), names(one));
    for name in names(stack) {
        let (service, same) = (&stack[&name], &one[&name]);
        for key in
            ["image", "environment", "read_only", "cap_drop", "cap_add", "stop_grace_period", "logging"]
        {
            assert_eq!(service[key], same[key], "{name}: {key}");
        }
        for key in ["build", "container_name", "depends_on", "restart", "profiles", "healthcheck"] {
            assert!(service[key].is_null(), "{name}: {key} is not for a swarm, or not its own");
        }
        let deploy = &service["deploy"];
        assert_eq!(deploy["endpoint_mode"], "dnsrr", "{name}");
        assert_eq!(deploy["resources"]["limits"], same["deploy"]["resources"]["limits"], "{name}");
        if let Some(number) = name.strip_prefix("etcd").or(name.strip_prefix("postgres")) {
            let constraints = json!([format!("node.labels.pg == {number}")]);
            assert_eq!(deploy["placement"]["constraints"], constraints, "{name}");
            assert_eq!(deploy["update_config"]["order"], "stop-first", "{name}: one at a time has its data");
            assert_eq!(service["hostname"], json!(name), "it knows its own name before others are told");
            let volumes = service["volumes"].as_array().unwrap();
            assert!(volumes.iter().any(|mount| mount["type"] == "volume"), "{name}");
        } else {
            assert_eq!(deploy["mode"], "global", "{name}");
            let ports = service["ports"].as_array().unwrap();
            assert!(ports.iter().all(|port| port["mode"] == "host"), "{name}: {ports:?}");
        }
    }
}

#[test]
fn a_swarm_of_three_is_deployed_to_and_loses_a_node_and_gets_it_back() {
    if std::env::var_os("SWARM").is_none() {
        println!("left out: three machines take minutes; SWARM=1, or make swarm");
        return;
    }
    if !is_there() {
        return;
    }
    let machines = Machines::up();
    machines.play("site.yaml", &[]);
    assert_eq!(machines.play("site.yaml", &[]), 0, "again: nothing changes");
    every_member_is_on_its_node(&machines);

    let secrets = machines.own.path().join("secrets");
    assert_eq!(fs::metadata(secrets.join("app_password")).unwrap().permissions().mode() & 0o777, 0o600);
    let password = fs::read_to_string(secrets.join("app_password")).unwrap();
    let hosts = "host=node1,node2,node3 port=5000 user=app dbname=app target_session_attrs=read-write";
    let writer = Writer::of(&machines.name, &machines.name, &password, hosts);
    let goes_on = || writer.goes_on(|| machines.words());
    goes_on();

    a_node_is_lost_and_comes_back(&machines, &writer, &goes_on);

    let since = now();
    machines.play("restart.yaml", &[]);
    goes_on();
    println!("restart.yaml: {:.2} s without an acknowledgement", writer.longest_gap(since));
    another_version_is_rolled_out(&machines, &writer, &goes_on);

    writer.has_lost_nothing(|command| {
        let password = format!("PGPASSWORD={password}");
        let psql = [
            "env", &password, "psql", "-h", "haproxy", "-p", "5000", "-U", "app", "-d", "app", "-Atc",
            command,
        ];
        machines.in_member(1, &psql).well()
    });
    machines.play("teardown.yaml", &["--extra-vars", "everything=true"]);
    let left = machines.node("node2").exec(&["docker", "volume", "ls", "--quiet"]).well();
    assert!(!left.contains("swarm_"), "{left}");
}

fn every_member_is_on_its_node(machines: &Machines) {
    for (number, name) in (1..).zip(NODES) {
        let listed = machines.node(name).exec(&["docker", "ps", "--format", "{{.Names}} {{.Status}}"]).well();
        for service in [format!("etcd{number}."), format!("postgres{number}."), "haproxy.".to_owned()] {
            let start = format!("swarm-postgres_{service}");
            let line = listed.lines().find(|line| line.starts_with(&start));
            assert!(line.is_some_and(|line| line.ends_with("(healthy)")), "{name}: {service}: {listed}");
        }
        assert_eq!(listed.lines().count(), 3, "{name}: {listed}");
    }
}

/// The one that leads, unless that is the manager: then another one is to lead first.
fn a_node_is_lost_and_comes_back(machines: &Machines, writer: &Writer, goes_on: &dyn Fn()) {
    if machines.role(1) == "leader" {
        let switchover = ["svctl", "exec", "patroni", "--", "patronictl", "switchover", "--force"];
        machines.in_member(1, &switchover).well();
    }
    let mut lost = 0;
    machines.wait_until("a worker leads", || {
        lost = [2, 3].into_iter().find(|number| machines.role(*number) == "leader").unwrap_or(0);
        lost != 0
    });
    machines.in_member(lost, &["member", "wait"]).well();
    goes_on();

    let (node, since) = (machines.node(NODES[lost - 1]), now());
    docker(&["kill", &node.name]).well();
    let others: Vec<usize> = (1..=3).filter(|number| *number != lost).collect();
    machines
        .wait_until("another one leads", || others.iter().any(|number| machines.role(*number) == "leader"));
    goes_on();
    println!("the leader's node lost: {:.2} s without an acknowledgement", writer.longest_gap(since));
    let state = || {
        let hostname = NODES[lost - 1];
        let format = ["--format", "{{.Hostname}} {{.Status}}"];
        let said = machines.node("node1").exec(&[&["docker", "node", "ls"], &format[..]].concat()).out;
        said.lines().find_map(|line| line.strip_prefix(hostname)).unwrap_or_default().trim().to_owned()
    };
    machines.wait_until("the swarm knows", || state() == "Down");

    docker(&["start", &node.name]).well();
    machines.wait_until("the node is back", || state() == "Ready");
    machines.wait_until("its member follows", || machines.role(lost) == "quorum_standby");
    machines.in_member(lost, &["member", "wait"]).well();
    goes_on();
    machines.wait_until("all of it is healthy", || {
        let format = ["docker", "ps", "--filter", "health=healthy", "--quiet"];
        node.exec(&format).out.lines().count() == 3
    });
    every_member_is_on_its_node(machines);
}

fn another_version_is_rolled_out(machines: &Machines, writer: &Writer, goes_on: &dyn Fn()) {
    for name in IMAGES {
        let (old, new) = (image(name), image(name).replace(&format!(":{TAG}"), &format!(":{NEXT}")));
        docker(&["tag", &old, &new]).well();
        for node in NODES {
            machines.node(node).exec(&["docker", "tag", &old, &new]).well();
        }
    }
    let (since, tag) = (now(), format!("svinit_tag={NEXT}"));
    assert_ne!(machines.play("update.yaml", &["--extra-vars", &tag]), 0);
    goes_on();
    println!("update.yaml: {:.2} s without an acknowledgement", writer.longest_gap(since));
    assert_eq!(machines.play("update.yaml", &["--extra-vars", &tag]), 0, "again: nothing changes");
    for name in IMAGES {
        docker(&["rmi", &image(name).replace(&format!(":{TAG}"), &format!(":{NEXT}"))]);
    }
}
