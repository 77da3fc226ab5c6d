"""How gunicorn serves this project; the unit says only where."""

import os

workers = int(os.environ.get("APP_WORKERS", "2"))
threads = 4
timeout = 30
graceful_timeout = 8
# Workers' heartbeats go to memory, so that a slow disk does not look like a hung worker.
worker_tmp_dir = "/dev/shm"
# svctl is the control interface.
control_socket_disable = True
