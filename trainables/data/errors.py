"""What is wrong with a user's data, in one sentence."""

from __future__ import annotations


class DataError(Exception):
    """The data is not there or not usable; the message is one sentence that says what to do."""


class ItemError(DataError):
    """One item of a dataset cannot be used; the message names its split, its index, and why."""

    def __init__(self, text: str) -> None:
        super().__init__(text)  # one argument, so that it survives the way from a worker process
