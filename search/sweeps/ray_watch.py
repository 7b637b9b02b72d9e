"""Says that Ray has died, which Ray itself says to nobody: it ends our process some time later.

A driver whose raylet was killed works on for some 15 seconds and is then ended with code 1; one whose GCS was
killed waits in a call that no signal interrupts, and is ended after 60. So a thread watches both processes.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray._private import utils as ray_utils  # brings psutil
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET

from search.problem import Problem
from search.sweeps.halt import Signals

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
"""For so long the main thread may take until it hears of it; then it hangs in a call of Ray's."""
LAST_SECONDS = 25.0
"""And so long until the store knows and the command has ended."""

WHAT = {
    PROCESS_TYPE_RAYLET: "Ray's process on this machine (raylet)",
    PROCESS_TYPE_GCS_SERVER: "Ray's head process (gcs_server)",
}


class RayDied(Problem):
    """A process without which Ray does not work has ended.

    Attributes:
        what: the process and its end, without what the user can do.
    """

    def __init__(self, what: str, again: str) -> None:
        super().__init__(f"{what}, and the sweep with it; go on with: {again}")
        self.what = what


@contextmanager
def watched(signals: Signals, again: str, tell_store: Callable[[BaseException], None]) -> Iterator[None]:
    """Raise :class:`RayDied` in the main thread when a process of our local Ray dies.

    The store is told first. Where the main thread does not hear of it, the process is left from here. Of a
    cluster that was joined, no process is ours to watch.

    Args:
        signals: raises it there.
        again: the command that goes on with the sweep.
        tell_store: of the error with which the sweep ends.
    """
    node: Any = ray._private.worker._global_node
    started = {} if node is None else node.all_processes
    processes = {what: info.process for what in WHAT for info in started.get(what, [])}
    heard, over = threading.Event(), threading.Event()

    def death() -> RayDied | None:
        for what, process in processes.items():
            if process.poll() is not None:
                return RayDied(f"{WHAT[what]} has ended ({_how(process.returncode)})", again)
        return None

    def watch() -> None:
        while (died := death()) is None:
            if over.wait(LOOK_SECONDS):
                return
        if not heard.is_set():
            signals.fail(died)
        if not heard.wait(PATIENCE_SECONDS):
            tell_store(died)
        elif over.wait(LAST_SECONDS):
            return
        cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # the live display hides it
        os.write(sys.stderr.fileno(), f"{cursor}\nError: {died}\n".encode())
        _kill(node)
        os._exit(1)

    if processes:
        threading.Thread(target=watch, name="rayduce-watch", daemon=True).start()
    try:
        yield
    except Exception as error:  # it may have come of the same death, only sooner
        died = error if isinstance(error, RayDied) else death()
        if died is None:
            raise
        heard.set()
        _kill(node)
        tell_store(died)
        raise died from None
    finally:
        over.set()


def _kill(node: Any) -> None:
    """End what is left of a Ray of which a process has died; ``ray.shutdown`` would wait for the dead.

    Its agents and workers too, which would look for it for a minute.
    """
    below = ray_utils.psutil.Process().children(recursive=True)
    node.kill_all_processes(check_alive=False, allow_graceful=False)
    for process in below:
        with suppress(ray_utils.psutil.NoSuchProcess):
            process.kill()


def _how(code: int) -> str:
    if code < 0:
        return f"killed by signal {-code}, such as by the system for want of memory"
    return f"exit code {code}"
