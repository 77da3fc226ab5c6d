"""The one application of this project."""

from django.apps import AppConfig


class NotesConfig(AppConfig):
    name = "notes"
