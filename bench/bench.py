#!/usr/bin/env python3
"""One harness, many supervisors, the same nine questions.

Python 3 standard library + a C compiler. Linux, root (or CAP_SYS_ADMIN).
See README.md. Every supervisor runs as PID 1 of its own pid + mount namespace.
"""
import argparse, json, os, platform, shutil, signal, statistics, subprocess, sys, tempfile, time
import textwrap

HERE = os.path.dirname(os.path.abspath(__file__))
MONO = time.CLOCK_MONOTONIC
BIN = None          # folder of compiled helpers
TMP = None          # scratch folder, tmpfs by choice
PY = os.environ.get("BENCH_PYTHON", "/usr/bin/python3")


def now():
    return time.clock_gettime_ns(MONO)


def which(name, *more):
    for c in more:
        if c and os.path.exists(c):
            return c
    return shutil.which(name)


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def cc():
    """Compile the helpers, static, so that exec cost is the kernel's alone."""
    global BIN
    BIN = os.path.join(TMP, "bin")
    os.makedirs(BIN, exist_ok=True)
    comp = shutil.which("musl-gcc") or shutil.which("gcc") or shutil.which("cc")
    for s in sorted(os.listdir(os.path.join(HERE, "c"))):
        if s.endswith(".c"):
            subprocess.run([comp, "-O2", "-static", "-o", os.path.join(BIN, s[:-2]),
                            os.path.join(HERE, "c", s)], check=True)
    # The same with glibc, which does more before main: what a static executable of ours cannot go below.
    gcc = shutil.which("gcc") or shutil.which("cc")
    subprocess.run([gcc, "-O2", "-static", "-o", os.path.join(BIN, "ping-glibc"), os.path.join(HERE, "c", "ping.c")])


# Debian's packages of an interpreter; those of one release are there.
PYTHON = [f"pkg:{p}" for v in ("3.11", "3.13") for p in (f"python{v}-minimal", f"libpython{v}-minimal", f"libpython{v}-stdlib")]


# ---------------------------------------------------------------- adapters

class Adapter:
    """What one supervisor needs. A service is (name, argv)."""
    name = "?"
    stop_signal = signal.SIGTERM
    nsflags = ()                 # extra nsrun flags
    max_n = 1000
    boot_timeout = 90
    exits = True                 # does stop_signal end PID 1?
    can_ctl = True               # restart command
    can_status = True
    can_supervise = True
    log_kinds = ()               # of "plain", "ts", "direct"
    log_bytes = 1 << 30
    sync_restart = False         # does the restart CLI return only when it is up?
    env = {}
    fast_differs = False         # does mode="fast" change anything?
    kill_gap = 2.0               # uptime before a crash, seconds

    def binary(self): return None
    def sizes(self): return [self.binary()]
    def available(self): return bool(self.binary())
    def config(self, d, svcs, mode="default", log=None): raise NotImplementedError
    def start(self, d): raise NotImplementedError
    def restart_cmd(self, d, n): return None
    def status_cmd(self, d, n): return None
    def shell_env(self, d):
        e = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": d, "LANG": "C"}
        e.update(self.env)
        return e


def sh(argv):
    return " ".join("'%s'" % a if set(a) & set(" ;'\"") else a for a in argv)


class Floor(Adapter):
    """No supervisor at all: a C loop that starts, reaps and starts again."""
    mode = "fork"
    can_ctl = can_status = False
    def __init__(self, mode): self.mode, self.name = mode, "floor-" + mode
    def binary(self): return os.path.join(BIN, "floor")
    def config(self, d, svcs, mode="default", log=None): self.n, self.log = len(svcs), svcs[0][1][1]
    def start(self, d): return [self.binary(), self.mode, os.path.join(BIN, "svc"), self.log, str(self.n)]


class OneShot(Adapter):
    """tini, dumb-init, catatonit: one child, no supervision."""
    max_n = 1
    can_ctl = can_status = can_supervise = False
    def __init__(self, name): self.name = name
    def binary(self): return which(self.name)
    def config(self, d, svcs, mode="default", log=None): self.argv = svcs[0][1]
    def start(self, d): return [self.binary(), "--"] + self.argv


class S6(Adapter):
    name = "s6"
    sync_restart = True
    fast_differs = True          # says it is ready: else s6 waits 1 s, always
    log_kinds = ("plain", "ts")
    log_bytes = 1 << 28
    def binary(self): return which("s6-svscan")
    def sizes(self): return [which(b) for b in ("s6-svscan", "s6-supervise", "s6-svc", "s6-svstat", "s6-log", "s6-svscanctl", "s6-svwait")] + ["pkg:s6", "pkg:execline", "pkg:libs6-2.13", "pkg:libskarnet2.14t64"]
    def config(self, d, svcs, mode="default", log=None):
        for n, a in svcs:
            ready = "echo >&3\nexec 3>&-\n" if mode == "fast" else ""
            if ready:
                write(f"{d}/s/{n}/notification-fd", "3\n")
            write(f"{d}/s/{n}/run", f"#!/bin/sh\n{ready}exec {sh(a)}\n", 0o755)
            if log:
                write(f"{d}/s/{n}/log/run", f"#!/bin/sh\nexec s6-log {'t ' if log == 'ts' else ''}n2 s99999999 {d}/l/{n}\n", 0o755)
                os.makedirs(f"{d}/l", exist_ok=True)
    def start(self, d):
        usage = subprocess.run(["s6-svscan", "-?"], capture_output=True, text=True).stderr
        return ["s6-svscan", "-C" if "-C" in usage else "-c", "2048" if "-C" in usage else "1000", f"{d}/s"]
    def restart_cmd(self, d, n): return ["s6-svc", "-wr", "-r", f"{d}/s/{n}"]
    def status_cmd(self, d, n): return ["s6-svstat", f"{d}/s/{n}"]


class Runit(Adapter):
    name = "runit"
    stop_signal = signal.SIGHUP
    sync_restart = True
    log_kinds = ("plain", "ts")
    log_bytes = 1 << 28
    def binary(self): return which("runsvdir")
    def sizes(self): return [which(b) for b in ("runsvdir", "runsv", "sv", "svlogd")] + ["pkg:runit"]
    def config(self, d, svcs, mode="default", log=None):
        for n, a in svcs:
            write(f"{d}/s/{n}/run", f"#!/bin/sh\nexec {sh(a)}\n", 0o755)
            if log:
                os.makedirs(f"{d}/l/{n}", exist_ok=True)
                write(f"{d}/l/{n}/config", "s99999999\nn2\n")
                write(f"{d}/s/{n}/log/run", f"#!/bin/sh\nexec svlogd {'-tt ' if log == 'ts' else ''}{d}/l/{n}\n", 0o755)
    def start(self, d): return ["runsvdir", f"{d}/s"]
    def restart_cmd(self, d, n): return ["sv", "restart", f"{d}/s/{n}"]
    def status_cmd(self, d, n): return ["sv", "status", f"{d}/s/{n}"]


class Daemontools(Adapter):
    name = "daemontools"
    exits = False                 # svscan has no orderly stop as PID 1
    log_kinds = ("plain", "ts")
    log_bytes = 1 << 28
    def binary(self): return which("svscan")
    def sizes(self): return [which(b) for b in ("svscan", "supervise", "svc", "svstat", "multilog")] + ["pkg:daemontools"]
    def config(self, d, svcs, mode="default", log=None):
        for n, a in svcs:
            write(f"{d}/s/{n}/run", f"#!/bin/sh\nexec {sh(a)}\n", 0o755)
            if log:
                os.makedirs(f"{d}/l", exist_ok=True)
                write(f"{d}/s/{n}/log/run", f"#!/bin/sh\nexec multilog {'t ' if log == 'ts' else ''}n2 s16777215 {d}/l/{n}\n", 0o755)
    def start(self, d): return ["svscan", f"{d}/s"]
    def restart_cmd(self, d, n): return ["svc", "-t", f"{d}/s/{n}"]
    def status_cmd(self, d, n): return ["svstat", f"{d}/s/{n}"]


class Supervisord(Adapter):
    name = "supervisord"
    sync_restart = True
    fast_differs = True
    log_kinds = ("plain",)
    def binary(self): return which("supervisord")
    def sizes(self): return ["pkg:supervisor", *PYTHON, "pkg:python3-pkg-resources"]
    def config(self, d, svcs, mode="default", log=None):
        t = f"""\
            [supervisord]
            nodaemon=true
            user=root
            logfile=/dev/null
            logfile_maxbytes=0
            pidfile={d}/sd.pid
            childlogdir={d}
            minfds=8192
            [unix_http_server]
            file={d}/sd.sock
            [rpcinterface:supervisor]
            supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
            [supervisorctl]
            serverurl=unix://{d}/sd.sock
            """
        t = textwrap.dedent(t)
        for n, a in svcs:
            t += f"[program:{n}]\ncommand={sh(a)}\nautorestart=true\nredirect_stderr=true\n"
            t += f"stdout_logfile={d}/{n}.log\nstdout_logfile_maxbytes=100MB\nstdout_logfile_backups=2\n" if log \
                else "stdout_logfile=/dev/null\nstdout_logfile_maxbytes=0\n"
            if mode == "fast":
                t += "startsecs=0\n"
        write(f"{d}/sd.conf", t)
    def start(self, d): return [PY, self.binary(), "-c", f"{d}/sd.conf"]
    def restart_cmd(self, d, n): return [PY, which("supervisorctl"), "-c", f"{d}/sd.conf", "restart", n]
    def status_cmd(self, d, n): return [PY, which("supervisorctl"), "-c", f"{d}/sd.conf", "status", n]


class Pm2(Adapter):
    name = "pm2"
    max_n = 100
    boot_timeout = 120
    log_kinds = ("plain", "ts")
    log_bytes = 1 << 28
    root = os.environ.get("BENCH_PM2", "")
    def binary(self): return which("pm2-runtime", f"{self.root}/node_modules/.bin/pm2-runtime")
    def sizes(self): return [f"{self.root}/node_modules", which("node"), "pkg:nodejs", "pkg:libnode115"]
    def config(self, d, svcs, mode="default", log=None):
        apps = []
        for n, a in svcs:
            p = {"name": n, "script": a[0], "args": a[1:], "interpreter": "none", "autorestart": True,
                 "out_file": f"{d}/{n}.log" if log else "/dev/null", "error_file": "/dev/null"}
            if log == "ts":
                p["time"] = True
            apps.append(p)
        write(f"{d}/eco.json", json.dumps({"apps": apps}))
    def shell_env(self, d): return dict(super().shell_env(d), PM2_HOME=f"{d}/pm2", PM2_DISABLE_VERSION_CHECK="true")
    def start(self, d): return ["node", self.binary(), "start", f"{d}/eco.json"]
    def restart_cmd(self, d, n): return ["node", os.path.join(os.path.dirname(self.binary()), "pm2"), "restart", n]
    def status_cmd(self, d, n): return ["node", os.path.join(os.path.dirname(self.binary()), "pm2"), "pid", n]


class Circus(Adapter):
    name = "circus"
    fast_differs = True
    sync_restart = False
    boot_timeout = 180
    log_kinds = ("plain", "ts")
    log_bytes = 1 << 28
    root = os.environ.get("BENCH_CIRCUS", "")
    port = 15555
    def binary(self): return which("circusd", f"{self.root}/bin/circusd")
    def sizes(self): return [self.root, *PYTHON]
    def shell_env(self, d): return dict(super().shell_env(d), PYTHONPATH=self.root)
    def config(self, d, svcs, mode="default", log=None):
        t = f"[circus]\nendpoint=ipc://{d}/ep\npubsub_endpoint=ipc://{d}/ps\nloglevel=ERROR\n"
        if mode == "fast":
            t += "check_delay=0.05\n"
        for n, a in svcs:
            t += f"[watcher:{n}]\ncmd={sh(a)}\ncopy_env=True\n"
            if log:
                t += f"stdout_stream.class=FileStream\nstdout_stream.filename={d}/{n}.log\nstdout_stream.max_bytes=100000000\nstdout_stream.backup_count=2\n"
                if log == "ts":
                    t += "stdout_stream.time_format=%%Y-%%m-%%d %%H:%%M:%%S\n"
        write(f"{d}/c.ini", t)
    def start(self, d): return [PY, self.binary(), f"{d}/c.ini"]
    def restart_cmd(self, d, n): return [PY, os.path.join(os.path.dirname(self.binary()), "circusctl"), "--endpoint", f"ipc://{d}/ep", "restart", n]
    def status_cmd(self, d, n): return [PY, os.path.join(os.path.dirname(self.binary()), "circusctl"), "--endpoint", f"ipc://{d}/ep", "status", n]


class Horust(Adapter):
    name = "horust"
    can_ctl = can_status = False      # no command line in the published crate
    log_kinds = ("plain",)
    path = os.environ.get("BENCH_HORUST", "")
    def binary(self): return which("horust", self.path)
    def config(self, d, svcs, mode="default", log=None):
        for n, a in svcs:
            t = f'command = "{sh(a)}"\n'
            if log:
                t += f'stdout = "{d}/{n}.log"\nstdout-rotate-size = "100MB"\n'
            t += '[restart]\nstrategy = "always"\n'
            write(f"{d}/s/{n}.toml", t)
    def start(self, d): return [self.binary(), "--services-path", f"{d}/s", "--uds-folder-path", f"{d}/u"]


class Monit(Adapter):
    name = "monit"
    fast_differs = True
    exits = True
    boot_timeout = 120
    max_n = 10                   # starts five a second
    can_ctl = can_supervise = False     # acts once in a cycle, of 30 s by default
    def binary(self): return which("monit")
    def sizes(self): return [which("monit"), "pkg:monit"]
    def config(self, d, svcs, mode="default", log=None):
        t = f"set daemon {1 if mode == 'fast' else 30}\nset idfile {d}/id\nset pidfile {d}/monit.pid\nset statefile {d}/st\nset httpd unixsocket {d}/m.sock\n  allow admin:monit\n"
        for n, a in svcs:
            write(f"{d}/w/{n}", f"#!/bin/sh\n{sh(a)} >/dev/null 2>&1 &\necho $! > {d}/{n}.pid\n", 0o755)
            t += f'check process {n} with pidfile {d}/{n}.pid\n  start program = "{d}/w/{n}"\n  stop program = "/bin/sh -c \'kill $(cat {d}/{n}.pid)\'"\n'
        write(f"{d}/m.rc", t, 0o600)
    def start(self, d): return ["monit", "-I", "-c", f"{d}/m.rc"]
    def restart_cmd(self, d, n): return ["monit", "-c", f"{d}/m.rc", "restart", n]
    def status_cmd(self, d, n): return ["monit", "-c", f"{d}/m.rc", "status", n]


class Dinit(Adapter):
    name = "dinit"
    sync_restart = True
    fast_differs = True
    log_kinds = ("direct",)
    path = os.environ.get("BENCH_DINIT", "")
    def binary(self): return which("dinit", f"{self.path}/dinit")
    def sizes(self): return [self.binary(), f"{os.path.dirname(self.binary())}/dinitctl"]
    def config(self, d, svcs, mode="default", log=None):
        for n, a in svcs:
            t = f"type = process\ncommand = {sh(a)}\nrestart = true\n"
            if mode == "fast":
                t += "restart-delay = 0\nrestart-limit-interval = 0\n"
            if log:
                t += f"logfile = {d}/{n}.log\n"
            write(f"{d}/s/{n}", t)
        write(f"{d}/s/boot", "type = internal\n" + "".join(f"waits-for = {n}\n" for n, _ in svcs))
    def start(self, d): return [self.binary(), "-o", "-q", "-d", f"{d}/s", "-p", f"{d}/sock"]
    def restart_cmd(self, d, n): return [f"{os.path.dirname(self.binary())}/dinitctl", "-p", f"{d}/sock", "restart", n]
    def status_cmd(self, d, n): return [f"{os.path.dirname(self.binary())}/dinitctl", "-p", f"{d}/sock", "status", n]


class Finit(Adapter):
    name = "finit"
    fast_differs = True
    nsflags = ("-c",)
    exits = False
    can_ctl = can_supervise = False     # 4.2 has started nothing again within 12 s here, so there is nothing to compare
    max_n = 100
    def binary(self): return which("finit")
    def sizes(self): return [which("finit"), which("initctl"), "pkg:finit"]
    def config(self, d, svcs, mode="default", log=None):
        t = "host b\nrunlevel 2\nreadiness none\n"
        for n, a in svcs:
            t += f"service :{n} [2345] name:{n} restart:always {'respawn' if mode == 'fast' else ''} {sh(a)} -- {n}\n"
        write(f"{d}/etc/finit.conf", t)
        os.makedirs(f"{d}/etc/finit.d", exist_ok=True)
        write(f"{d}/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        write(f"{d}/etc/group", "root:x:0:\n")
        write(f"{d}/etc/fstab", "")
        self.nsflags = ("-c", "-m", f"{d}/etc:/etc")
    def start(self, d): return [self.binary()]
    def restart_cmd(self, d, n): return [which("initctl"), "restart", n]
    def status_cmd(self, d, n): return [which("initctl"), "status", n]


class Systemd(Adapter):
    """systemd --system with a private cgroup2 tree and nothing but our units."""
    name = "systemd"
    stop_signal = signal.SIGRTMIN + 3
    sync_restart = True
    fast_differs = True
    nsflags = ("-c",)
    env = {"container": "docker", "SYSTEMD_LOG_LEVEL": "err"}
    log_kinds = ("direct",)
    def binary(self): return which("systemd", "/lib/systemd/systemd")
    def sizes(self): return [self.binary(), "pkg:systemd", "pkg:libsystemd-shared"]
    def config(self, d, svcs, mode="default", log=None):
        u = f"{d}/u"
        for n, a in svcs:
            t = f"[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\nConflicts=shutdown.target\nBefore=shutdown.target\n[Service]\nExecStart={sh(a)}\nRestart=always\n"
            t += f"StandardOutput=append:{d}/{n}.log\n" if log else "StandardOutput=null\nStandardError=null\n"
            if mode == "fast":
                t += "RestartSec=0\n"
            write(f"{u}/{n}.service", t)
        write(f"{u}/bench.target", "[Unit]\nDefaultDependencies=no\nWants=" + " ".join(n + ".service" for n, _ in svcs) + "\n")
        for t in ("sysinit", "basic", "shutdown", "exit"):
            write(f"{u}/{t}.target", "[Unit]\nDefaultDependencies=no\n")
        write(f"{u}/systemd-halt.service", "[Unit]\nDefaultDependencies=no\nRequires=shutdown.target\nAfter=shutdown.target\nSuccessAction=halt-force\n[Service]\nType=oneshot\nExecStart=/bin/true\n")
        write(f"{u}/halt.target", "[Unit]\nDefaultDependencies=no\nRequires=systemd-halt.service\nAfter=systemd-halt.service\n")
        self.env = dict(self.env, SYSTEMD_UNIT_PATH=u)
    def start(self, d): return [self.binary(), "--system", "--unit=bench.target"]
    def restart_cmd(self, d, n): return [which("systemctl"), "restart", n]
    def status_cmd(self, d, n): return [which("systemctl"), "is-active", n]


class Svinit(Adapter):
    """Ours. SVINIT=/path/to/svinit, with svctl beside it (a link to the same file)."""
    name = "svinit"
    sync_restart = True
    fast_differs = False
    log_kinds = ("plain", "ts", "prefix")       # prefix: no file, forwarded to our stdout, each line with its unit
    path = os.environ.get("SVINIT", "")
    def binary(self): return which("svinit", self.path)
    def sizes(self): return [self.binary()]
    def config(self, d, svcs, mode="default", log=None):
        for n, a in svcs:
            t = f'command = {json.dumps(a)}\n'
            if log and log != "prefix":
                t += (f'[log]\nforward = false\nfile = "{d}/{n}.log"\nmax_size = "100M"\nkeep = 2\ncompress = false\n'
                      f'timestamps = {"true" if log == "ts" else "false"}\n')
            write(f"{d}/u/{n}.toml", t)
    def start(self, d): return [self.binary(), "--units", f"{d}/u", "--socket", f"{d}/sock"]
    def ctl(self, d, *a): return [os.path.join(os.path.dirname(self.binary()), "svctl"), "--socket", f"{d}/sock", *a]
    def restart_cmd(self, d, n): return self.ctl(d, "restart", n)
    def status_cmd(self, d, n): return self.ctl(d, "status", n)


def adapters():
    return [Floor("vfork"), Floor("fork"), S6(), Runit(), Daemontools(), Dinit(), Finit(), Systemd(), Supervisord(), Circus(),
            Horust(), Pm2(), Monit(), OneShot("tini"), OneShot("dumb-init"), OneShot("catatonit"), Svinit()]


# ---------------------------------------------------------------- a running one

class Run:
    def __init__(self, a, n=1, mode="default", log=None, argvs=None):
        self.a, self.n = a, n
        self.d = tempfile.mkdtemp(prefix=a.name + ".", dir=TMP)
        os.makedirs(self.d + "/tmp")
        self.log = self.d + "/events"
        open(self.log, "w").close()
        os.chmod(self.log, 0o666)
        svcs = argvs(self.log) if argvs else [(f"s{i}", [BIN + "/svc", self.log, f"s{i}"]) for i in range(n)]
        a.config(self.d, svcs, mode, log)
        old = time.time() - 3600    # an image's files are old; runsvdir sleeps 1 s on a fresh folder
        for b, _, fs in os.walk(self.d):
            os.utime(b, (old, old))
        self.starts, self.marks, self.t0, self.pid, self.exit = {}, {}, None, None, None
        self.order, self.pos, self.tail = [], 0, ""

    def __enter__(self):
        env = self.a.shell_env(self.d)
        self.out = open(self.d + "/out", "w")
        self.p = subprocess.Popen([BIN + "/nsrun", self.log, *self.a.nsflags, "--", *self.a.start(self.d)],
                                  stdout=self.out, stderr=self.out, stdin=subprocess.PIPE, env=env, cwd=self.d)
        return self

    def poll(self):
        with open(self.log) as f:
            f.seek(self.pos)
            t = f.read()
            self.pos = f.tell()
        t = self.tail + t
        *ls, self.tail = t.split("\n")
        for l in ls:
            w = l.split()
            if not w: continue
            if w[0] == "S":
                self.starts.setdefault(w[1], []).append((int(w[3]), int(w[2])))
                self.order.append((int(w[3]), w[1]))
            elif w[0] == "T0": self.t0, self.pid = int(w[1]), int(w[2])
            elif w[0] == "X": self.exit = int(w[1])
            elif w[0] == "W": self.marks[w[1]] = (int(w[2]), int(w[3]))

    def until(self, cond, timeout, step=0.003):
        end = time.monotonic() + timeout
        while True:
            self.poll()
            if cond(): return True
            if time.monotonic() > end or (self.p.poll() is not None and self.exit): return cond()
            time.sleep(step)

    def up(self, timeout=None):
        return self.until(lambda: len(self.starts) >= self.n, timeout or self.a.boot_timeout)

    def all_pids(self):
        me = os.readlink(f"/proc/{self.pid}/ns/pid")
        r = []
        for e in os.listdir("/proc"):
            if e.isdigit():
                try:
                    if os.readlink(f"/proc/{e}/ns/pid") == me: r.append(int(e))
                except OSError: pass
        return r

    def own(self):
        """The supervisor's own processes: all but the services."""
        r = []
        for p in self.all_pids():
            try: x = os.path.basename(os.readlink(f"/proc/{p}/exe"))
            except OSError: continue
            if x not in ("svc", "spew", "storm", "nsx"): r.append(p)
        return r

    def host_pid(self, inner):
        for p in self.all_pids():
            try:
                for l in open(f"/proc/{p}/status"):
                    if l.startswith("NSpid:") and l.split()[-1] == str(inner): return p
            except OSError: pass

    def ctl(self, cmd, timeout=30):
        """Run CMD inside; (start ns, end ns, status) or None."""
        r, w = os.pipe()
        try:
            p = subprocess.Popen(["/bin/sh", "-c", f'exec "$@" 3>&{w}', "x", BIN + "/nsx", str(self.pid), *cmd], pass_fds=(w,),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 env=self.a.shell_env(self.d), cwd=self.d)
            os.close(w); w = None
            try: p.wait(timeout)
            except subprocess.TimeoutExpired:
                p.kill(); p.wait(); return None
            t = os.read(r, 200).split()
            return (int(t[0]), int(t[1]), int(t[2])) if len(t) == 3 else None
        finally:
            os.close(r)
            if w is not None: os.close(w)

    def kill_inner(self, name):
        ts, inner = self.starts[name][-1]
        h = self.host_pid(inner)
        if not h: return None
        t = now(); os.kill(h, signal.SIGKILL)
        return t

    def stop(self, timeout=4):
        """Orderly stop: ms from the signal to PID 1's end, or None."""
        t = now()
        try: os.kill(self.pid, self.a.stop_signal)
        except OSError: return None
        if self.until(lambda: self.exit is not None, timeout, 0.001): return (self.exit - t) / 1e6

    def __exit__(self, *x):
        self.poll()
        if self.exit is None:
            if self.pid:
                try: os.kill(self.pid, signal.SIGKILL)
                except OSError: pass
            else: self.p.kill()
        try: self.p.wait(30)
        except subprocess.TimeoutExpired: self.p.kill(); self.p.wait()
        self.p.stdin.close(); self.out.close()
        if not os.environ.get("BENCH_KEEP"): shutil.rmtree(self.d, ignore_errors=True)


def mem(pids):
    pss = rss = 0
    for p in pids:
        try:
            for l in open(f"/proc/{p}/smaps_rollup"):
                if l.startswith("Pss:"): pss += int(l.split()[1])
                elif l.startswith("Rss:"): rss += int(l.split()[1])
        except OSError: pass
    return pss, rss


def kern(pids):
    """Page tables and 16 KiB of kernel stack a thread: not in PSS, yet paid."""
    t = 0
    for p in pids:
        try:
            for l in open(f"/proc/{p}/status"):
                if l.startswith("VmPTE:"): t += int(l.split()[1])
                elif l.startswith("Threads:"): t += 16 * int(l.split()[1])
        except OSError: pass
    return t


def cpu_ns(pids):
    """Run time of every thread, those that have ended among them: the CPU clock of each process."""
    t = 0
    for p in pids:
        try: t += time.clock_gettime_ns((~p << 3) | 2)
        except OSError: pass
    return t


def wakeups(pids):
    v = 0
    for p in pids:
        try:
            for k in os.listdir(f"/proc/{p}/task"):
                for l in open(f"/proc/{p}/task/{k}/status"):
                    if l.startswith("voluntary_ctxt_switches"): v += int(l.split()[1])
        except OSError: pass
    return v


def threads(pids):
    t = 0
    for p in pids:
        try: t += len(os.listdir(f"/proc/{p}/task"))
        except OSError: pass
    return t


# ---------------------------------------------------------------- measures
# each yields dicts: {"m": measure, "s": supervisor, ..., "v": value}

def m_boot(a, n, settle):
    with Run(a, n) as r:
        if not r.up():
            yield dict(m="boot_ms", n=n, v=None, got=len(r.starts)); return
        last = max(x[0][0] for x in r.starts.values())
        first = min(x[0][0] for x in r.starts.values())
        yield dict(m="boot_ms", n=n, v=(last - r.t0) / 1e6)
        yield dict(m="first_ms", n=n, v=(first - r.t0) / 1e6)
        time.sleep(settle)
        o = r.own()
        p, s = mem(o)
        yield dict(m="boot_cpu_ms", n=n, v=cpu_ns(o) / 1e6)
        yield dict(m="pss_kib", n=n, v=p)
        yield dict(m="rss_kib", n=n, v=s)
        yield dict(m="kernel_kib", n=n, v=kern(o))
        yield dict(m="procs", n=n, v=len(o))
        yield dict(m="threads", n=n, v=threads(o))
        if a.exits:
            took = r.stop()
            yield dict(m="stop_ms", n=n, v=took)
            a.exits = took is not None      # who did not end once is not waited for again


def m_crash(a, mode, n=10):
    with Run(a, n, mode) as r:
        if not r.up(): return
        time.sleep(a.kill_gap)
        wait = 12
        for k in range(2):
            c = len(r.starts[f"s{k}"])
            t = r.kill_inner(f"s{k}")
            ok = t and r.until(lambda: len(r.starts[f"s{k}"]) > c, wait)
            yield dict(m="crash_ms", mode=mode, v=(r.starts[f"s{k}"][c][0] - t) / 1e6 if ok else None)
        time.sleep(0.1)      # now a second crash soon after the first
        c = len(r.starts["s1"])
        t = r.kill_inner("s1")
        ok = t and r.until(lambda: len(r.starts["s1"]) > c, wait)
        yield dict(m="flap_ms", mode=mode, v=(r.starts["s1"][c][0] - t) / 1e6 if ok else None)


def m_ctl(a, mode="default", n=10, reps=2):
    x = dict(mode="fast") if mode == "fast" else {}
    with Run(a, n, mode) as r:
        if not r.up(): return
        end = time.monotonic() + 20
        while time.monotonic() < end:       # control ready?
            c = r.ctl(a.status_cmd(r.d, "s0"))
            if c and c[2] == 0: break
            time.sleep(0.1)
        else:
            yield dict(m="status_ms", v=None, **x); return
        time.sleep(1.5)
        for k in range(reps):
            c = r.ctl(a.status_cmd(r.d, f"s{k}"))
            if c and c[2] == 0: yield dict(m="status_ms", v=(c[1] - c[0]) / 1e6, **x)
        for k in range(reps):
            s = f"s{k}"; b = len(r.starts[s])
            c = r.ctl(a.restart_cmd(r.d, s))
            ok = c and r.until(lambda: len(r.starts[s]) > b, 40)
            if ok:
                yield dict(m="restart_up_ms", v=(r.starts[s][b][0] - c[0]) / 1e6, **x)
                yield dict(m="restart_cli_ms", v=(c[1] - c[0]) / 1e6, **x)
            else: yield dict(m="restart_up_ms", v=None, **x)


def m_execfloor():
    """What any CLI costs: exec -> exit of a static C program, of dynamic
    /bin/true, and of a static one that does one unix-socket round trip."""
    import socket, threading
    d = tempfile.mkdtemp(prefix="xf.", dir=TMP)
    s = socket.socket(socket.AF_UNIX); s.bind(d + "/s"); s.listen(8)
    def serve():
        while True:
            try: c, _ = s.accept()
            except OSError: return
            c.recv(100); c.sendall(b"ok\n"); c.close()
    threading.Thread(target=serve, daemon=True).start()
    for name, cmd in (("static", [BIN + "/ping"]), ("dynamic", ["/bin/true"]), ("ping", [BIN + "/ping", d + "/s"]),
                      ("static-glibc", [BIN + "/ping-glibc"]), ("ping-glibc", [BIN + "/ping-glibc", d + "/s"])):
        if not os.path.exists(cmd[0]): continue
        for _ in range(20):
            r, w = os.pipe()
            subprocess.run(["/bin/sh", "-c", f'exec "$@" 3>&{w}', "x", BIN + "/nsx", str(os.getpid()), *cmd], pass_fds=(w,))
            os.close(w); t = os.read(r, 100).split(); os.close(r)
            yield dict(s="floor-" + name, m="exec_ms", v=(int(t[1]) - int(t[0])) / 1e6)
    s.close()


def m_reap(a, k=10000):
    with Run(a, 1) as r:
        if not r.up(): return
        time.sleep(0.5)
        o = r.own(); c0 = cpu_ns(o)
        p = subprocess.run(["/bin/sh", "-c", 'exec "$@" 3>/dev/null', "x", BIN + "/nsx", str(r.pid), BIN + "/storm", str(k)],
                           capture_output=True, text=True, timeout=120)
        w = p.stdout.split()
        if len(w) != 4: return
        c1 = cpu_ns(o)
        gone = float(w[0])
        yield dict(m="reap_ms", v=gone if gone >= 0 else None)
        yield dict(m="reap_max_zombies", v=int(w[1]))
        yield dict(m="reap_exit_ms", v=float(w[2]))
        yield dict(m="reap_left", v=int(w[3]))
        yield dict(m="reap_cpu_ms", v=(c1 - c0) / 1e6)


def m_idle(sups, n, secs, reps):
    """All supervisors at once, each with n idle services: counts, not times."""
    runs = []
    try:
        for a in sups:
            k = min(n, a.max_n)
            r = Run(a, k); r.__enter__()
            if r.up(): runs.append((a, r, k))
            else: r.__exit__(); print("  idle: not up", a.name, file=sys.stderr)
        time.sleep(3)
        for _ in range(reps):
            b = [(r.own(), a) for a, r, _ in runs]
            c0 = [(cpu_ns(o), wakeups(o)) for o, _ in b]
            time.sleep(secs)
            for i, (o, a) in enumerate(b):
                yield dict(s=a.name, m="idle_cpu_us_per_s", n=runs[i][2], v=(cpu_ns(o) - c0[i][0]) / 1e3 / secs)
                yield dict(s=a.name, m="idle_wakeups_per_s", n=runs[i][2], v=(wakeups(o) - c0[i][1]) / secs)
    finally:
        for _, r, _ in runs: r.__exit__()


def m_log(a, kind, style):
    size = int(os.environ.get("BENCH_LOG_BYTES", a.log_bytes))
    if style == "line": size //= 4
    extra = ["line"] if style == "line" else []
    with Run(a, 1, log=kind, argvs=lambda lg: [("s0", [BIN + "/spew", lg, "s0", str(size)] + extra)]) as r:
        if not r.until(lambda: r.pid, 10): return
        ok = r.until(lambda: "s0" in r.marks, 120, 0.01)
        if not ok:
            yield dict(m="log_mb_s", kind=kind, style=style, v=None); return
        s, e = r.marks["s0"]
        time.sleep(0.3)
        yield dict(m="log_mb_s", kind=kind, style=style, v=size / 1e6 / ((e - s) / 1e9))
        yield dict(m="log_cpu_s_per_gib", kind=kind, style=style, v=cpu_ns(r.own()) / 1e9 * (1 << 30) / size)


def m_logfloor(style):
    """spew to a tmpfs file; through a pipe to read/write, to splice, to a stamper."""
    size = int(os.environ.get("BENCH_LOG_BYTES", 1 << 30))
    if style == "line": size //= 4
    extra = ["line"] if style == "line" else []
    d = tempfile.mkdtemp(prefix="lf.", dir=TMP)
    ev = d + "/e"
    try:
        for kind in ("direct", "splice", "stamp"):
            open(ev, "w").close()
            c = None
            if kind == "direct":
                out = open(d + "/o", "wb")
                p = subprocess.Popen([BIN + "/spew", ev, "s0", str(size)] + extra, stdout=out)
            else:
                rd, wr = os.pipe()
                big = ["1048576"] if kind.endswith("1m") else []
                c = subprocess.Popen([BIN + "/sink", kind.removesuffix("1m"), d + "/o"] + big, stdin=rd)
                p = subprocess.Popen([BIN + "/spew", ev, "s0", str(size)] + extra, stdout=wr)
                os.close(rd); os.close(wr)
            end = time.monotonic() + 60
            while time.monotonic() < end and "W" not in open(ev).read(): time.sleep(0.01)
            w = open(ev).read().split()
            own = cpu_ns([c.pid]) if c else 0
            p.kill(); p.wait()
            if c: c.kill(); c.wait()
            os.unlink(d + "/o")
            yield dict(s="floor-" + kind, m="log_mb_s", kind=kind, style=style, v=size / 1e6 / ((int(w[3]) - int(w[2])) / 1e9))
            yield dict(s="floor-" + kind, m="log_cpu_s_per_gib", kind=kind, style=style, v=own / 1e9 * (1 << 30) / size)
    finally:
        shutil.rmtree(d, ignore_errors=True)


def m_size(a):
    t = 0
    for s in a.sizes():
        if not s: continue
        if s.startswith("pkg:"):
            try:
                o = subprocess.run(["dpkg-query", "-W", "-f", "${Installed-Size}", s[4:]], capture_output=True, text=True)
                if o.returncode == 0: yield dict(m="pkg_kib:" + s[4:], v=int(o.stdout))
            except (OSError, ValueError): pass
        elif os.path.isdir(s):
            yield dict(m="dir_kib", v=sum(os.path.getsize(os.path.join(b, f)) for b, _, fs in os.walk(s) for f in fs
                                          if not os.path.islink(os.path.join(b, f))) // 1024)
        else: t += os.path.getsize(os.path.realpath(s))
    yield dict(m="bin_kib", v=t // 1024)


# ---------------------------------------------------------------- driver

# Who takes longer in one round of a measure, in seconds, is not asked again: its figure is far from everybody else's.
PATIENCE = dict(boot=2.0, crash=3.5, ctl=2.6, reap=3.6, log=3.0)


def about(sups):
    """What was measured, and on what: the first line of a run."""
    def said(*argv):
        try: return subprocess.run(argv, capture_output=True, text=True, cwd=HERE).stdout.strip()
        except OSError: return ""
    cpu = [l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")]
    release = dict(l.rstrip().split("=", 1) for l in open("/etc/os-release") if "=" in l)
    packages = dict(supervisord="supervisor")
    def version(a):
        if a.name == "svinit": return said(a.binary(), "--version").split()[-1]
        if a.name == "pm2": return json.load(open(f"{a.root}/node_modules/pm2/package.json"))["version"]
        if a.name == "circus": return next(d.split("-")[1].removesuffix(".dist") for d in os.listdir(a.root) if d.startswith("circus-"))
        if a.name == "horust": return json.load(open(f"{os.path.dirname(a.path)}/../.crates2.json"))["installs"].popitem()[0].split()[1]
        return said("dpkg-query", "-W", "-f", "${Version}", packages.get(a.name, a.name)).split(":")[-1].split("-")[0]
    versions = {}
    for a in sups:
        try: versions[a.name] = version(a)
        except (OSError, LookupError, StopIteration): versions[a.name] = ""
    return dict(m="about", s=None, v=None, date=time.strftime("%Y-%m-%d", time.gmtime()), cpu=cpu[0] if cpu else platform.machine(),
                cpus=len(os.sched_getaffinity(0)), kernel=platform.release().split("-")[0],
                os=release.get("PRETTY_NAME", "?").strip('"'), versions=versions,
                realtime=os.sched_getscheduler(0) != os.SCHED_OTHER, load=os.getloadavg()[0],
                commit=said("git", "rev-parse", "--short", "HEAD"))


def main():
    global TMP
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("measure", nargs="*", help="boot crash ctl reap idle log logfloor execfloor size (default: all)")
    ap.add_argument("--sup", help="comma list (default: all that are installed)")
    ap.add_argument("--skip", default="", help="comma list")
    ap.add_argument("--n", default="1,10,100", help="service counts for boot")
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--patient", action="store_true", help="also ask those again that are slow to answer")
    ap.add_argument("--settle", type=float, default=0.5, help="seconds from the last start to the look at memory and CPU")
    ap.add_argument("--out", default="results.jsonl", help="appended to, one JSON object a line")
    ap.add_argument("--tmp", default=None, help="scratch folder, best on tmpfs")
    ap.add_argument("--modes", default="default,fast", help="of crash and ctl: as installed, as configured for speed")
    ap.add_argument("--styles", default="block,line", help="of log and logfloor: how the service writes")
    ap.add_argument("--idle-secs", type=float, default=20)
    ap.add_argument("--looks", type=int, default=1, help="how often the idle ones are looked at, each for --idle-secs")
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--report", action="store_true", help="print Markdown tables from --out and end")
    o = ap.parse_args()
    if o.report: return report(o.out)
    start = time.monotonic()
    TMP = tempfile.mkdtemp(prefix="svbench.", dir=o.tmp or ("/dev/shm" if os.path.isdir("/dev/shm") else None))
    os.chmod(TMP, 0o755)
    try:
        cc()
        sups = [a for a in adapters() if a.available()]
        if o.sup: sups = [a for a in sups if a.name in o.sup.split(",")]
        sups = [a for a in sups if a.name not in o.skip.split(",")]
        if o.list:
            print("\n".join(a.name for a in sups)); return
        def modes(a): return [m for m in o.modes.split(",") if m == "default" or a.fast_differs]
        styles = o.styles.split(",")
        what = o.measure or "size execfloor boot crash ctl reap idle logfloor log".split()
        f = open(o.out, "a")
        f.write(json.dumps(about(sups)) + "\n")
        def put(a, gen, rep=0):
            """Takes down what comes; whether it came soon enough to be asked for again."""
            began = time.monotonic()
            try:
                for d in gen:
                    d = {"s": a.name if a else None, **d, "rep": rep, "load": os.getloadavg()[0]}
                    f.write(json.dumps(d) + "\n"); f.flush()
                    if d["v"] is None or os.environ.get("BENCH_V"): print("   ", d, file=sys.stderr)
            except Exception as e:
                print("   !!", a and a.name, repr(e), file=sys.stderr)
            took = time.monotonic() - began
            if os.environ.get("BENCH_V"): print("    %s took %.1f s" % (a and a.name, took), file=sys.stderr)
            return o.patient or took < PATIENCE.get(m, 0) or not a or a.name in ("floor-vfork", "svinit")
        for m in what:
            print("== %s (%.0f s so far)" % (m, time.monotonic() - start), file=sys.stderr, flush=True)
            if m == "size":
                for a in sups: put(a, m_size(a))
            elif m == "idle":
                put(None, m_idle([a for a in sups if a.name != "floor-fork"], 100, o.idle_secs, o.looks))
            elif m == "execfloor":
                put(None, m_execfloor())
            elif m == "logfloor":
                for k in range(o.runs):
                    for st in styles: put(None, m_logfloor(st), k)
            else:
                def kinds(a):
                    """How a round asks this one: (what to call it, what to do)."""
                    if m == "boot": return [(n, lambda n=n: m_boot(a, n, o.settle)) for n in map(int, o.n.split(",")) if n <= a.max_n]
                    if m == "crash" and a.can_supervise: return [(x, lambda x=x: m_crash(a, x)) for x in modes(a)]
                    if m == "ctl" and a.can_ctl: return [(x, lambda x=x: m_ctl(a, x)) for x in modes(a)]
                    if m == "reap": return [("", lambda: m_reap(a))]
                    if m == "log": return [((x, st), lambda x=x, st=st: m_log(a, x, st)) for x in a.log_kinds for st in styles]
                    return []
                slow = set()
                for k in range(o.runs):
                    for a in sups:
                        for kind, ask in kinds(a):
                            if (a.name, kind) not in slow and not put(a, ask(), k): slow.add((a.name, kind))
    finally:
        if not os.environ.get("BENCH_KEEP"): shutil.rmtree(TMP, ignore_errors=True)


def report(path):
    rows = {}
    for l in open(path):
        d = json.loads(l)
        if d["m"] == "about": continue
        key = (d["m"], *(str(d[x]) for x in ("n", "mode", "kind", "style") if x in d))
        rows.setdefault(key, {}).setdefault(d["s"], []).append(d["v"])
    def num(x): return "%.3g" % x if abs(x) < 100 else "%d" % round(x)
    for key in sorted(rows):
        print("\n### " + " / ".join(key) + "\n\n| supervisor | median | min | max | runs | failed |\n|---|---:|---:|---:|---:|---:|")
        def med(v):
            v = [x for x in v if x is not None]
            return statistics.median(v) if v else float("inf")
        for s, v in sorted(rows[key].items(), key=lambda kv: med(kv[1])):
            g = [x for x in v if x is not None]
            print("| %s | %s | %s | %s | %d | %d |" % (s, *((num(statistics.median(g)), num(min(g)), num(max(g))) if g else ("-", "-", "-")), len(g), len(v) - len(g)))


if __name__ == "__main__":
    main()
