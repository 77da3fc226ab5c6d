"""Between Prometheus and a network that it is not on.

    GET /targets/redis     Redis servers and Sentinels, as Prometheus's http_sd has them
    GET /targets/svinit    containers in which svinit runs
    GET /svinit/NAME       svinit's own /metrics of one of them, and of nobody else

Who is there is what REDIS_NODES and SENTINEL_NODES say, and whoever else a Sentinel knows.
"""

import http.client
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from redis import Redis
from redis.exceptions import RedisError

REDIS_PORT, SENTINEL_PORT, SVINIT_PORT = 6379, 26379, 9500
METRICS_MAX = 8 * 1024 * 1024

redis_nodes = os.environ["REDIS_NODES"].split()
sentinel_nodes = os.environ["SENTINEL_NODES"].split()
optional_nodes = os.environ["OPTIONAL_NODES"].split()
with open(os.path.join(os.environ["CREDENTIALS_DIRECTORY"], "exporter_password")) as file:
    password = file.read().strip()
sentinels = [
    Redis(
        host=name,
        port=SENTINEL_PORT,
        username="exporter",
        password=password,
        decode_responses=True,
        socket_connect_timeout=0.5,
        socket_timeout=0.5,
    )
    for name in sentinel_nodes
]


def known_by(sentinel):
    """The Redis servers and the other Sentinels that one Sentinel knows, by name."""

    def names(ask):
        return {one["ip"] for one in ask("mymaster")}

    try:
        master = {sentinel.sentinel_get_master_addr_by_name("mymaster")[0]}
        return master | names(sentinel.sentinel_slaves), names(sentinel.sentinel_sentinels)
    except (RedisError, TypeError):
        return set(), set()


def is_known(name):
    try:
        socket.getaddrinfo(name, SVINIT_PORT)
        return True
    except OSError:
        return False


def nodes():
    """Names of the Redis servers, of the Sentinels, and of what else runs svinit."""
    with ThreadPoolExecutor(max(1, len(sentinels))) as pool:
        known = list(pool.map(known_by, sentinels))
    redis = set(redis_nodes).union(*(redis for redis, _ in known))
    others = set(sentinel_nodes).union(*(others for _, others in known))
    return sorted(redis), sorted(others), [name for name in optional_nodes if is_known(name)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self):
        if self.path == "/alive":
            return self.answer(200, "text/plain", b"ok\n")
        redis, others, optional = nodes()
        if self.path == "/targets/redis":
            servers = [(name, "redis", REDIS_PORT) for name in redis]
            return self.targets(servers + [(name, "sentinel", SENTINEL_PORT) for name in others])
        every = [(name, "redis", SVINIT_PORT) for name in redis] + [(name, "sentinel", SVINIT_PORT) for name in others]
        every += [(name, "other", SVINIT_PORT) for name in optional]
        if self.path == "/targets/svinit":
            return self.targets(every)
        name = self.path.removeprefix("/svinit/")
        if self.path.startswith("/svinit/") and name in [name for name, _, _ in every]:
            return self.metrics_of(name)
        return self.answer(404, "text/plain", b"nobody of that name\n")

    def targets(self, all_of_them):
        answer = [
            {"targets": [f"{name}:{port}"], "labels": {"node": name, "kind": kind}} for name, kind, port in all_of_them
        ]
        self.answer(200, "application/json", json.dumps(answer).encode())

    def metrics_of(self, name):
        try:
            connection = http.client.HTTPConnection(name, SVINIT_PORT, timeout=3)
            connection.request("GET", "/metrics", headers={"Accept": self.headers.get("Accept", "*/*")})
            answer = connection.getresponse()
            self.answer(answer.status, answer.headers["Content-Type"], answer.read(METRICS_MAX))
        except (OSError, http.client.HTTPException) as why:
            self.answer(502, "text/plain", f"{name} does not answer: {why}\n".encode())

    def answer(self, code, kind, body):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        # Prometheus asks each few seconds.
        if str(code) != "200":
            super().log_request(code, size)


ThreadingHTTPServer(("", 9122), Handler).serve_forever()
