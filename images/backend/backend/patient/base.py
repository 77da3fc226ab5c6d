"""Django's MySQL backend, which waits for a server that is being restarted instead of failing the request.

A restart of the database takes seconds. Who asks meanwhile waits, up to DATABASE_PATIENCE seconds after the database was
missed first; when it stays away, everybody is told at once. At most DATABASE_WAITERS threads of a process wait, so that
some are left for what needs no database, such as the question whether this process is alive.
"""

import threading
import time
from contextlib import contextmanager

from django.conf import settings
from django.db.backends.mysql import base
from django.db.utils import OperationalError

# Between two tries to connect.
PAUSE = 0.1

# Of the client: cannot connect, lost. Of the server: too many connections, it is about to end, it has cut off this query or
# this connection (MariaDB) because of that.
AWAY = {2002, 2003, 2006, 2013, 1040, 1053, 1317, 1927}


class Outage:
    """When the database was missed first and last, for all threads of this process."""

    def __init__(self):
        self.lock = threading.Lock()
        self.first = self.last = None

    def over(self):
        with self.lock:
            self.first = self.last = None

    def lasts(self):
        """Seconds since it began. One that nobody has noticed for long is over, and another begins."""
        with self.lock:
            now = time.monotonic()
            if self.last is None or now - self.last > settings.DATABASE_PATIENCE:
                self.first = now
            self.last = now
            return now - self.first


OUTAGE = Outage()
WAITERS = threading.BoundedSemaphore(settings.DATABASE_WAITERS)


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
        try:
            return self.connect_once(conn_params)
        except OperationalError as error:
            if not is_away(error) or not self.patient or not WAITERS.acquire(blocking=False):
                raise
        try:
            return self.connect_patiently(conn_params)
        finally:
            WAITERS.release()

    def connect_once(self, conn_params):
        # As Django would see it: the driver's own error in Django's class.
        with self.wrap_database_errors:
            made = super().get_new_connection(conn_params)
        OUTAGE.over()
        return made

    def connect_patiently(self, conn_params):
        while True:
            try:
                return self.connect_once(conn_params)
            except OperationalError as error:
                if not is_away(error) or OUTAGE.lasts() > settings.DATABASE_PATIENCE:
                    raise
                time.sleep(PAUSE)
