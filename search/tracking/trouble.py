"""What MLflow's errors mean: try again later, make room, or never."""

from __future__ import annotations

import errno
import json
import re
from ssl import SSLError

from search.store.mlflow_client import (
    StoreError,
    reason,
)

_PASSING = {401, 403, 408, 425, 429}
"""Of what an HTTP server answers with 4xx, what another time, or another word of the user, may mend."""


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


_NO_SUCH = re.compile(r"no such (table|column)|database disk image is malformed|file is not a database")
"""Of a damaged database, which no waiting mends."""


_NO_ROOM_WORDS = ("database or disk is full", "readonly database", "disk I/O error")


class Away(Exception):
    """MLflow cannot take it now; the message says why.

    Attributes:
        answered: whether a server took the request and failed at it.
    """

    def __init__(self, text: str, answered: bool = False) -> None:
        super().__init__(text)
        self.answered = answered


class NoRoom(Exception):
    """MLflow's store on this machine cannot be written any more; the message says why."""


def raise_if_passing(error: Exception, at_any_price: bool) -> None:
    """Raise :class:`NoRoom` or :class:`Away` where the same request may succeed later.

    What fails because of what it says, such as a text that cannot be encoded, fails every time: it is none.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    chain = _chain(error)
    text = str(error)
    if any(isinstance(each, OSError) and each.errno in _NO_ROOM for each in chain) or any(
        words in text for words in _NO_ROOM_WORDS
    ):
        raise NoRoom(reason(error)) from error
    if any(getattr(each, "connection_invalidated", False) for each in chain):  # of SQLAlchemy
        raise Away(reason(error)) from error
    if any(isinstance(each, json.JSONDecodeError) for each in chain):  # a proxy's page in place of an answer
        if not at_any_price:
            raise Away(reason(error), answered=True) from error
        return
    # A bad certificate is a ValueError too, but one that somebody may mend.
    bug = any(isinstance(each, (ValueError, TypeError)) and not isinstance(each, SSLError) for each in chain)
    if bug or isinstance(error, StoreError) or _NO_SUCH.search(text):
        return
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        # MLflow's client has the same code for a server that nobody reached.
        answered = not any(isinstance(each, RequestException) and each.response is None for each in chain)
        # What MLflow has no word for failed inside it: of a server that is its trouble, for a while.
        failed = answered and status == 500 and error.error_code == "INTERNAL_ERROR"
        refused = (400 <= status < 500 and status not in _PASSING) or error.error_code == "INVALID_STATE"
        if not refused and not (failed and at_any_price):
            raise Away(reason(error), answered=failed) from error
    elif isinstance(error, RequestException):
        code = None if error.response is None else error.response.status_code
        failed = code is not None and code >= 500
        if code is None or code in _PASSING or (failed and not at_any_price):
            raise Away(reason(error), answered=failed) from error
    elif isinstance(error, (ConnectionError, TimeoutError, SSLError)):
        raise Away(reason(error)) from error


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and those that it was made of."""
    found: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in found:
        found.append(inner)
        inner = inner.__cause__ or inner.__context__
    return found
