"""Shows what is in a packed file: ``python -m rayduce_reader FILE``."""

from __future__ import annotations

import argparse
import sys

from rayduce_reader.foreign import shown
from rayduce_reader.forms import Codes, Form, MixedCodes
from rayduce_reader.header import header_of
from rayduce_reader.packed_file import DEFAULT_LIMITS, PackedFileError, open_packed, read_file, read_records


def table(data: bytes) -> list[str]:
    """Lines that name the student, and its tensors with their shapes and bytes.

    Raises:
        PackedFileError: ``data`` is no packed file.
    """
    contents, reader = open_packed(data, DEFAULT_LIMITS)
    header = header_of(contents)
    rows = [("name", "shape", "stored as", "bytes")]
    for name, form, record in read_records(contents, reader, DEFAULT_LIMITS):
        shape = "x".join(map(str, form.shape)) or "scalar"
        rows.append((shown(name, 60), shape, _stored_as(form), f"{len(record):,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{len(data):,} bytes, {header.elements:,} elements, {shown(header.method, 60) or 'no method'}, "
        f"recipe {header.recipe_id}"
    ]
    if header.class_names:
        lines.append(shown(f"classes: {', '.join(header.class_names)}", 300))
    if header.preprocessing:
        told = ", ".join(f"{name} {value}" for name, value in header.preprocessing.items())
        lines.append(shown(told, 300))
    lines.append("")
    for name, shape, kind, size in rows:
        lines.append(f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {kind:<{widths[2]}}  {size:>{widths[3]}}")
    return lines


def _stored_as(form: Form) -> str:
    """Such as ``4 bits, centred`` or ``float16, masked``."""
    if isinstance(form, Codes):
        grid = "" if form.codebook is None else ", codebook"
        kind = f"{form.bits} bits{grid}{'' if form.zero is None else ', centred'}"
    elif isinstance(form, MixedCodes):
        kind = "mixed bits"
    else:
        kind = "bfloat16" if form.bfloat16 else str(form.values.dtype)
    return kind if form.keep is None else f"{kind}, masked"


def main() -> int:
    """Print the table; 2 where the file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m rayduce_reader", description=__doc__)
    parser.add_argument("file", help="a packed student (.rdz)")
    try:
        lines = table(read_file(parser.parse_args().file))
    except PackedFileError as error:
        print(f"Error: {shown(str(error), 500)}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
