import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.search.servers import Postgresql, Server, no_postgresql
from tests.stores import copy_blank, make_blank


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; creating the schema takes seconds."""
    return make_blank(tmp_path_factory.mktemp("blank") / "mlflow.db")


@pytest.fixture
def folder(blank: Path, tmp_path: Path) -> Path:
    """A store folder with an empty database; its name has what a URI would have to escape."""
    return copy_blank(blank, tmp_path / "a store, 100%")


@pytest.fixture
def server(blank: Path, tmp_path: Path) -> Iterator[Server]:
    """MLflow's own server, which keeps the artifacts too."""
    found = Server(copy_blank(blank, tmp_path / "server"))
    found.start()
    yield found
    found.kill()


@pytest.fixture
def postgresql() -> Iterator[Postgresql]:
    """A PostgreSQL server with an empty database."""
    if why := no_postgresql():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="rayduce-pg-"))  # pytest's own folders are shut to other users
    folder.chmod(0o755)
    (folder / "data").mkdir()
    found = Postgresql(folder / "data")
    try:
        found.start()
        yield found
        found.stop()
    finally:
        shutil.rmtree(folder)
