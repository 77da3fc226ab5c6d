//! Descriptors that services send to svinit with their words: kept for the next main process, closed when that is due, and
//! never a reason to wait.

use std::net::TcpListener;

use crate::fixture::{Setup, eventually};

/// A unit whose process is Python with `say(text, fds)`, and with what it was handed in `kept`, by name.
pub(crate) fn speaker(keys: &str, code: &str) -> String {
    let code = format!(
        "import array,os,select,socket,struct,time; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
         s.connect(os.environ['NOTIFY_SOCKET'])\n\
         def say(text, fds=()): s.sendmsg([text.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else [])\n\
         names = os.environ.get('LISTEN_FDNAMES', '').split(':') if 'LISTEN_FDS' in os.environ else []\n\
         assert len(names) == int(os.environ.get('LISTEN_FDS', 0))\n\
         assert not names or os.environ['LISTEN_PID'] == str(os.getpid())\n\
         kept = dict(zip(names, range(3, 3 + len(names))))\n{code}"
    );
    format!("type = \"notify\"\n{keys}\ncommand = [\"python3\", \"-c\", {code:?}]")
}

/// How many descriptors svinit has open.
fn open_fds(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn what_a_service_has_handed_over_comes_back_to_its_next_process_and_goes_with_its_unit() {
    let code = "if 'state' in kept:\n  \
                  print('found', os.pread(kept['state'], 9, 0).decode(), names, flush=True)\n\
                else:\n  \
                  fd = os.memfd_create('x'); os.write(fd, b'remembers'); say('FDSTORE=1\\nFDNAME=state', [fd, fd])\n  \
                  a, b = os.pipe(); say('FDSTORE=1\\nFDNAME=dies', [a]); os.close(b); a, b = os.pipe()\n  \
                  say('FDSTORE=1\\nFDNAME=gone', [a, b]); say('FDSTOREREMOVE=1\\nFDNAME=gone')\n  \
                  print('made', os.environ['FDSTORE'], flush=True)\n\
                say('READY=1'); time.sleep(600)";
    let svinit = Setup::new().unit("web", &speaker("", code)).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for_line("web | made 64");
    let first = svinit.status("web")["pid"].as_i64();
    assert_eq!(svinit.svctl("signal KILL web").code, 0);
    svinit.wait_for_line("web | found remembers ['state']");
    eventually("it is up again", || {
        let now = svinit.status("web");
        now["state"] == "ready" && now["pid"].as_i64() != first
    });
    assert!(
        svinit.svctl("env web").stdout.contains("LISTEN_FDNAMES=state\n"),
        "{:?}",
        svinit.svctl("env web")
    );
    assert_eq!(svinit.svctl("restart web").code, 0);
    eventually("its line is told", || svinit.output().matches("web | found remembers").count() == 2);
    // A person stops it: that is the end of what it had.
    assert_eq!(svinit.svctl("stop web").code, 0);
    assert!(!svinit.svctl("env web").stdout.contains("LISTEN_FDS"));
    assert_eq!(svinit.svctl("start web").code, 0);
    eventually("its line is told", || svinit.output().matches("web | made 64").count() == 2);
}

#[test]
fn one_whose_other_end_is_closed_comes_back_only_where_that_is_wanted() {
    let code = "if names: print('found', names, os.read(kept['stays'], 9).decode(), flush=True)\n\
                else:\n  \
                  for how in ['FDNAME=goes', 'FDNAME=stays\\nFDPOLL=0']:\n    \
                    a, b = os.pipe(); os.write(b, b'the rest'); os.close(b); say('FDSTORE=1\\n' + how, [a])\n\
                say('READY=1'); time.sleep(600)";
    for how in ["", "upgrade", "crash"] {
        let setup = Setup::new().replaceable().env("SVINIT_FAULTS", "1");
        let svinit = setup.unit("web", &speaker("", code)).start();
        svinit.wait_for("web", "ready");
        if !how.is_empty() {
            crate::carried::succeed(&svinit, how);
        }
        assert_eq!(svinit.svctl("restart web").code, 0);
        svinit.wait_for_line("web | found ['stays'] the rest");
    }
}

#[test]
fn more_than_a_unit_may_keep_and_what_has_no_name_is_refused_and_closed() {
    let code = "made = [os.memfd_create('x') for _ in range(100)]\n\
                for fd in made: say('FDSTORE=1', [fd])\n\
                say('FDSTORE=1', made); say('FDSTORE=1\\nFDNAME=a:b', made); say('FDSTORE=1'); say('STATUS=x', made)\n\
                say('BARRIER=1', made[:2]); say('FDSTOREREMOVE=1')\n\
                say('READY=1'); print('kept', len(names), flush=True); time.sleep(600)";
    let svinit =
        Setup::new().unit("web", &speaker("", code)).unit("other", "command = [\"sleep\", \"600\"]").start();
    svinit.wait_for("web", "ready");
    for why in [
        "at most 64 are kept for it",
        "FDSTORE=1 came without",
        "FDNAME is no name",
        "BARRIER=1 comes with one",
    ] {
        svinit.wait_for_line(&format!("web: a descriptor that it sent was not taken: {why}"));
    }
    let full = open_fds(svinit.pid());
    assert_eq!(svinit.svctl("restart web").code, 0);
    svinit.wait_for_line("web | kept 64");
    assert_eq!(svinit.svctl("stop web").code, 0);
    eventually("all are closed", || open_fds(svinit.pid()) <= full - 64);
}

#[test]
fn a_barrier_is_lifted_when_what_was_said_before_it_can_be_seen() {
    let code = "for n in range(200):\n  \
                  a, b = os.pipe(); say(f'STATUS={n}'); say('BARRIER=1', [b]); os.close(b)\n  \
                  assert select.select([a], [], [], 30)[0] and os.read(a, 1) == b''; os.close(a)\n\
                say('STATUS=last\\nREADY=1'); a, b = os.pipe(); say('BARRIER=1', [b]); os.close(b); os.read(a, 1)\n\
                print('heard', flush=True); time.sleep(600)";
    let svinit = Setup::new().unit("web", &speaker("", code)).start();
    svinit.wait_for_line("web | heard");
    let seen = svinit.status("web");
    assert_eq!((&seen["status_text"], &seen["state"]), (&"last".into(), &"ready".into()));
}

#[test]
fn a_socket_that_takes_an_hour_to_close_holds_nobody_up() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    // Nobody reads what it sends, so closing the last copy waits for that as long as it was told to.
    let code = format!(
        "def full():\n  \
           c = socket.create_connection(('127.0.0.1', {port})); c.setblocking(False)\n  \
           c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 3600))\n  \
           try:\n    \
             while True: c.send(b'x' * 65536)\n  \
           except BlockingIOError: return c\n\
         for text in ['FDSTORE=1', 'STATUS=x', 'BARRIER=1']:\n  \
           c = full(); say(text, [c.fileno()]); c.close()\n\
         say('READY=1'); time.sleep(600)"
    );
    let svinit = Setup::new()
        .unit("web", &speaker("stop.signal = \"KILL\"", &code))
        .unit("other", "command = [\"sleep\", \"600\"]")
        .start();
    svinit.wait_for("web", "ready");
    assert_eq!(svinit.svctl("stop web --timeout 20s").code, 0);
    assert_eq!(svinit.svctl("restart other --timeout 20s").code, 0);
}
