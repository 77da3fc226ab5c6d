"""The pages and the JSON API."""

import json
import logging

from django.db import Error, connection
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods

from notes.models import Note

log = logging.getLogger(__name__)

# Notes in one answer.
PAGE = 1000


@never_cache
@require_GET
def health(request):
    """Asks the database, through the same connection that a page would use: 200 or 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    except Error as error:
        # The driver's message names hosts and users: the log is the place for it, not the answer.
        log.warning("the database does not answer: %s", error)
        return JsonResponse({"status": "fail", "database": "fail"}, status=503)
    return JsonResponse({"status": "pass", "database": "pass"})


@never_cache
@require_GET
def alive(request):
    """Whether this process answers at all, without the database."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_http_methods(["GET", "POST"])
def index(request):
    """The newest notes and a form to add one."""
    if request.method == "POST":
        text = request.POST.get("text", "").strip()[:200]
        if text:
            Note.objects.create(text=text)
        return HttpResponseRedirect("/")
    return render(request, "notes/index.html", {"notes": Note.objects.all()[:20], "count": Note.objects.count()})


# Without cookies there is no session that a foreign page could misuse.
@csrf_exempt
@require_http_methods(["GET", "POST"])
def notes(request):
    """GET: the newest notes, older than `before` if given. POST {"text": ...}: 201 once it is safely on disk."""
    if request.method == "GET":
        before = request.GET.get("before", "")
        found = Note.objects.filter(pk__lt=int(before)) if before.isdecimal() else Note.objects.all()
        return JsonResponse({"count": Note.objects.count(), "notes": [n.as_json() for n in found[:PAGE]]})
    try:
        text = json.loads(request.body)["text"]
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"error": 'the body must be JSON: {"text": "..."}'}, status=400)
    if not isinstance(text, str) or not 0 < len(text) <= 200 or "\0" in text:
        return JsonResponse({"error": "text must have 1 to 200 characters"}, status=400)
    return JsonResponse(Note.objects.create(text=text).as_json(), status=201)


@require_GET
def note(request, note):
    """One note by its number."""
    found = Note.objects.filter(pk=note).first()
    return JsonResponse(found.as_json()) if found else JsonResponse({"error": "no such note"}, status=404)
