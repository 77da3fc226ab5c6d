"""Writes each request down and shows the last 25 of all web servers, this one included."""

import atexit
import os
import socket
import time

from flask import Flask, render_template, request
from psycopg import InterfaceError, OperationalError
from psycopg_pool import ConnectionPool, PoolTimeout

SHOWN = 25
# How long a request waits for a database that is being restarted.
PATIENCE = 8.0

app = Flask(__name__)
# Opened in the worker, not before it is forked. Each connection is looked at before it is used: one that a restart of
# the database has closed is replaced, and not found out by a request.
pool = None


def connections():
    global pool
    if pool is None:
        pool = ConnectionPool(
            kwargs={
                "host": os.environ["DB_HOST"],
                "port": os.environ.get("DB_PORT", "5432"),
                "dbname": os.environ["DB_NAME"],
                "user": os.environ["DB_USER"],
                "password": os.environ["DB_PASSWORD"],
                "connect_timeout": 3,
            },
            min_size=1,
            max_size=4,
            timeout=2.0,
            reconnect_timeout=5.0,
            check=ConnectionPool.check_connection,
            open=True,
        )
        atexit.register(pool.close)
    return pool


def transaction(work):
    """Does `work` in one transaction; again from the start if the database went away in the middle."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with connections().connection() as connection:
                return work(connection)
        except (OperationalError, InterfaceError, PoolTimeout):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def write_down_and_read(connection):
    connection.execute(
        "INSERT INTO requests (served_by, client, path) VALUES (%s, %s, %s)",
        (socket.gethostname(), request.headers.get("X-Forwarded-For", request.remote_addr), request.full_path.rstrip("?")),
    )
    return connection.execute(
        "SELECT id, requested_at, served_by, client, path FROM requests ORDER BY id DESC LIMIT %s", (SHOWN,)
    ).fetchall()


@app.get("/")
def last_requests():
    rows = transaction(write_down_and_read)
    return render_template("requests.html", rows=rows, here=socket.gethostname())


@app.get("/health")
def health():
    """Whether requests can be served."""
    try:
        with connections().connection(timeout=1.0) as connection:
            connection.execute("SELECT 1")
    except (OperationalError, InterfaceError, PoolTimeout):
        return {"status": "fail", "database": "fail"}, 503
    return {"status": "pass", "database": "pass"}


@app.get("/health/alive")
def alive():
    """Whether this process answers, which a new one could mend: the load balancer and svinit ask this."""
    return {"status": "pass"}
