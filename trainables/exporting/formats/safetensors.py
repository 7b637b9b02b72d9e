"""Tensors without a network."""

from __future__ import annotations

from pathlib import Path

from trainables.exporting.export import to_safetensors
from trainables.exporting.formats.base import Export, Format, Shipped, Wishes
from trainables.quantizers.base import joined


class PlainTensors(Format):
    """Decoded tensors by name, for code that has the network; Hugging Face's format."""

    name, suffix, title = "safetensors", ".safetensors", "plain tensors"

    def write(self, student: Shipped, target: Path, wishes: Wishes) -> Export:
        """See :meth:`Format.write`; nothing is run, since there is no graph."""
        decoded = {name: tensor.decode() for name, tensor in joined(student.tensors).items()}
        return Export({target: to_safetensors(decoded, student.facts)})


FORMAT = PlainTensors()
