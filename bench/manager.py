#!/usr/bin/env python3
"""svmanager beside nginx as a proxy, in turns: bench/manager.py SVINIT [ROUNDS [SECONDS]]

Both stand in front of the same nginx that answers with a small body. The proxy under test has one core for itself, the
load (wrk, keep-alive) and the service behind share the other. What is shown are ratios of medians of one run; absolute
figures are of this machine only. Needs nginx, wrk and taskset, and two cores.
"""

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CONNECTIONS = 64
SERVICE, NGINX, MANAGER = 18080, 18081, 18082

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


def wait_for(port):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"nobody listens on port {port}")


def start(words, core, port):
    process = subprocess.Popen(["taskset", "-c", str(core), *words], stdout=subprocess.DEVNULL)
    wait_for(port)
    return process


def nginx(dir, name, rest, core, port):
    path = os.path.join(dir, f"{name}.conf")
    with open(path, "w") as file:
        file.write(NGINX_CONF.format(dir=dir, name=name, rest=rest))
    return start(["nginx", "-e", "stderr", "-p", dir, "-c", path], core, port)


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


def load(port, seconds, connections=CONNECTIONS):
    """Requests a second, and the 99th percentile in milliseconds."""
    words = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/"]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    if "Non-2xx" in text or "Socket errors" in text:
        print(text, file=sys.stderr)
    return rate, float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def main():
    svinit = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    for tool in ["nginx", "wrk", "taskset"]:
        if not shutil.which(tool):
            sys.exit(f"skipped: {tool} is not installed")
    dir = tempfile.mkdtemp()
    os.chmod(dir, 0o755)
    processes = []
    try:
        processes.append(nginx(dir, "service", ANSWERS.format(port=SERVICE, body="x" * 128), 1, SERVICE))
        peer = nginx(dir, "proxy", PROXY.format(port=NGINX, to=SERVICE), 0, NGINX)
        processes.append(peer)
        config = os.path.join(dir, "manager.toml")
        with open(config, "w") as file:
            file.write(
                f'listen = "127.0.0.1:{MANAGER}"\naccess_log = "off"\n[[route]]\nservice = "service"\n'
                f'[service.service]\ntargets = ["http://127.0.0.1:{SERVICE}"]\nidle_connections = 128\n'
            )
        ours = start([svinit, "--as", "svmanager", "--config", config], 0, MANAGER)
        processes.append(ours)
        idle = memory(ours)
        figures = {NGINX: [], MANAGER: []}
        for _ in range(rounds):
            for port in [NGINX, MANAGER]:
                figures[port].append(load(port, seconds))
        load(MANAGER, seconds, 1000)
        rate, late = ({port: statistics.median(pair[at] for pair in pairs) for port, pairs in figures.items()} for at in (0, 1))
        print("| measure | nginx | svmanager | ratio | target |\n|---|---:|---:|---:|---:|")
        print(f"| requests a second, {CONNECTIONS} connections | {rate[NGINX]:,.0f} | {rate[MANAGER]:,.0f} | {rate[MANAGER] / rate[NGINX]:.2f} | ≥ 0.9 |")
        print(f"| 99th percentile | {late[NGINX]:.2f} ms | {late[MANAGER]:.2f} ms | {late[MANAGER] / late[NGINX]:.2f} | ≤ 1.2 |")
        print(f"| resident, idle | | {idle:,} KiB | | ≤ 10 MB |")
        print(f"| resident after 1000 connections at full load | | {memory(ours):,} KiB | | |")
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()
        shutil.rmtree(dir, ignore_errors=True)


main()
