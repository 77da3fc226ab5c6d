"""What is kept."""

from django.db import models


class Note(models.Model):
    """A line of text that somebody left here."""

    text = models.CharField(max_length=200)
    written = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self):
        return self.text

    def as_json(self):
        return {"id": self.pk, "text": self.text, "written": self.written.isoformat()}
