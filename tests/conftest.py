"""What all tests share: a clean environment, fixed seeds, one Ray session, the data beside the checkout."""

from __future__ import annotations

import os
import random
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from trainables.quiet import NOTHING_IS_SENT

ROOT = Path(__file__).resolve().parents[1]

# Before any library reads its variables: a developer's MLflow server or Ray cluster takes no part in a test.
for _name in [name for name in os.environ if name.startswith(("MLFLOW_", "RAY_"))]:
    del os.environ[_name]
os.environ |= {
    "OMP_NUM_THREADS": "1",  # one thread, so that sums are added in one order
    "MKL_NUM_THREADS": "1",
    **NOTHING_IS_SENT,
    # Explicit, and with a token of its own: without one Ray would write ~/.ray/auth_token.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}

# A shell's background jobs ignore Ctrl-C, and what they start would, too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Send every test of the shared Ray session to one xdist worker: a second session costs its start."""
    for item in items:
        if "ray_session" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(autouse=True)
def _clean_state() -> Iterator[None]:
    """Seed the global generators and give the environment back as it was."""
    random.seed(0)
    np.random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:  # the dashboards' tests never load it
        torch.manual_seed(0)
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray of two CPUs for the whole run, no dashboard, shut down at the end."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=256 * 2**20,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of larger data: ``$RAYDUCE_SHARED``, or ``shared`` beside the checkout; else skip."""
    path = Path(os.environ.get("RAYDUCE_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path}: set RAYDUCE_SHARED to the folder that holds it")
    return path
