"""The packed file itself."""

from __future__ import annotations

from pathlib import Path

from trainables.exporting.formats.base import Export, Format, Shipped, Wishes


class PackedFile(Format):
    """Rayduce's own format, the smallest; ``rayduce evaluate`` reads it."""

    name, suffix, title = "rdz", ".rdz", "packed file"

    def write(self, student: Shipped, target: Path, wishes: Wishes) -> Export:
        """See :meth:`Format.write`; the bytes are those that are read."""
        return Export({target: student.content})


FORMAT = PackedFile()
