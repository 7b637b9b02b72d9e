"""Reads the artifacts of runs, from the store's own folder or from the server that keeps them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from search.store.mlflow_client import StoreError, check_artifact_name, masked, reason
from search.store.places import FOLDER, run_folder
from search.store.runs import ask
from trainables.files import read_inside
from trainables.foreign import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


class Artifacts:
    """The artifacts of a store's runs.

    Args:
        client: of the store.
        tracking_uri: its address.
        roots: the only folders that artifacts are read from on this machine; the last is the store's.
    """

    def __init__(self, client: MlflowClient, tracking_uri: str, roots: Sequence[Path]) -> None:
        self._client = client
        self._uri = tracking_uri
        self._roots = tuple(roots)

    def read(self, run: Run, name: str) -> bytes:
        """The content of one of the run's own artifacts.

        Raises:
            StoreError: the run has no such artifact, or the name leaves the run's folder.
        """
        try:
            check_artifact_name(name)
        except ValueError:
            raise StoreError(
                f"{name!r} cannot be an artifact's name: give a path inside the run's folder."
            ) from None
        run_id, folder = run.info.run_id, self._folder(run)
        try:
            if folder is not None:
                # From the store's ``artifacts`` on: a link below that could lead anywhere.
                return read_inside(folder.parents[2], "/".join((*folder.parts[-3:], name)))
            with tempfile.TemporaryDirectory(prefix="rayduce-") as scratch:
                return Path(self._client.download_artifacts(run_id, name, scratch)).read_bytes()
        except Exception as error:  # of the disk, of HTTP, of MLflow: there is no common kind
            names = self._names(run, folder)
            if name in names:
                raise StoreError(
                    f"The file {name} of the run {run_id} cannot be read: {reason(error)}."
                ) from error
            raise StoreError(
                f"The run {run.info.run_name} ({run_id}) has no file {name!r}; "
                f"its artifacts: {', '.join(names) or 'none'}."
            ) from error

    def location(self, run: Run, name: str) -> str:
        """Where one of the run's artifacts lies: a path if it is on this machine, else its URI."""
        if not self._uri.startswith("http") and (folder := self._place(run)) is not None:
            return str(folder / name)
        return f"{run.info.artifact_uri}/{name}"

    def _names(self, run: Run, folder: Path | None) -> list[str]:
        if folder is None:
            items = ask(self._client, lambda: self._client.list_artifacts(run.info.run_id))
            return sorted(item.path for item in items)
        return sorted(os.listdir(folder)) if folder.is_dir() else []

    def _folder(self, run: Run) -> Path | None:
        """The folder of a run's artifacts in this store; None if the server keeps them.

        Raises:
            StoreError: they are in neither, and who wrote that may mean any file of this machine.
        """
        uri = run.info.artifact_uri
        if self._uri.startswith("http"):
            parsed = urlparse(uri)
            if parsed.scheme == "mlflow-artifacts" and parsed.netloc in ("", urlparse(self._uri).netloc):
                return None
            raise StoreError(
                f"The server says that the files of the run {run.info.run_id} are at {masked(uri)}, and only "
                "those that it hands out itself are read: start it with --serve-artifacts, as MLflow does by "
                "default."
            )
        if (found := self._place(run)) is not None:
            return found
        raise StoreError(
            f"The files of the run {run.info.run_id} are said to be at {masked(uri)}, which is not below "
            f"{shown(str(self._roots[-1] / FOLDER), 500)}: "
            "give the folder of their store with --store."
        )

    def _place(self, run: Run) -> Path | None:
        """The folder of a run's artifacts below this store's; None if they are not there."""
        uri, run_id = run.info.artifact_uri, run.info.run_id
        if found := run_folder(uri, run_id, self._roots, moved=False):
            return found
        found = run_folder(uri, run_id, self._roots, moved=True)
        return found if found is not None and found.is_dir() else None
