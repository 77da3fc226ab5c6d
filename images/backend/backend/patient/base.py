"""Django's MySQL backend, which waits for a server that is being restarted instead of failing the request.

A restart of the database takes seconds. Who asks meanwhile waits, up to DATABASE_PATIENCE seconds after the database was
missed first; when it stays away, everybody is told at once, so that no thread of the web server is held up by it.
"""

import threading
import time
from contextlib import contextmanager

from django.conf import settings
from django.db.backends.mysql import base
from django.db.utils import OperationalError

# Between two tries to connect.
PAUSE = 0.1

# Of the client: cannot connect. Of the server: it is about to end, or has too many connections.
AWAY = {2002, 2003, 2006, 2013, 1040, 1053}


class Outage:
    """When the database was missed first, for all threads of this process."""

    def __init__(self):
        self.lock = threading.Lock()
        self.since = None

    def over(self):
        with self.lock:
            self.since = None

    def lasts(self):
        """Seconds since it began; begins it if there is none."""
        with self.lock:
            now = time.monotonic()
            if self.since is None:
                self.since = now
            return now - self.since


OUTAGE = Outage()


def is_away(error):
    """Whether this error says that the server could not be reached, and nothing about the query."""
    return isinstance(error, OperationalError) and bool(error.args) and error.args[0] in AWAY


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is patient while it is made."""

    patient = True

    @contextmanager
    def impatient(self):
        """Within this, a connection that cannot be made fails at once: for health checks."""
        self.patient = False
        try:
            yield
        finally:
            self.patient = True

    def get_new_connection(self, conn_params):
        while True:
            try:
                # As Django would see it: the driver's own error in Django's class.
                with self.wrap_database_errors:
                    made = super().get_new_connection(conn_params)
            except OperationalError as error:
                if not is_away(error) or OUTAGE.lasts() > settings.DATABASE_PATIENCE or not self.patient:
                    raise
                time.sleep(PAUSE)
            else:
                OUTAGE.over()
                return made
