"""What becomes of a request in whose midst the database goes away."""

import logging

from django.db import OperationalError, connection
from django.http import JsonResponse

from backend.patient.base import is_away

log = logging.getLogger(__name__)

# Asking for these a second time changes nothing.
SAFE = {"GET", "HEAD", "OPTIONS"}


def away(get_response):
    """Asks once more where that is safe, which waits for the database; else, and then, answers 503, not a traceback.

    A write is not repeated: its transaction may have been committed before the answer was lost.
    """

    def middleware(request):
        return get_response(request)

    def on_exception(request, error):
        if not is_away(error):
            return None
        connection.close()
        if request.method in SAFE:
            match = request.resolver_match
            try:
                return match.func(request, *match.args, **match.kwargs)
            except OperationalError as again:
                error = again
        log.warning("the database is away: %s", error)
        return JsonResponse({"detail": "the database is away"}, status=503, headers={"Retry-After": "1"})

    middleware.process_exception = on_exception
    return middleware
