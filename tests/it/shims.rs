//! `pm2`, `systemctl` and `supervisorctl` with the real supervisor behind them: the words and exit statuses of the tools.
//!
//! What the tools themselves print was taken from runs of pm2 6, systemd 257 and supervisor 4.2.

#![expect(clippy::disallowed_methods, reason = "a test is no supervisor: it makes its own processes")]

use std::io::BufRead;
use std::io::BufReader;
use std::process::Command;
use std::process::Stdio;

use crate::fixture::Answer;
use crate::fixture::Setup;
use crate::fixture::Svinit;
use crate::fixture::executable;

const APP: &str = "description = \"The app\"\naliases = [\"vite\"]\ncommand = [\"sh\", \"-c\", \"echo ready to serve; echo oh no >&2; exec sleep 600\"]\nready.log = \"ready to serve\"";
const NGINX: &str = "command = [\"sleep\", \"601\"]\nreload.signal = \"CONT\"\n[restart]\npolicy = \"never\"";
const BROKEN: &str = "command = [\"false\"]\nenabled = false\n[restart]\npolicy = \"never\"\n[ready]\nfile = \"/nonexistent\"\n";
const SETUP: &str = "type = \"oneshot\"\ncommand = [\"true\"]";

fn system() -> Svinit {
    let svinit = Setup::new()
        .unit("app", APP)
        .unit("nginx", NGINX)
        .unit("broken", BROKEN)
        .unit("setup", SETUP)
        .start();
    svinit.wait_for("app", "ready");
    svinit.wait_for("nginx", "ready");
    svinit.wait_for("setup", "completed");
    svinit
}

/// Calls the executable by the name in front of `words`.
fn call(svinit: &Svinit, words: &str) -> Answer {
    call_with(svinit, words, &[])
}

fn call_with(svinit: &Svinit, words: &str, env: &[(&str, &str)]) -> Answer {
    let mut words = words.split_whitespace();
    let mut command = Command::new(executable());
    command.arg("--as").args(words.next()).args(words).env("SVINIT_SOCKET", svinit.socket()).env("TZ", "UTC");
    let output =
        command.envs(env.iter().copied()).current_dir(svinit.path("")).stdin(Stdio::null()).output().unwrap();
    Answer {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The exit status and both streams, numbers of processes replaced.
fn said(svinit: &Svinit, words: &str) -> String {
    let answer = call(svinit, words);
    let mut text = format!("{}{}exit {}", answer.stdout, answer.stderr, answer.code);
    for unit in ["app", "nginx"] {
        if let Some(pid) = svinit.status(unit)["pid"].as_i64() {
            text = text.replace(&pid.to_string(), "PID");
        }
    }
    text
}

fn is_running_anew(svinit: &Svinit, unit: &str, before: &serde_json::Value) {
    let after = svinit.status(unit);
    assert_ne!(&after["pid"], before, "{unit} has another process");
    assert_eq!(after["state"], "ready", "{after}");
}

#[test]
fn the_lines_of_the_manager_document_hold() {
    let svinit = system();
    let before = svinit.status("app")["pid"].clone();
    assert_eq!(call(&svinit, "pm2 restart app").code, 0);
    is_running_anew(&svinit, "app", &before);
    let before = svinit.status("nginx")["pid"].clone();
    assert_eq!(call(&svinit, "systemctl restart nginx").code, 0);
    is_running_anew(&svinit, "nginx", &before);
    let status = call(&svinit, "supervisorctl status nginx");
    assert!(status.stdout.starts_with("nginx                            RUNNING   pid "), "{status:?}");
}

#[test]
fn pm2_restarts_by_name_alias_number_and_all() {
    let svinit = system();
    for (word, label) in [("app", "app"), ("vite", "vite"), ("0", "0")] {
        let before = svinit.status("app")["pid"].clone();
        let answer = call(&svinit, &format!("pm2 restart {word} --update-env --no-color"));
        let head = format!(
            "[PM2] Applying action restartProcessId on app [{label}](ids: [ 0 ])\n[PM2] [app](0) ✓\n┌"
        );
        assert!(answer.code == 0 && answer.stdout.starts_with(&head), "{answer:?}");
        is_running_anew(&svinit, "app", &before);
    }
    assert_eq!(said(&svinit, "pm2 -s restart app"), "exit 0");
    let stopped = call(&svinit, "pm2 stop all");
    assert!(
        stopped.stdout.starts_with("[PM2] Applying action stopProcessId on app [all](ids: [ 0, 1, 2, 3 ])\n"),
        "{stopped:?}"
    );
    assert_eq!(svinit.status("app")["state"], "inactive");
    assert_eq!(said(&svinit, "pm2 restart nope"), "[PM2][ERROR] Process or Namespace nope not found\nexit 1");
    let failed = call(&svinit, "pm2 start broken");
    assert!(
        failed.code == 1 && failed.stderr.starts_with("[PM2][ERROR] [broken](1) errored: "),
        "{failed:?}"
    );
}

#[test]
fn pm2_lists_as_a_table_and_for_programs_without_environments() {
    let svinit = system();
    let list = call(&svinit, "pm2 ls").stdout;
    let heads = list.lines().nth(1).unwrap();
    let names: Vec<&str> = heads.split('│').map(str::trim).filter(|name| !name.is_empty()).collect();
    assert_eq!(
        names,
        [
            "id",
            "name",
            "namespace",
            "version",
            "mode",
            "pid",
            "uptime",
            "↺",
            "status",
            "cpu",
            "mem",
            "user",
            "watching"
        ]
    );
    assert!(list.contains("│ 0  │ app    │ default   │") && list.contains("│ online "), "{list}");
    let all: serde_json::Value = serde_json::from_str(&call(&svinit, "pm2 jlist").stdout).unwrap();
    assert_eq!(all[0]["name"], "app");
    assert_eq!(all[0]["pid"], svinit.status("app")["pid"]);
    assert_eq!(all[0]["pm2_env"]["status"], "online");
    assert_eq!(all[1]["pm2_env"]["status"], "stopped");
    assert!(all[0]["pm2_env"]["pm_uptime"].as_i64().unwrap() > 1_700_000_000_000);
    assert!(all[0]["pm2_env"].get("env").is_none());
    assert_eq!(said(&svinit, "pm2 pid app"), "PID\nexit 0");
    assert_eq!(said(&svinit, "pm2 id app"), "[ 0 ]\nexit 0");
    assert_eq!(said(&svinit, "pm2 id nope"), "[]\nexit 0");
    assert_eq!(said(&svinit, "pm2 ping"), "{ msg: 'pong' }\nexit 0");
    assert!(
        call(&svinit, "pm2 describe app").stdout.starts_with(" Describing process with id 0 - name app\n┌")
    );
    assert_eq!(said(&svinit, "pm2 describe nope"), "[PM2][WARN] nope doesn't exist\nexit 1");
}

#[test]
fn pm2_shows_the_last_lines_with_numbers_in_front() {
    let svinit = system();
    let logs = said(&svinit, "pm2 logs app --nostream --out");
    let head = "[TAILING] Tailing last 15 lines for [app] process (change the value with --lines option)\n";
    assert_eq!(logs, format!("{head}0|app     | ready to serve\nexit 0"));
    assert_eq!(said(&svinit, "pm2 logs app --nostream --err --raw --lines 5"), "oh no\nexit 0");
}

#[test]
fn pm2_reads_an_ecosystem_file_for_its_names() {
    let svinit = system();
    std::fs::write(
        svinit.path("eco.json"),
        r#"{"apps": [{"name": "app", "script": "x.js"}, {"script": "./nginx.js"}]}"#,
    )
    .unwrap();
    let (app, nginx) = (svinit.status("app")["pid"].clone(), svinit.status("nginx")["pid"].clone());
    assert_eq!(call(&svinit, "pm2 startOrRestart eco.json --only app").code, 0);
    is_running_anew(&svinit, "app", &app);
    assert_eq!(svinit.status("nginx")["pid"], nginx, "it was not meant");
    assert_eq!(call(&svinit, "pm2 startOrReload eco.json --env production").code, 0);
    assert_eq!(svinit.status("nginx")["pid"], nginx, "it was reloaded, which leaves its process");
    let script = call(&svinit, "pm2 start ecosystem.config.js");
    assert!(script.code == 2 && script.stderr.contains("only JSON is read"), "{script:?}");
    let program = call(&svinit, "pm2 start ./server.js");
    assert!(program.code == 2 && program.stderr.contains("svctl schema"), "{program:?}");
}

#[test]
fn systemctl_is_silent_when_all_is_well_and_exact_when_not() {
    let svinit = system();
    for verb in ["restart", "reload-or-restart", "try-restart", "stop", "start", "reload"] {
        assert_eq!(said(&svinit, &format!("systemctl --no-pager {verb} nginx.service")), "exit 0", "{verb}");
    }
    assert_eq!(
        said(&svinit, "systemctl restart mysql"),
        "Failed to restart mysql.service: Unit mysql.service not found.\nexit 5"
    );
    assert_eq!(
        said(&svinit, "systemctl stop mysql"),
        "Failed to stop mysql.service: Unit mysql.service not loaded.\nexit 5"
    );
    assert_eq!(
        said(&svinit, "systemctl reload app"),
        "Failed to reload app.service: Job type reload is not applicable for unit app.service.\nexit 3"
    );
    assert_eq!(
        said(&svinit, "systemctl reload broken"),
        "broken.service is not active, cannot reload.\nexit 1"
    );
    let failed = call(&svinit, "systemctl start broken");
    assert!(failed.code == 1 && failed.stderr.starts_with("Job for broken.service failed: "), "{failed:?}");
    assert!(failed.stderr.contains("\nSee \"systemctl status broken.service\" and "), "{failed:?}");
    assert_eq!(said(&svinit, "systemctl stop app"), "exit 0");
    assert_eq!(said(&svinit, "systemctl try-restart app"), "exit 0");
    assert_eq!(svinit.status("app")["state"], "inactive", "only what runs is tried");
    assert_eq!(said(&svinit, "systemctl kill -s CONT nginx"), "exit 0");
    assert_eq!(said(&svinit, "systemctl restart"), "Too few arguments.\nexit 1");
}

#[test]
fn systemctl_answers_questions_with_its_words_and_statuses() {
    let svinit = system();
    call(&svinit, "systemctl start broken");
    let table = [
        ("is-active nginx", "active\nexit 0"),
        ("is-active setup", "active\nexit 0"),
        ("is-active broken", "failed\nexit 3"),
        ("is-active nope", "inactive\nexit 4"),
        ("is-active -q broken nginx", "exit 0"),
        ("is-failed broken", "failed\nexit 0"),
        ("is-failed nginx", "active\nexit 1"),
        ("is-enabled nginx.service", "enabled\nexit 0"),
        ("is-enabled broken", "disabled\nexit 1"),
        ("is-enabled nope", "not-found\nexit 4"),
        ("is-system-running", "degraded\nexit 1"),
        ("show nginx -p MainPID", "MainPID=PID\nexit 0"),
        ("show -p ActiveState,SubState app", "ActiveState=active\nSubState=running\nexit 0"),
        ("show --value -p SubState setup", "exited\nexit 0"),
        ("show -P LoadState nope", "not-found\nexit 0"),
        ("status nope", "Unit nope.service could not be found.\nexit 4"),
        ("list-units --state=failed --no-legend --plain", "broken.service loaded failed failed\nexit 0"),
        ("list-units --type=timer --no-legend", "exit 0"),
        ("enable nginx", "exit 0"),
        ("reset-failed broken", "exit 0"),
        ("is-system-running", "running\nexit 0"),
        ("daemon-reload", "exit 0"),
    ];
    for (words, expected) in table {
        assert_eq!(said(&svinit, &format!("systemctl {words}")), expected, "systemctl {words}");
    }
    let enable = call(&svinit, "systemctl enable broken");
    assert!(
        enable.code == 1 && enable.stderr.contains("write `enabled = true` in broken.toml"),
        "{enable:?}"
    );
    let status = call(&svinit, "systemctl status app -n 5");
    assert!(status.stdout.starts_with("● app.service - The app\n     Loaded: loaded ("), "{status:?}");
    assert!(status.stdout.contains("\n     Active: active (running) since "), "{status:?}");
    assert!(status.stdout.contains("]: ready to serve\n") && status.code == 0, "{status:?}");
    assert_eq!(call(&svinit, "systemctl status broken").code, 3);
    let units = call(&svinit, "systemctl").stdout;
    assert!(units.contains("  app.service   loaded active running The app\n"), "{units}");
    assert!(units.contains("\n3 loaded units listed."), "{units}");
}

#[test]
fn supervisorctl_prints_its_columns_and_lsb_statuses() {
    let svinit = system();
    let status = call(&svinit, "supervisorctl -c /etc/supervisord.conf status");
    let lines: Vec<&str> = status.stdout.lines().collect();
    assert!(lines[0].starts_with("app                              RUNNING   pid "), "{status:?}");
    assert!(lines[0].contains(", uptime 0:"), "{status:?}");
    assert_eq!(lines[1], "broken                           STOPPED   Not started");
    assert!(lines[3].starts_with("setup                            EXITED    "), "{status:?}");
    assert_eq!(status.code, 3, "something is at rest, as there");
    let table = [
        ("status app:app", None, 0),
        ("status nope", Some("nope: ERROR (no such group)\nexit 4"), 4),
        ("status g:nope", Some("g:nope: ERROR (no such process)\nexit 4"), 4),
        ("restart nginx", Some("nginx: stopped\nnginx: started\nexit 0"), 0),
        ("start nginx", Some("nginx: ERROR (already started)\nexit 0"), 0),
        ("stop nginx", Some("nginx: stopped\nexit 0"), 0),
        ("stop nginx", Some("nginx: ERROR (not running)\nexit 0"), 0),
        ("restart nginx", Some("nginx: ERROR (not running)\nnginx: started\nexit 0"), 0),
        ("stop nginx:*", Some("nginx: stopped\nexit 0"), 0),
        ("start nginx nope", Some("nope: ERROR (no such process)\nnginx: started\nexit 1"), 1),
        ("start broken", Some("broken: ERROR (abnormal termination)\nexit 7"), 7),
        ("signal CONT nginx", Some("nginx: signalled\nexit 0"), 0),
        ("signal NOSUCH nginx", Some("nginx: ERROR (bad signal name)\nexit 1"), 1),
        ("signal HUP broken", Some("broken: ERROR (not running)\nexit 7"), 7),
        ("pid nginx", Some("PID\nexit 0"), 0),
        ("pid broken", Some("0\nexit 7"), 7),
        ("pid nope", Some("No such process nope\nexit 1"), 1),
        ("tail app", Some("ready to serve\nexit 0"), 0),
        ("tail -3 app stderr", Some("no\nexit 0"), 0),
        ("tail nope", Some("nope: ERROR (no such process name)\nexit 1"), 1),
        ("reread", Some("No config updates to processes\nexit 0"), 0),
        ("update", Some("exit 0"), 0),
    ];
    for (words, expected, code) in table {
        let said = said(&svinit, &format!("supervisorctl {words}"));
        match expected {
            Some(expected) => assert_eq!(said, expected, "supervisorctl {words}"),
            None => assert!(said.ends_with(&format!("exit {code}")), "supervisorctl {words}: {said}"),
        }
    }
    let avail = call(&svinit, "supervisorctl avail").stdout;
    assert!(avail.starts_with("app                              in use    auto      999:999\n"), "{avail}");
}

#[test]
fn supervisorctl_takes_over_changed_files() {
    let svinit = system();
    std::fs::write(svinit.path("units/nginx.toml"), NGINX.replace("601", "602")).unwrap();
    std::fs::write(svinit.path("units/more.toml"), "command = [\"sleep\", \"603\"]").unwrap();
    assert_eq!(said(&svinit, "supervisorctl reread"), "more: available\nnginx: changed\nexit 0");
    assert_eq!(
        said(&svinit, "supervisorctl update"),
        "more: added process group\nnginx: stopped\nnginx: updated process group\nexit 0"
    );
    assert_eq!(svinit.status("more")["state"], "ready");
    let before = svinit.status("app")["pid"].clone();
    assert_eq!(said(&svinit, "supervisorctl reload"), "Restarted supervisord\nexit 0");
    is_running_anew(&svinit, "app", &before);
}

#[test]
fn what_a_tool_can_and_svinit_cannot_is_refused_with_the_way_it_is_done_here() {
    let svinit = system();
    for (words, hint) in [
        ("pm2 scale app 4", "write another unit"),
        ("pm2 install pm2-logrotate", "there are no modules"),
        ("pm2 frobnicate", "svctl help"),
        ("pm2 restart app --frobnicate", "unknown option --frobnicate"),
        ("systemctl isolate rescue.target", "there are no targets"),
        ("systemctl set-property app MemoryMax=1G", "a unit is its file"),
        ("systemctl frobnicate", "svctl help"),
        ("systemctl restart app --frobnicate", "unknown option --frobnicate"),
        ("supervisorctl fg app", "svctl logs -f"),
        ("supervisorctl frobnicate", "svctl help"),
    ] {
        let answer = call(&svinit, words);
        assert!(
            answer.code == 2 && answer.stderr.contains(hint) && answer.stdout.is_empty(),
            "{words}: {answer:?}"
        );
    }
}

#[test]
fn shims_say_that_nobody_is_there_as_their_tools_do() {
    let svinit = system();
    let socket = svinit.path("nobody.sock");
    let env = [("SVINIT_SOCKET", socket.to_str().unwrap())];
    for (words, code) in [
        ("supervisorctl status", 4),
        ("supervisorctl restart app", 7),
        ("systemctl restart app", 1),
        ("pm2 restart app", 1),
    ] {
        let answer = call_with(&svinit, words, &env);
        assert_eq!(answer.code, code, "{words}: {answer:?}");
        assert!(format!("{answer:?}").contains("nobody.sock"), "{words}: {answer:?}");
    }
}

#[test]
fn a_trace_shows_the_translation() {
    let svinit = system();
    let answer = call_with(&svinit, "systemctl restart nginx.service", &[("SVCTL_SHIM_TRACE", "1")]);
    assert_eq!(answer.stderr, "svctl restart nginx\n");
}

#[test]
fn a_shim_can_end_the_container() {
    for words in ["pm2 kill", "supervisorctl shutdown", "systemctl poweroff"] {
        let svinit = system();
        assert_eq!(call(&svinit, words).code, 0, "{words}");
        assert_eq!(svinit.wait_for_end(), 0, "{words}");
    }
}

/// A unit that is never ready, and one that ends again and again.
fn troubled() -> Svinit {
    let svinit = Setup::new()
        .unit("slow", "command = [\"sleep\", \"604\"]\n[ready]\nfile = \"/nonexistent\"\ntimeout = \"1h\"")
        .unit(
            "flappy",
            "command = [\"false\"]\n[restart]\npolicy = \"always\"\ndelay = \"1h\"\nmax_delay = \"1h\"",
        )
        .unit("steady", "command = [\"sleep\", \"605\"]")
        .start();
    svinit.wait_for("slow", "starting");
    svinit.wait_for("flappy", "backoff");
    svinit.wait_for("steady", "ready");
    svinit
}

#[test]
fn what_starts_and_what_is_in_back_off_is_called_as_each_tool_calls_it() {
    let svinit = troubled();
    let all: serde_json::Value = serde_json::from_str(&call(&svinit, "pm2 jlist").stdout).unwrap();
    let states: Vec<&str> =
        all.as_array().unwrap().iter().map(|one| one["pm2_env"]["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["waiting restart", "launching", "online"]);
    let list = call(&svinit, "pm2 list").stdout;
    assert!(list.contains("waiting restart") && list.contains("launching"), "{list}");
    let status = call(&svinit, "supervisorctl status").stdout;
    let lines: Vec<&str> = status.lines().collect();
    assert!(lines[0].starts_with("flappy                           BACKOFF   "), "{status}");
    assert_eq!(lines[1].trim_end(), "slow                             STARTING");
    let table = [
        ("is-active flappy", "activating\nexit 3"),
        ("is-active slow", "activating\nexit 3"),
        ("show -p ActiveState,SubState flappy", "ActiveState=activating\nSubState=auto-restart\nexit 0"),
        ("show -p ActiveState,SubState slow", "ActiveState=activating\nSubState=start\nexit 0"),
        (
            "list-units --state=auto-restart --no-legend --plain",
            "flappy.service loaded activating auto-restart\nexit 0",
        ),
    ];
    for (words, expected) in table {
        assert_eq!(said(&svinit, &format!("systemctl {words}")), expected, "systemctl {words}");
    }
}

#[test]
fn pm2_reloads_deletes_saves_lists_and_shows() {
    let svinit = system();
    let (app, nginx) = (svinit.status("app")["pid"].clone(), svinit.status("nginx")["pid"].clone());
    let reload = call(&svinit, "pm2 reload nginx");
    assert!(
        reload.code == 0
            && reload.stdout.starts_with("[PM2] Applying action reloadProcessId on app [nginx]("),
        "{reload:?}"
    );
    assert_eq!(svinit.status("nginx")["pid"], nginx, "it can be reloaded");
    assert_eq!(call(&svinit, "pm2 reload app").code, 0);
    is_running_anew(&svinit, "app", &app);
    let saved = "[PM2] Nothing to do: units are files, and the enabled ones start at boot\nexit 0";
    assert_eq!(said(&svinit, "pm2 save"), saved);
    assert_eq!(said(&svinit, "pm2 resurrect"), saved);
    let show = call(&svinit, "pm2 show app");
    assert!(
        show.code == 0 && show.stdout.starts_with(" Describing process with id 0 - name app\n"),
        "{show:?}"
    );
    assert_eq!(call(&svinit, "pm2 delete app").code, 0);
    assert_eq!(svinit.status("app")["state"], "inactive");
    let list = call(&svinit, "pm2 list");
    assert!(list.code == 0 && list.stdout.contains("│ stopped "), "{list:?}");
}

#[test]
fn systemctl_takes_the_options_of_scripts() {
    let svinit = system();
    assert_eq!(said(&svinit, "systemctl --user --no-block --no-pager stop nginx"), "exit 0");
    svinit.wait_for("nginx", "inactive");
    assert_eq!(said(&svinit, "systemctl enable --now nginx"), "exit 0");
    assert_eq!(svinit.status("nginx")["state"], "ready");
    let disable = call(&svinit, "systemctl disable --now nginx");
    assert!(
        disable.code == 1 && disable.stderr.contains("write `enabled = false` in nginx.toml"),
        "{disable:?}"
    );
    assert_eq!(svinit.status("nginx")["state"], "inactive", "it was stopped all the same");
    assert_eq!(said(&svinit, "systemctl --user is-active app"), "active\nexit 0");
    assert_eq!(said(&svinit, "systemctl --user is-system-running"), "running\nexit 0");
    assert_eq!(said(&svinit, "systemctl is-system-running -q"), "exit 0");
    let all = call(&svinit, "systemctl list-units --all --type=service --no-legend --plain").stdout;
    let names: Vec<&str> = all.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["app.service", "broken.service", "nginx.service", "setup.service"]);
}

#[test]
fn supervisorctl_takes_a_server_follows_output_and_restarts_all() {
    let svinit = system();
    let before = svinit.status("app")["pid"].clone();
    let server = "-s unix:///run/supervisor.sock -u user -p secret";
    let version = call(&svinit, &format!("supervisorctl {server} version"));
    assert_eq!((version.stdout.trim(), version.code), (env!("CARGO_PKG_VERSION"), 0));
    let all = call(&svinit, &format!("supervisorctl {server} restart all"));
    for line in ["app: stopped\n", "app: started\n", "nginx: stopped\n", "nginx: started\n"] {
        assert!(all.stdout.contains(line), "{all:?}");
    }
    is_running_anew(&svinit, "app", &before);

    let mut command = Command::new(executable());
    command.args(["--as", "supervisorctl", "tail", "-f", "app"]).env("SVINIT_SOCKET", svinit.socket());
    let mut tail = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "==> Press Ctrl-C to exit <==");
    assert_eq!(lines.next().unwrap(), "ready to serve");
    assert_eq!(lines.next().unwrap(), "ready to serve", "of the process after it");
    assert_eq!(svinit.svctl("restart app").code, 0);
    assert_eq!(lines.next().unwrap(), "ready to serve", "what comes while it follows");
    tail.kill().unwrap();
    tail.wait().unwrap();
}
