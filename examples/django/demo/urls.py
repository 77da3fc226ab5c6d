"""All paths of the site."""

from django.urls import path

from notes import views

urlpatterns = [
    path("", views.index),
    path("health", views.health),
    path("health/alive", views.alive),
    path("api/notes", views.notes),
    path("api/notes/<int:note>", views.note),
]
