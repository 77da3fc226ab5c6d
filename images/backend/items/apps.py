"""Tells Django of this application."""

from django.apps import AppConfig


class ItemsConfig(AppConfig):
    name = "items"
