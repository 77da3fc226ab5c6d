"""What every request passes through."""

from django.db import OperationalError
from django.http import JsonResponse


def database_away(get_response):
    """Answers 503 instead of a page of traceback while the database cannot be reached."""

    def middleware(request):
        return get_response(request)

    def on_exception(request, error):
        if isinstance(error, OperationalError):
            return JsonResponse({"error": "the database is away"}, status=503, headers={"Retry-After": "1"})
        return None

    middleware.process_exception = on_exception
    return middleware
