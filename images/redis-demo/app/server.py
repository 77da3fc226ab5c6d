"""An application that finds Redis by its Sentinels.

Writes go to the master and count when REDIS_WITNESSES replicas have them too; reads go to a replica. While there is no
master, as when the Sentinels are about to name another one, a request waits, for REDIS_PATIENCE seconds at most.

    GET  /               a page: who is the master, and how often it was looked at
    GET  /status         the same as JSON
    PUT  /keys/NAME      writes the body; 200 when it is acknowledged
    GET  /keys/NAME      reads it, from a replica
    GET  /keys?prefix=P  names on the master that begin so
    GET  /alive          whether this program answers
    GET  /health         whether there is a master that takes writes
"""

import json
import os
import signal
import socket
import threading
import time
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from redis.exceptions import RedisError, ResponseError
from redis.sentinel import Sentinel

PATIENCE = float(os.environ["REDIS_PATIENCE"])
WITNESSES = int(os.environ["REDIS_WITNESSES"])
# Longest time that a replica may take to say that it has a write.
WITNESS_MS = 1000
# Between two tries of a request that waits.
PAUSE = 0.05
BODY_MAX = 64 * 1024

with open(os.path.join(os.environ["CREDENTIALS_DIRECTORY"], "app_password")) as file:
    password = file.read().strip()
login = {"username": "app", "password": password, "decode_responses": True}
times = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5}
sentinel = Sentinel(
    [(name, 26379) for name in os.environ["REDIS_SENTINELS"].split()], sentinel_kwargs=login | times, **login
)
master = sentinel.master_for("mymaster", socket_connect_timeout=0.5, socket_timeout=WITNESS_MS / 1000 + 1)
replica = sentinel.slave_for("mymaster", **times)


class Unacknowledged(RedisError):
    """Written, but no replica has said so in time: it may get lost with the master."""


def patiently(work):
    """What `work` gives, tried again while Redis is away. What a server refuses for good is not tried again."""
    given_up = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except RedisError as why:
            is_refused = isinstance(why, ResponseError) and not str(why).startswith(
                ("NOREPLICAS", "READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED")
            )
            if is_refused or time.monotonic() > given_up:
                raise
        time.sleep(PAUSE)


def write(change):
    """Makes a change on the master, and returns when the replicas that are to witness it have it."""
    # One connection for both: WAIT is about what this connection has written.
    with master.client() as client:
        result = change(client)
        if client.wait(WITNESSES, WITNESS_MS) < WITNESSES:
            raise Unacknowledged(f"fewer than {WITNESSES} replicas have it")
        return result


def status():
    """Who is who, as the Sentinels know it."""
    host, _ = sentinel.discover_master("mymaster")
    return {"master": host, "replicas": sorted(host for host, _ in sentinel.discover_slaves("mymaster"))}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self):
        url = urlsplit(self.path)
        self.answered(lambda: self.get(url.path, parse_qs(url.query)))

    def do_PUT(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_MAX:
            self.close_connection = True
            return self.answer(413, {"error": f"more than {BODY_MAX} bytes"})
        body = self.rfile.read(length).decode(errors="replace")
        self.answered(lambda: self.put(urlsplit(self.path).path, body))

    def get(self, path, query):
        if path == "/alive":
            return 200, {"status": "pass"}
        if path == "/health":
            master.ping()
            return 200, {"status": "pass"} | status()
        if path == "/status":
            return 200, patiently(status)
        if path == "/keys":
            prefix = query.get("prefix", [""])[0].replace("\\", "\\\\")
            for special in "*?[]":
                prefix = prefix.replace(special, "\\" + special)
            return 200, sorted(patiently(lambda: list(master.scan_iter(match=prefix + "*", count=1000))))
        if path.startswith("/keys/"):
            value = patiently(lambda: replica.get(unquote(path[6:])))
            return (404, {"error": "no such key"}) if value is None else (200, {"value": value})
        if path == "/":
            looks = patiently(lambda: write(lambda client: client.incr("looks")))
            who = patiently(status)
            replicas = ", ".join(map(escape, who["replicas"])) or "nobody"
            return 200, (
                '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Redis by its Sentinels</title>\n'
                f"<p>The master is <b>{escape(who['master'])}</b>, and {replicas} has its data too.</p>\n"
                f"<p>This page was looked at {looks} times.</p>\n</html>\n"
            )
        return 404, {"error": "no such path"}

    def put(self, path, body):
        if not path.startswith("/keys/") or path == "/keys/":
            return 404, {"error": "no such path"}
        name = unquote(path[6:])
        patiently(lambda: write(lambda client: client.set(name, body)))
        return 200, {"written": name}

    def answered(self, work):
        try:
            self.answer(*work())
        except RedisError as why:
            self.answer(503, {"error": str(why)}, {"Retry-After": "1"})

    def answer(self, code, body, headers=None):
        kind = "text/html; charset=utf-8" if isinstance(body, str) else "application/json"
        body = (body if isinstance(body, str) else json.dumps(body) + "\n").encode()
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        if self.path != "/alive":
            super().log_request(code, size)


class Server(ThreadingHTTPServer):
    # What has begun is answered before the end.
    daemon_threads = False

    def __init__(self):
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        # The one that svinit holds.
        self.socket = socket.socket(fileno=3)
        self.server_address = self.socket.getsockname()


server = Server()
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.1)
server.server_close()
