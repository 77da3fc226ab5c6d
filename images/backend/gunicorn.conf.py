"""How gunicorn serves this project; the unit says only where."""

import os
import signal

workers = int(os.environ.get("APP_WORKERS", "2"))
threads = int(os.environ.get("APP_THREADS", "16"))
timeout = int(os.environ.get("APP_TIMEOUT", "30"))
graceful_timeout = 8
# A worker is renewed now and then, not all at once: what a library leaks does not add up.
max_requests = 10000
max_requests_jitter = 1000
# Workers' heartbeats go to memory, so that a slow disk does not look like a hung worker.
worker_tmp_dir = "/dev/shm"
# svctl is the control interface.
control_socket_disable = True
# For development: code that has changed is loaded at once.
reload = os.environ.get("APP_RELOAD") == "1"

# The master tells each worker once to stop. One that has just been forked would not hear it, serve on, and be killed
# with a request in its hands when the master's patience ends: so TERM waits, and ends a worker without requests.
# HUP is for the master alone, but `pkill -HUP gunicorn` sends it to all of that name. A worker would die of it at once,
# since gunicorn leaves it at its default there: so it stays blocked, and means nothing.
os.register_at_fork(
    before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP}),
    after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGHUP}),
    after_in_child=lambda: (
        signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM}),
    ),
)
