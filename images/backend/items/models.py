"""What is kept."""

from django.db import models


class Item(models.Model):
    """One thing to do."""

    text = models.CharField(max_length=200)
    done = models.BooleanField(default=False)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self):
        return self.text
