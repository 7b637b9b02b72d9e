"""Settings of the processes a sweep starts; applied before ray is imported."""

from __future__ import annotations

import functools
import os
import secrets
from contextlib import suppress
from pathlib import Path

from search.problem import Problem
from trainables.quiet import NOTHING_IS_SENT

QUIET = {
    **NOTHING_IS_SENT,
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a third of a short trial's cost; MLflow has it all
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # a sweep handles Ctrl-C itself
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # nothing of Ray's own state is ever loaded
    "TUNE_DISABLE_AUTO_INIT": "1",  # a cluster is only ever joined or started on purpose
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait starve the trial beside them
}

ON_LOOPBACK = {
    # Ray's word for "nothing but this machine": its processes then know it as 127.0.0.1 and listen there
    # alone. Given that address as an option, Ray would put the network's in its place.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""Of a local Ray; read when ray is imported."""


def prepare_environment(address: str | None) -> None:
    """Switch reporting home off and authentication on, for this process and those it starts.

    A local Ray stays on the loopback device and gets a random token that lives in the environment only. To
    join a running cluster, the user's own token is needed unless ``RAY_AUTH_MODE=disabled`` says that the
    cluster has none.

    Raises:
        Problem: a cluster is to be joined and no token is there.
    """
    os.environ.update(QUIET)
    if address is None:
        os.environ.update(ON_LOOPBACK)
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = _local_token()
        return
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    own_token(address)


@functools.cache
def _local_token() -> str:
    """Of a local Ray: one for all sweeps of this process, since Ray reads it once."""
    return secrets.token_hex(32)


def own_token(address: str) -> str:
    """What we show to the cluster at ``address``: of RAY_AUTH_TOKEN, or of the file that Ray would read.

    Empty with ``RAY_AUTH_MODE=disabled``. The file is made readable for its owner alone.

    Raises:
        Problem: there is none, in which case Ray would abort the process; or the mode is neither.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    if mode not in ("token", "disabled"):
        raise Problem(f"RAY_AUTH_MODE must be token or disabled, and is {mode!r}.")
    if mode == "disabled":
        return ""
    if given := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return given
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        with suppress(PermissionError):  # somebody else's file is theirs to protect
            path.chmod(0o600)  # Ray writes it readable for everyone
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token:
        raise Problem(
            f"The cluster at {address} asks for a token, and there is none in RAY_AUTH_TOKEN or {path}; "
            "copy it from the head node, or set RAY_AUTH_MODE=disabled if the cluster was started without."
        )
    return token
