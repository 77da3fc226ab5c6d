"""Two questions about this process: can it do its work, and does it answer at all."""

import logging

from django.db import Error, connection
from django.http import HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

log = logging.getLogger(__name__)


@never_cache
@require_safe
def health(request):
    """Asks the database, through the same connection that an API call would use: 200 or 503."""
    try:
        with connection.impatient(), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    except Error as error:
        # The driver's message names hosts and users: the log is the place for it, not the answer.
        log.warning("the database does not answer: %s", error)
        return JsonResponse({"status": "fail", "database": "fail"}, status=503)
    return JsonResponse({"status": "pass", "database": "pass"})


@never_cache
@require_safe
def alive(request):
    """Whether this process answers at all, without the database: nothing else is a reason to restart it."""
    return HttpResponse("ok\n", content_type="text/plain")
