//! Pid files that name whom they must not: another unit's process, PID 1, svinit, a stranger, nobody.

use crate::fixture::{Setup, Svinit, both};

/// A daemon that leaves `number` (a shell word) in its pid file.
fn forking(number: &str) -> String {
    let script = format!("setsid sleep 600 & daemon=$!; echo {number} > {{dir}}/pid");
    format!(
        "type = \"forking\"\npid_file = \"{{dir}}/pid\"\ncommand = [\"sh\", \"-c\", {script:?}]\n\
         restart.policy = \"never\"\nready.timeout = \"300ms\""
    )
}

/// svinit with `web`, another unit, and the forking unit `daemon`, which is to be started.
fn beside_web(setup: Setup, daemon: &str) -> Svinit {
    let web =
        "command = [\"sh\", \"-c\", \"echo $$$$ > {dir}/web; exec sleep 600\"]\nready.file = \"{dir}/web\"";
    setup.unit("web", web).unit("daemon", &format!("enabled = false\n{daemon}")).start()
}

#[test]
fn a_pid_file_is_believed_only_when_it_names_a_living_process_of_the_unit() {
    both(|setup| {
        let svinit = beside_web(setup, &forking("$daemon"));
        assert_eq!(svinit.svctl("start daemon").code, 0, "{}", svinit.output());
        assert_eq!(svinit.svctl("stop daemon").code, 0);
        assert_eq!(svinit.status("daemon")["last_exit"]["signal"], "TERM");
    });
}

#[test]
fn a_pid_file_that_names_another_process_is_refused_with_the_reason() {
    for (number, why) in [
        ("$(cat {dir}/web)", "no living process of this unit"),
        // Its own parent: svinit.
        ("$PPID", "no living process of this unit"),
        ("1", "does not hold a process number"),
        ("0", "does not hold a process number"),
        ("-1", "does not hold a process number"),
        // Was one a moment ago.
        ("$(sh -c 'echo $$$$')", "no living process of this unit"),
        ("4194303", "no living process of this unit"),
    ] {
        both(|setup| {
            let svinit = beside_web(setup, &forking(number));
            let web = svinit.wait_for("web", "ready");
            assert_eq!(svinit.svctl("start daemon").code, 1, "{number}: {}", svinit.output());
            let status = svinit.status("daemon");
            let said = status["why"].as_str().unwrap();
            // As PID 1 svinit itself has the number 1.
            let is_one = said.contains("does not hold a process number") && number == "$PPID";
            assert!(said.contains(why) || is_one, "{number}: {said}");
            assert_eq!(svinit.svctl("stop daemon").code, 0);
            assert_eq!(svinit.wait_for("web", "ready"), web, "{number}: {}", svinit.output());
        });
    }
}

#[test]
fn a_pid_file_that_is_a_link_or_a_pipe_is_refused() {
    for (made, why) in [
        ("ln -s {dir}/web {dir}/pid", "symbolic link"),
        ("mkfifo {dir}/pid", "no plain file"),
        ("mkdir {dir}/pid", "no plain file"),
    ] {
        let script = format!("setsid sleep 600 & {made}");
        let daemon = format!(
            "type = \"forking\"\npid_file = \"{{dir}}/pid\"\ncommand = [\"sh\", \"-c\", {script:?}]\n\
             restart.policy = \"never\"\nready.timeout = \"300ms\""
        );
        let svinit = beside_web(Setup::new(), &daemon);
        assert_eq!(svinit.svctl("start daemon").code, 1, "{made}: {}", svinit.output());
        let status = svinit.status("daemon");
        assert!(status["why"].as_str().unwrap().contains(why), "{made}: {status}");
    }
}
