//! What services tell svinit on `NOTIFY_SOCKET` besides that they are ready, and what svinit tells its own supervisor.

use std::os::unix::net::UnixDatagram;

use crate::fixture::{PATIENCE, Setup, eventually, processes_with, rounds};

/// A unit whose process is Python with `say(text)`.
fn speaker(keys: &str, code: &str) -> String {
    let code = format!(
        "import os,socket,time; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
         s.connect(os.environ['NOTIFY_SOCKET']); say=lambda text: s.send(text.encode())\n{code}"
    );
    format!("type = \"notify\"\n{keys}\ncommand = [\"python3\", \"-c\", {code:?}]")
}

#[test]
fn one_that_hangs_is_aborted_and_started_again_and_one_that_speaks_up_is_left_alone() {
    let code = "say('READY=1')\n\
                for n in range(30): say('WATCHDOG=1'); time.sleep(0.1)\n\
                is_own = os.environ['WATCHDOG_PID'] == str(os.getpid())\n\
                print('silent with', os.environ['WATCHDOG_USEC'], is_own, flush=True); time.sleep(600)";
    let svinit = Setup::new().unit("web", &speaker("watchdog = \"2s\"", code)).start();
    svinit.wait_for_line("web: stopping: hangs: no WATCHDOG=1 for 2s");
    assert!(
        svinit.output().contains("web | silent with 2000000 True"),
        "it spoke for longer than it could be silent"
    );
    eventually("it is started again", || svinit.status("web")["restarts"] == 1);
    assert_eq!(svinit.status("web")["last_exit"]["signal"], "ABRT");
}

#[test]
fn one_that_asks_for_time_gets_it_and_one_that_gives_a_reason_is_quoted() {
    let slow = "say('EXTEND_TIMEOUT_USEC=60000000'); time.sleep(1.5); say('READY=1'); time.sleep(600)";
    let full = "say('ERRNO=28'); raise SystemExit(3)";
    let svinit = Setup::new()
        .unit("slow", &speaker("ready.timeout = \"1s\"", slow))
        .unit("full", &speaker("restart.policy = \"never\"", full))
        .start();
    svinit.wait_for("slow", "ready");
    assert_eq!(svinit.status("slow")["restarts"], 0);
    svinit
        .wait_for_line("exited with code 3 before it was ready, and gave errno 28 (No space left on device)");
}

#[test]
fn one_that_says_that_it_stops_gets_no_signal_and_its_end_is_judged() {
    let code = "import signal; signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True))\n\
                say('READY=1'); say('STOPPING=1'); time.sleep(0.5); print('left', flush=True); raise SystemExit(3)";
    let svinit = Setup::new()
        .unit("web", &speaker("restart.policy = \"never\"", code))
        .unit("stay", "command = [\"sleep\", \"600\"]")
        .start();
    svinit.wait_for_line("web: stopping: said by itself that it stops");
    svinit.wait_for("web", "failed");
    svinit.wait_for_line("web: failed: exited with code 3");
    assert!(svinit.output().contains("web | left") && !svinit.output().contains("web | told"));
    assert_eq!(svinit.status("web")["last_exit"]["code"], 3);
}

#[test]
fn the_last_word_of_one_that_was_replaced_is_not_taken_for_one_of_the_new_one() {
    let code = "import signal; signal.signal(signal.SIGTERM, lambda *_: (say('STOPPING=1'), os._exit(0)))\n\
                say('READY=1')\nwhile True: signal.pause()";
    let svinit = Setup::new().unit("web", &speaker("restart.mode = \"start-first\"", code)).start();
    let mut web = svinit.wait_for("web", "ready");
    for _ in 0..rounds(20) {
        assert_eq!(svinit.svctl("restart web").code, 0);
        web = svinit.wait_for_another("web", "ready", web);
    }
    assert_eq!(svinit.svctl("stop web").code, 0);
    let said = svinit.output();
    assert!(!said.contains("said by itself that it stops"), "{said}");
}

#[test]
fn a_child_that_is_named_as_the_main_process_is_the_one_that_counts() {
    let code = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); child = os.fork()\n\
                if child: say(f'MAINPID={child}\\nREADY=1'); os._exit(3) # 6394\n\
                signal.sigwait([signal.SIGUSR1]); print('told', os.getpid(), flush=True); raise SystemExit(7)";
    let svinit = Setup::new()
        .unit("web", &speaker("restart.policy = \"never\"", code))
        .unit("stay", "command = [\"sleep\", \"600\"]")
        .start();
    let main = svinit.wait_for("web", "ready").unwrap();
    eventually("the one that has named it is gone", || processes_with("# 6394") == [main]);
    let shown = svinit.svctl("status web");
    assert!(shown.code == 0 && shown.stdout.contains(&format!("pid  {main},")), "{shown:?}");
    let sent = svinit.svctl("signal USR1 web");
    assert_eq!(sent.stdout, format!("web: signal sent to pid {main}\n"), "{sent:?}");
    svinit.wait_for("web", "failed");
    assert!(svinit.output().contains(&format!("web | told {main}\n")), "{}", svinit.output());
    assert_eq!(svinit.status("web")["last_exit"]["code"], 7);
}

/// Its own parent, which lives, is the first to know.
#[test]
fn the_end_of_a_named_main_process_is_heard_of_though_it_is_another_s_child() {
    let named = |parent: &str| {
        let code = format!(
            "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); child = os.fork()\n\
             if child:\n  say(f'MAINPID={{child}}\\nREADY=1'); {parent}; time.sleep(600) # 6395\n\
             signal.sigwait([signal.SIGUSR1]); os._exit(7)"
        );
        speaker("restart.policy = \"never\"", &code)
    };
    for (parent, code) in [("pass", 7), ("os.waitpid(child, 0)", 255)] {
        let svinit = Setup::new()
            .replaceable()
            .unit("web", &named(parent))
            .unit("stay", "command = [\"sleep\", \"600\"]");
        let svinit = svinit.start();
        let main = svinit.wait_for("web", "ready").unwrap();
        // Who takes over hears of it as well.
        assert_eq!(svinit.svctl("upgrade").code, 0, "{}", svinit.output());
        assert_eq!(svinit.svctl("signal USR1 web").stdout, format!("web: signal sent to pid {main}\n"));
        svinit.wait_for("web", "failed");
        // Whoever takes note of it first, its parent or svinit, has its status; it may be both.
        let told = &svinit.status("web")["last_exit"]["code"];
        assert!(*told == code || *told == 7, "{}", svinit.output());
        eventually("its parent is stopped with it", || processes_with("# 6395").is_empty());
    }
}

#[test]
fn a_reload_is_over_when_the_service_says_so_of_this_one() {
    let code = "import signal; now = lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000\n\
                asked = []; signal.signal(signal.SIGHUP, lambda *_: asked.append(1)); before = now(); say('READY=1')\n\
                while not asked: time.sleep(0.01)\n\
                say(f'RELOADING=1\\nMONOTONIC_USEC={before}'); say('READY=1'); time.sleep(0.3); say('STATUS=reloaded')\n\
                say(f'RELOADING=1\\nMONOTONIC_USEC={now()}'); say('READY=1'); time.sleep(600)";
    let svinit = Setup::new().unit("web", &speaker("reload.signal = \"HUP\"", code)).start();
    svinit.wait_for("web", "ready");
    assert_eq!(svinit.svctl("reload web").code, 0);
    assert_eq!(svinit.status("web")["status_text"], "reloaded");
}

#[test]
fn the_supervisor_of_svinit_is_told_once_when_it_is_up_and_also_after_an_upgrade_when_it_goes() {
    let setup = Setup::new();
    let path = setup.path("outer");
    let outer = UnixDatagram::bind(&path).unwrap();
    outer.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut bytes = [0; 256];
        let length = outer.recv(&mut bytes).expect("svinit says something");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let svinit = setup
        .replaceable()
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .unit("web", "command = [\"sleep\", \"600\"]")
        .start();
    assert_eq!(heard(), "READY=1\nSTATUS=boot finished");
    assert_eq!(svinit.svctl("upgrade").code, 0);
    svinit.signal("TERM");
    assert_eq!(heard(), "STOPPING=1\nSTATUS=stopping all units");
    assert_eq!(svinit.wait_for_end(), 0);
}
