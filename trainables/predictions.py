"""What a network says of each sample, in a small file that is checked where it is read. Loads no torch."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.sealed import sealed, unsealed

PREDICTIONS_FILE = "predictions.json"
"""Lies beside a packed file: the class that the student says of each sample, by split; of a sweep, the
teacher's and the true ones."""
MOST_SAMPLES = 2**24
"""Of one split; what names more is damaged."""
_KINDS: dict[str, np.dtype[Any]] = {
    "uint8": np.dtype("u1"),
    "uint16": np.dtype("<u2"),
    "int32": np.dtype("<i4"),
}

Classes = NDArray[np.int64]
"""One class per sample, in the order of the split."""


def predictions_json(columns: Mapping[str, Classes]) -> bytes:
    """Classes by the name of a column, such as ``validation``, as sealed JSON of compressed bytes.

    Args:
        columns: classes of at least 0.

    Raises:
        ValueError: a class is below 0 or above 2**31 - 1.
    """
    return sealed({"columns": {name: _written(name, values) for name, values in columns.items()}})


def read_predictions(data: bytes) -> dict[str, Classes]:
    """What :func:`predictions_json` was given.

    Raises:
        ValueError: anything else; the message says in which way.
    """
    columns = unsealed(data).get("columns")
    if not isinstance(columns, dict):
        raise ValueError("it has no columns")
    return {str(name): _read(column) for name, column in columns.items()}


def _written(name: str, values: Classes) -> dict[str, Any]:
    if len(values) and not 0 <= int(values.min()) <= int(values.max()) < 2**31:
        raise ValueError(f"classes must be in [0, 2**31), got {values.min()} to {values.max()} of {name}")
    most = int(values.max()) if len(values) else 0
    kind = "uint8" if most < 2**8 else "uint16" if most < 2**16 else "int32"
    packed = zlib.compress(values.astype(_KINDS[kind]).tobytes(), 9)
    return {"samples": len(values), "kind": kind, "classes": base64.b64encode(packed).decode()}


def _read(column: Any) -> Classes:
    if not isinstance(column, dict) or column.keys() != {"samples", "kind", "classes"}:
        raise ValueError("a column has other fields")
    samples, kind = column["samples"], _KINDS.get(str(column["kind"]))
    if type(samples) is not int or not 0 <= samples <= MOST_SAMPLES or kind is None:
        raise ValueError("a column has no such number of samples, or kind")
    length = samples * kind.itemsize
    try:
        inflate = zlib.decompressobj()
        # Compressed bytes may say anything of their length: no more is made of them than there should be.
        data = inflate.decompress(base64.b64decode(str(column["classes"]), validate=True), length + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(f"a column cannot be decompressed: {error}") from error
    if len(data) != length:
        raise ValueError("a column does not have as many samples as it says")
    found = np.frombuffer(data, dtype=kind).astype(np.int64)
    if len(found) and found.min() < 0:
        raise ValueError("a class is below 0")
    return found
