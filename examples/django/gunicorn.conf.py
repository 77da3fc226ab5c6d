"""How gunicorn serves this project; the unit says only where."""

import os
import signal

workers = int(os.environ.get("APP_WORKERS", "2"))
threads = 4
timeout = 30
graceful_timeout = 8
# Workers' heartbeats go to memory, so that a slow disk does not look like a hung worker.
worker_tmp_dir = "/dev/shm"
# svctl is the control interface.
control_socket_disable = True


# The master tells each worker once to stop. One that has just been forked would not hear it, serve on, and be killed
# with a request in its hands when the master's patience ends: so the signal waits, and ends a worker without requests.
os.register_at_fork(
    before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}),
    after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM}),
    after_in_child=lambda: (
        signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM}),
    ),
)
