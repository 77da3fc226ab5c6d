//! Secrets as canaries: put into each place that svinit reads secrets from, and looked for wherever others can look.
//! What `svctl` and the two listeners show is in `context`; here is what the system shows.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::fixture::{Essential, Setup, is_root, kill, skip};

/// In pieces, so that the test's own words are not found.
fn canary(of: &str) -> String {
    format!("canary-{}-{of}", std::process::id())
}

fn opened(setup: Setup) -> Setup {
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    setup
}

#[test]
fn svinit_dumps_no_core_and_its_children_get_the_limit_it_was_given() {
    let svinit = Setup::new()
        .through(&["prlimit", "--core=1000000:unlimited"])
        .unit("show", "type = \"oneshot\"\nshell = \"echo core $(ulimit -c)\"\n")
        .unit("none", "type = \"oneshot\"\nshell = \"echo core $(ulimit -c)\"\nlimits.core = 0\n")
        .unit("stay", "command = [\"sleep\", \"600\"]\n")
        .start();
    svinit.wait_for("show", "completed");
    svinit.wait_for("none", "completed");
    let limits = fs::read_to_string(format!("/proc/{}/limits", svinit.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // In blocks of 512 bytes, as shells count.
    svinit.wait_for_line("show | core 1953");
    svinit.wait_for_line("none | core 0");
    svinit.wait_for("stay", "ready");
    let pid = svinit.pid();
    // Core or not, where the kernel's pattern leads elsewhere: what is not dumpable is not dumped.
    assert_eq!(fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0);
    // A fault that others only pretend is none.
    kill(pid, "ABRT");
    assert_eq!(svinit.status("stay")["state"], "ready");
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    let left = fs::read_dir(svinit.path("")).unwrap().flatten().map(|entry| entry.file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with("core")), "a core file");
}

#[test]
fn a_service_of_svinits_own_user_cannot_look_into_it() {
    if !is_root() {
        return skip("only root can run svinit as somebody else", Essential::No);
    }
    let script = "for file in environ mem maps fd/0; do head -c 1 /proc/$PPID/$file >/dev/null && echo saw $file; done; \
                  tr '\\0' ' ' </proc/$PPID/cmdline | grep -c outside; echo looked; exec sleep 600";
    let setup = opened(Setup::new()).unit("spy", &format!("command = [\"sh\", \"-c\", {script:?}]\n"));
    fs::create_dir(setup.path("home")).unwrap();
    std::os::unix::fs::chown(setup.path("home"), Some(61008), Some(61008)).unwrap();
    let place = setup.path("home/control.sock");
    let run = setup.path("home");
    let svinit = setup
        .env("XDG_RUNTIME_DIR", run.to_str().unwrap())
        .env("FROM_OUTSIDE", &canary("outside"))
        .through(&["setpriv", "--reuid=61008", "--regid=61008", "--clear-groups"])
        .args(&["--socket", place.to_str().unwrap()])
        .socket_found_at(place)
        .start();
    svinit.wait_for_line("spy | looked");
    let output = svinit.output();
    assert!(!output.contains("spy | saw"), "{output}");
    assert!(output.contains("Permission denied"), "{output}");
    assert!(output.contains("spy | 0"), "{output}");
}

#[test]
fn a_secret_is_in_no_place_where_another_user_or_a_later_reader_could_look() {
    if !is_root() {
        return skip("only root can run services as two users", Essential::No);
    }
    let canaries = ["secret", "credential", "file"].map(canary);
    // They are held while the spy looks: in the environment, in a file, and as a copy in memory.
    let holds = "test -n \\\"$TOKEN$FROM_FILE\\\" && K=$(cat $CREDENTIALS_DIRECTORY/key) && echo the directory is $CREDENTIALS_DIRECTORY; exec sleep 600";
    let unit = format!(
        "user = \"61009\"\nenvironment_files = [\"{{dir}}/env\"]\nready.log = \"the directory is\"\nshell = \"{holds}\"\n\
         [log]\nfile = \"{{dir}}/logs/app.log\"\n[secrets]\nTOKEN = \"{{dir}}/token\"\n[credentials]\nkey = \"{{dir}}/key\"\n\
         [hooks]\npost_start = [\"true\"]\n[health]\nexec = [\"true\"]\ninterval = \"200ms\"\n"
    );
    let mark = format!("canar[y]-{}-", std::process::id());
    let spy = format!(
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/maps 2>/dev/null | tr '\\\\0' '\\\\n' | grep -c '{mark}'; \
         grep -r -s -l '{mark}' {{dir}} /run/svinit; ls /run/svinit/$PPID/web-1 && echo saw; cat /run/svinit/$PPID/web-1/key && echo saw; echo looked"
    );
    let spy = format!("user = \"61010\"\ntype = \"oneshot\"\nwants = [\"web\"]\nshell = \"{spy}\"\n");
    let setup = opened(Setup::new())
        .file("token", &canaries[0])
        .file("key", &canaries[1])
        .file("env", &format!("FROM_FILE={}\n", canaries[2]))
        .unit("web", &unit)
        .unit("spy", &spy);
    for file in ["token", "key", "env"] {
        fs::set_permissions(setup.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let svinit = setup.http().start();
    svinit.wait_for("spy", "completed");
    svinit.wait_for_line("spy | 0");
    let looked = svinit.output();
    assert!(!looked.lines().any(|line| line.starts_with("spy | /") || line == "spy | saw"), "{looked}");
    assert_eq!(looked.matches("Permission denied").count(), 2, "{looked}");
    let line = svinit.wait_for_line("the directory is ");
    let dir = PathBuf::from(line.rsplit(' ').next().unwrap());
    // Root looks too: what svinit has made holds them in one place only, and its socket files hold nothing.
    let run = dir.parent().unwrap();
    assert_eq!(holding(run, &canaries), [dir.join("key")]);
    let mut own = ["token", "key", "env"].map(|name| svinit.path(name));
    own.sort();
    assert_eq!(holding(&svinit.path(""), &canaries), own);
    for descriptor in fs::read_dir(format!("/proc/{}/fd", svinit.pid())).unwrap().flatten() {
        let target = fs::read_link(descriptor.path()).unwrap_or_default();
        assert!(!target.starts_with(&dir), "{}", target.display());
        if target.starts_with("/memfd:") {
            // What a crash would need of the state.
            let state = fs::read(descriptor.path()).unwrap();
            let state = String::from_utf8_lossy(&state);
            assert!(!canaries.iter().any(|canary| state.contains(canary)), "{state}");
        }
    }
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    assert!(!run.exists(), "{} is left", run.display());
    let said = svinit.output();
    assert!(!canaries.iter().any(|canary| said.contains(canary)), "{said}");
}

/// The files below `dir` that hold one of `words`.
fn holding(dir: &Path, words: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for path in fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.is_file() {
                let text = fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&text);
                if words.iter().any(|word| text.contains(word)) {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    found
}
