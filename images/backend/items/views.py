"""The API: list, create, show, change and delete."""

from rest_framework.viewsets import ModelViewSet

from items.models import Item
from items.serializers import ItemSerializer


class ItemViewSet(ModelViewSet):
    """Things to do, the newest first."""

    queryset = Item.objects.all()
    serializer_class = ItemSerializer
