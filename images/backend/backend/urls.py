"""All paths of the site."""

from django.urls import include, path
from rest_framework.routers import DefaultRouter

from backend import health
from items.views import ItemViewSet

api = DefaultRouter()
api.register("items", ItemViewSet)

urlpatterns = [
    path("health", health.health),
    path("health/alive", health.alive),
    # The same from outside, where a proxy sends here only what is below /api/.
    path("api/health", health.health),
    path("api/", include(api.urls)),
]
