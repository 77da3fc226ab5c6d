"""`migrate`, one at a time: when the backend is scaled, each container wants to be the one that does it."""

from contextlib import contextmanager

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connection

# Longest wait for another container's migrations, in seconds.
PATIENCE = 240


class Command(migrate.Command):
    def handle(self, *args, **options):
        with locked():
            super().handle(*args, **options)


@contextmanager
def locked():
    """Holds a lock of the database's own, which ends with the connection, however that ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(CONCAT(DATABASE(), '.migrate'), %s)", [PATIENCE])
        if cursor.fetchone() != (1,):
            raise CommandError(f"another migration has not ended within {PATIENCE} s")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT RELEASE_LOCK(CONCAT(DATABASE(), '.migrate'))")
