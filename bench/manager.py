#!/usr/bin/env python3
"""svmanager beside nginx as a proxy, in turns, and how soon it heals: bench/manager.py SVINIT [ROUNDS [SECONDS]]

Both stand in front of the same nginx that answers with a small body. The proxy under test has one core for itself, the
load (wrk, keep-alive) and the service behind share the other. What is shown are medians of one run and their ratios;
absolute figures are of this machine only. Then a service under a real svinit, which does not bring it up again, is killed
(svinit tells the manager: push) and stopped (a check of the manager finds it: poll), while eight clients ask.

UPDATE=1 writes the tables of README.md. Needs nginx, wrk and taskset (scripts/setup bench-manager), and two cores.
"""

import datetime
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

CONNECTIONS, MANY = 64, 1000
CLIENTS = 8

# Nobody waits longer, for anything.
PATIENCE = 60

NGINX_CONF = """
daemon off; worker_processes 1; pid {dir}/{name}.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {dir}/{name}-body; proxy_temp_path {dir}/{name}-proxy; fastcgi_temp_path {dir}/{name}-f;
  uwsgi_temp_path {dir}/{name}-u; scgi_temp_path {dir}/{name}-s;
  keepalive_requests 1000000000;
  {rest}
}}
"""
ANSWERS = """server {{ listen 127.0.0.1:{port} reuseport; location / {{ default_type text/plain; return 200 "{body}"; }} }}"""
PROXY = """upstream service {{ server 127.0.0.1:{to}; keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Request-Id $request_id; }} }}"""

# A check each second, of which two have to fail: 10 s and three of them by default, which is so much later.
HEALING = """
listen = "127.0.0.1:{listen}"
access_log = "off"
[[route]]
service = "web"
[service.web]
targets = ["http://127.0.0.1:{web}"]
control = {{ driver = "socket", path = "{dir}/svinit.sock", unit = "web" }}
health = {{ http = "/", interval = "1s", unhealthy_interval = "1s", timeout = "1s", retries = 2 }}
park = {{ max_requests = 200, timeout = "30s" }}
recovery = {{ ladder = ["restart-unit", "alert"], grace = "1s", cooldown = "1s" }}
"""


def free_ports(count):
    """Ports that nobody has, and that the kernel gives nobody else while they are looked for."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


SERVICE, NGINX, MANAGER, WEB = free_ports(4)


def wait_for(port):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"nobody listens on port {port}")


class Run:
    """Processes and files, all of which go with it."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp()
        os.chmod(self.dir, 0o755)
        self.processes = []
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self, words, core, port, output=subprocess.DEVNULL, errors=None):
        # Its own audit log and leader's lock, not those of this machine.
        env = dict(os.environ, SVMANAGER_STATE=self.dir)
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *words], stdout=output, stderr=errors, env=env, text=True
        )
        self.processes.append(process)
        wait_for(port)
        return process

    def nginx(self, name, rest, core, port):
        path = self.file(f"{name}.conf", NGINX_CONF.format(dir=self.dir, name=name, rest=rest))
        return self.start(["nginx", "-e", "stderr", "-p", self.dir, "-c", path], core, port)

    def manager(self, svinit, config, core, output=subprocess.DEVNULL):
        path = self.file("manager.toml", config)
        return self.start([svinit, "--as", "svmanager", "--config", path], core, MANAGER, output)


def memory(process):
    """Resident KiB of a process and its children."""
    pids = [process.pid]
    for pid in pids:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            pids += [int(word) for word in file.read().split()]
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as file:
            total += int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))
    return total


def load(port, seconds, connections=CONNECTIONS, process=None):
    """Requests a second, the 50th and 99th percentile in milliseconds, and the most memory of `process` meanwhile."""
    words = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/"]
    wrk = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    most = 0
    while wrk.poll() is None:
        most = max(most, memory(process)) if process else 0
        time.sleep(0.1)
    text = wrk.stdout.read()
    if wrk.returncode or "Non-2xx" in text or "Socket errors" in text:
        print(text, file=sys.stderr)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))

    def late(percent):
        value, unit = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    return rate, late(50), late(99), most


def beside_nginx(svinit, rounds, seconds):
    """The table of both as proxies."""
    with Run() as run:
        run.nginx("service", ANSWERS.format(port=SERVICE, body="x" * 128), 1, SERVICE)
        both = {
            NGINX: run.nginx("proxy", PROXY.format(port=NGINX, to=SERVICE), 0, NGINX),
            MANAGER: run.manager(
                svinit,
                f'listen = "127.0.0.1:{MANAGER}"\naccess_log = "off"\n[[route]]\nservice = "service"\n'
                f'[service.service]\ntargets = ["http://127.0.0.1:{SERVICE}"]\nidle_connections = 128\n',
                0,
            ),
        }
        idle = {port: memory(process) for port, process in both.items()}
        figures = {port: [] for port in both}
        for _ in range(rounds):
            for port in both:
                figures[port].append(load(port, seconds))
        many = {port: load(port, seconds, MANY, process) for port, process in both.items()}
    rate, middle, late = ({port: statistics.median(one[at] for one in of) for port, of in figures.items()} for at in range(3))

    def row(name, values, form, target=""):
        ratio = values[MANAGER] / values[NGINX] if values[NGINX] else float("nan")
        return f"| {name} | {form(values[NGINX])} | {form(values[MANAGER])} | {ratio:.2f} | {target} |\n"

    count, ms, kib = (lambda v: f"{v:,.0f}"), (lambda v: f"{v:.2f} ms"), (lambda v: f"{v:,} KiB")
    return (
        "| as a proxy | nginx | svmanager | ratio | target |\n|---|---:|---:|---:|---:|\n"
        + row(f"requests a second, {CONNECTIONS} connections", rate, count, "≥ 0.9")
        + row("50th percentile of their times", middle, ms)
        + row("99th percentile", late, ms, "≤ 1.2")
        + row(f"requests a second, {MANY:,} connections", {port: one[0] for port, one in many.items()}, count)
        + row("resident, idle", idle, kib)
        + row(f"resident with {MANY:,} connections at full load", {port: one[3] for port, one in many.items()}, kib)
    )


class Clients:
    """Ask again and again, each request on a connection of its own, and note when each was answered well."""

    def __init__(self, port):
        self.port, self.is_over, self.lock = port, threading.Event(), threading.Lock()
        self.good, self.failed = [], 0
        self.threads = [threading.Thread(target=self.ask_on, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask_on(self):
        while not self.is_over.is_set():
            asked = time.time()
            try:
                with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as stream:
                    stream.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    text = stream.makefile("rb").read()
                is_good = text.startswith(b"HTTP/1.1 200 ")
            except OSError:
                is_good = False
            with self.lock:
                self.failed += not is_good
                if is_good:
                    self.good.append((asked, time.time()))
            self.is_over.wait(0.01)

    def end(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()


class Lines:
    """What the manager says, with the time that stands before each line."""

    def __init__(self, stream):
        self.lines, self.changed = [], threading.Condition()
        threading.Thread(target=self.read, args=(stream,), daemon=True).start()

    def read(self, stream):
        for line in stream:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()

    def wait(self, pattern, after):
        """When a line that matches was said, after that time."""

        def found():
            for line in self.lines:
                stamp, _, text = line.partition(" ")
                if re.search(pattern, text) and when(stamp) >= after:
                    return when(stamp)
            return None

        with self.changed:
            if not self.changed.wait_for(lambda: found() is not None, PATIENCE):
                sys.exit(f"svmanager never said {pattern}, but\n{''.join(self.lines)}")
            return found()


def when(stamp):
    try:
        return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def healing(svinit, rounds):
    """The table of what the manager finds and heals."""
    faults = [
        ("killed; its svinit says so, or a request (push)", signal.SIGKILL, r"web 127\.0\.0\.1:\d+: gone: "),
        ("hung; a check each second finds it, twice (poll)", signal.SIGSTOP, r"web 127\.0\.0\.1:\d+: (ill|gone): its check"),
    ]
    rows = ""
    for name, fault, known in faults:
        figures, failed, asked = [], 0, 0
        for _ in range(rounds):
            # Anew each time: else the third would be flapping.
            with Run() as run:
                conf = NGINX_CONF.format(dir=run.dir, name="web", rest=ANSWERS.format(port=WEB, body="x" * 128))
                # One process, so that the one that is stopped is the one that serves.
                conf = run.file("web.conf", "master_process off; " + conf)
                command = f'command = ["nginx", "-e", "stderr", "-p", "{run.dir}", "-c", "{conf}"]\n'
                run.file(
                    "units/web.toml",
                    f'{command}ready.http = "http://127.0.0.1:{WEB}/"\nrestart.policy = "never"\nstop.timeout = "100ms"\n',
                )
                run.file("units/beside.toml", 'command = ["sleep", "600"]\n')
                run.file("svinit.toml", '[http]\nlisten = "off"\n')
                sock, units, toml = (os.path.join(run.dir, at) for at in ("svinit.sock", "units", "svinit.toml"))
                # It tells each step, which the manager does as well.
                words = [svinit, "--socket", sock, "--units", units, "--config", toml]
                run.start(words, 1, WEB, errors=subprocess.DEVNULL)
                ours = run.manager(svinit, HEALING.format(listen=MANAGER, web=WEB, dir=run.dir), 0, subprocess.PIPE)
                said = Lines(ours.stdout)
                said.wait("leader: this manager acts", 0)
                said.wait(r"web 127\.0\.0\.1:\d+: up", 0)
                status = [svinit, "--as", "svctl", "--socket", sock, "status", "--json", "web"]
                text = subprocess.run(status, capture_output=True, text=True).stdout
                pid = int(re.search(r'"pid":\s*(\d+)', text).group(1))
                clients = Clients(MANAGER)
                time.sleep(0.5)
                # The stamps have milliseconds.
                began = int(time.time() * 1000) / 1000
                os.kill(pid, fault)
                at = said.wait(known, began)
                said.wait("recovery: web: healed", began)
                time.sleep(0.5)
                clients.end()
                back = min(answered for begun, answered in clients.good if begun > at or answered > at + 0.001)
                figures.append((at - began, back - began))
                failed, asked = failed + clients.failed, asked + clients.failed + len(clients.good)
        found, back = (statistics.median(one[at] for one in figures) * 1000 for at in (0, 1))
        rows += f"| {name} | {max(found, 1):,.0f} ms | {back:,.0f} ms | {failed} of {asked:,} |\n"
    return "| the only instance is | known after | a good answer after | requests failed |\n|---|---:|---:|---:|\n" + rows


def write(text):
    """Puts the tables between their markers in the README."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "README.md")
    begin, end = "<!-- bench: manager -->\n", "<!-- bench: end of manager -->\n"
    with open(path, encoding="utf-8") as file:
        old = file.read()
    head, rest = old.split(begin, 1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + begin + text + end + rest.split(end, 1)[1])


def main():
    svinit = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    missing = [tool for tool in ["nginx", "wrk", "taskset"] if not shutil.which(tool)]
    if missing:
        sys.exit(f"bench: {', '.join(missing)} not installed: scripts/setup bench-manager installs them")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: two cores are needed: one is the proxy's, the other the load's")
    text = beside_nginx(svinit, rounds, seconds) + "\n" + healing(svinit, rounds)
    print(text, end="")
    if os.environ.get("UPDATE"):
        write(text)


main()
