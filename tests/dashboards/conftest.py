from pathlib import Path

import pytest

from tests.stores import copy_blank, make_blank


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; creating the schema takes seconds."""
    return make_blank(tmp_path_factory.mktemp("blank") / "mlflow.db")


@pytest.fixture
def folder(blank: Path, tmp_path: Path) -> Path:
    """A store folder with an empty database; its name has what a URI would have to escape."""
    return copy_blank(blank, tmp_path / "a store, 100%")
