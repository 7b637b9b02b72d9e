"""Signals: the first in order, the second at once, wherever it arrives."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from search.sweeps.halt import Halt, Signals

SECOND_WHILE_RAY_ENDS = """
import os, signal
from search.clusters.environment import prepare_environment
prepare_environment(None)
import ray
from search.sweeps.halt import Halt, Signals

with Signals(Halt(), "farewell").handled() as signals:
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    signals.install()
    node = ray._private.worker._global_node
    print(*(info.process.pid for infos in node.all_processes.values() for info in infos), flush=True)
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        with node.removal_lock:  # as ray.shutdown() does
            os.kill(os.getpid(), signal.SIGINT)
"""


def test_the_first_is_raised_where_it_arrives_or_waits_where_it_must_not() -> None:
    before = signal.getsignal(signal.SIGINT)
    halt = Halt()
    with Signals(halt, "").handled() as signals, signals.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        halt.check()
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt), Signals(Halt(), "").handled():
        os.kill(os.getpid(), signal.SIGINT)


def test_another_thread_ends_the_sweep_as_a_signal_would() -> None:
    class Died(Exception):
        pass

    def fail(signals: Signals) -> None:
        thread = threading.Thread(target=signals.fail, args=(Died(),))
        thread.start()
        thread.join()

    halt = Halt()
    with Signals(halt, "").handled() as signals:
        with pytest.raises(Died):
            fail(signals)
            time.sleep(60)  # the signal ends it
        with signals.deferred():
            fail(signals)
            while halt.reason is None:
                time.sleep(0.01)
        with pytest.raises(Died):
            halt.check()
        with pytest.raises(KeyboardInterrupt):  # the user has asked for nothing yet
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_the_second_leaves_at_once_even_while_ray_ends_and_takes_its_processes_along() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", SECOND_WHILE_RAY_ENDS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 130 and done.stderr.endswith("\nfarewell\n"), done.stderr
    pids = [int(word) for word in done.stdout.split()]
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert pids and time.monotonic() < deadline, pids
        time.sleep(0.1)
