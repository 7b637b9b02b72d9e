"""Published size accountings of one packed file: tables for a hundred columns, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

from rich.table import Table
from rich.text import Text

from trainables.foreign import shown
from trainables.shipping.accounting import FP32, Account
from trainables.shipping.packed_file import HEADER_ROW

COLUMNS_PER_TABLE = 6


def account_records(accounts: Sequence[Account]) -> list[dict[str, Any]]:
    """One object per accounting for ``--json``.

    Keys: ``accounting``, ``counts``, ``leaves_out``, ``bytes`` (of all tensors, and of the header where it
    is counted), ``ratio`` (fp32 bytes over these; None of nothing), and ``tensors``: a list of ``name``,
    ``bytes`` and ``note`` (why the bytes are not what the accounting defines; else None).
    """
    return [
        {
            "accounting": account.accounting.key,
            "counts": account.accounting.counts,
            "leaves_out": account.accounting.leaves_out,
            "bytes": account.total,
            "ratio": _ratio(accounts, account),
            "tensors": [
                {"name": name, "bytes": size.bytes, "note": size.note} for name, size in account.sizes.items()
            ],
        }
        for account in accounts
    ]


def account_tables(title: str, accounts: Sequence[Account]) -> list[Table | Text]:
    """What ``rayduce inspect --account`` prints: bytes per tensor, then the totals with what they count."""
    notes = list(dict.fromkeys(s.note for account in accounts for s in account.sizes.values() if s.note))
    marks = dict(zip(notes, ascii_lowercase, strict=False))
    parts: list[Table | Text] = [Text(shown(title, 1000), style="italic")]
    for start in range(0, len(accounts), COLUMNS_PER_TABLE):
        parts += [_per_tensor(accounts[start : start + COLUMNS_PER_TABLE], marks), Text()]
    parts.append(_totals(accounts))
    parts += [Text(), *(Text(f"{mark}  {shown(note)}") for note, mark in marks.items())]
    return parts


def _per_tensor(accounts: Sequence[Account], marks: dict[str, str]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("bytes of", vertical="bottom", overflow="fold")
    for account in accounts:
        table.add_column(
            Text(account.accounting.title.replace(" ", "\n", 1)), justify="right", vertical="bottom"
        )
    if any(account.header for account in accounts):
        table.add_row(HEADER_ROW, *(f"{a.header:,}  " if a.header else "-  " for a in accounts))
    for name in accounts[0].sizes:
        sizes = [account.sizes[name] for account in accounts]
        cells = [f"{size.bytes:,.0f} {marks[size.note] if size.note else ' '}" for size in sizes]
        table.add_row(Text(shown(name)), *cells)
    return table


def _totals(accounts: Sequence[Account]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("total")
    table.add_column("bytes", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("counts")
    for account in accounts:
        ratio = _ratio(accounts, account)
        words = Text(account.accounting.counts)
        words.append(f"; not: {account.accounting.leaves_out}", style="dim")
        table.add_row(
            account.accounting.title, f"{account.total:,.0f}", "-" if ratio is None else f"{ratio:.2f}", words
        )
    return table


def _ratio(accounts: Sequence[Account], account: Account) -> float | None:
    [fp32] = [a.total for a in accounts if a.accounting is FP32]
    return fp32 / account.total if account.total else None
