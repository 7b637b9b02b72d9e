"""The cluster files: accepted by Ray's own validator, and safe by what its commands say."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[1]
FILES = ("ray_cluster.yaml", "docs/ray_cluster_aws.yaml")
GUIDE = (ROOT / "docs" / "cluster.md").read_text()
TOKEN = "~/.ray/rayduce_token"  # made by the user, as the guide says


@pytest.fixture(params=FILES)
def name(request: pytest.FixtureRequest) -> str:
    """Which file."""
    return str(request.param)


@pytest.fixture
def text(name: str) -> str:
    """The file as written."""
    return (ROOT / name).read_text()


@pytest.fixture
def raw(text: str) -> Any:
    """The file as YAML."""
    return yaml.safe_load(text)


@pytest.fixture
def aws() -> Any:
    """The file for AWS as YAML."""
    return yaml.safe_load((ROOT / FILES[1]).read_text())


@pytest.fixture
def cluster(raw: Any) -> Any:
    """The file with Ray's defaults filled in, as ``ray up`` would use it."""
    return prepare_config(copy.deepcopy(raw))


def commands(cluster: Any) -> list[str]:
    """Every shell command of the filled-in file; setup commands are those of both node kinds."""
    keys = [key for key in cluster if key.endswith("_commands") and key != "setup_commands"]
    return [command for key in keys for command in cluster[key]]


def start_commands(cluster: Any) -> list[str]:
    return [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]


def test_rays_validator_accepts_it(cluster: Any) -> None:
    validate_config(cluster)


@pytest.mark.parametrize("path", [("idle_timeout_minuts",), ("auth", "ssh_usr")])
def test_rays_validator_refuses_a_typo(raw: Any, path: tuple[str, ...]) -> None:
    _refused_with(raw, path)


def test_rays_validator_refuses_a_typo_in_a_node_type(aws: Any) -> None:
    _refused_with(aws, ("available_node_types", "gpu_worker", "max_worker"))


def _refused_with(raw: Any, path: tuple[str, ...]) -> None:
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = 5
    with pytest.raises(jsonschema.ValidationError, match=path[-1]):
        validate_config(prepare_config(raw))


def test_no_default_command_of_rays_own_remains(raw: Any) -> None:
    # Those would install another Ray and open the dashboard to all; a key left out brings them back.
    assert raw["setup_commands"] and raw["head_setup_commands"]
    assert raw["head_start_ray_commands"] and raw["worker_start_ray_commands"]


CHANGES = {
    FILES[0]: [
        "head_ip: 192.168.1.10",
        "worker_ips: [192.168.1.11, 192.168.1.12]",
        "ssh_user: rayduce",
        "ssh_private_key: ~/.ssh/id_ed25519",
    ],
    FILES[1]: [
        "region: eu-central-1",
        "ImageId: &image ami-00000000000000000",
        "- echo fs-00000000000000000 > ~/.rayduce_efs",
    ],
}


def test_the_values_to_change_are_marked(name: str, text: str) -> None:
    marked = [line.strip() for line in text.splitlines() if "# CHANGE:" in line]
    assert [line.split("# CHANGE:")[0].strip() for line in marked] == CHANGES[name]


def test_one_image_for_all(aws: Any) -> None:
    images = {node["node_config"]["ImageId"] for node in aws["available_node_types"].values()}
    assert images == {"ami-00000000000000000"}


def test_workers_scale_from_one_to_a_limit(aws: Any) -> None:
    cluster = prepare_config(aws)
    worker = cluster["available_node_types"]["gpu_worker"]
    assert worker["min_workers"] == 1  # a sweep sizes its trials by the workers that are there
    assert 0 < worker["max_workers"] <= cluster["max_workers"]
    assert cluster["available_node_types"]["head"]["max_workers"] == 0


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_ray_starts_with_its_authentication_mode_named(cluster: Any, kind: str) -> None:
    starts = cluster[f"{kind}_start_ray_commands"]
    assert any("/ray start" in command for command in starts)
    for command in starts:
        assert command.startswith("export RAY_AUTH_MODE=token"), command


def test_machines_of_ones_own_are_started_by_the_first_autoscaler() -> None:
    own = yaml.safe_load((ROOT / FILES[0]).read_text())
    assert own["provider"]["type"] == "local"
    for kind in ("head", "worker"):
        [start] = [command for command in own[f"{kind}_start_ray_commands"] if "/ray start" in command]
        assert "RAY_enable_autoscaler_v2=0" in start


def test_a_node_is_given_up_within_half_a_minute(raw: Any) -> None:
    start = raw["head_start_ray_commands"][1]
    period, timeout, threshold = (
        int(re.search(rf"RAY_health_check_{setting}=(\d+)", start)[1])  # type: ignore[index]
        for setting in ("period_ms", "timeout_ms", "failure_threshold")
    )
    assert (period + timeout) * threshold <= 30_000


def test_nothing_listens_to_the_world(cluster: Any) -> None:
    everything = "\n".join(commands(cluster))
    assert "0.0.0.0" not in everything
    assert re.findall(r"--dashboard-host[= ](\S+)", everything) == ["127.0.0.1"]
    assert set(re.findall(r"--host[= ](\S+)", everything)) <= {"127.0.0.1"}


def test_no_inbound_rules_are_added(aws: Any) -> None:
    assert aws["provider"]["security_group"].keys() == {"GroupName"}


def test_the_token_travels_as_a_private_file_of_its_own(cluster: Any, text: str) -> None:
    assert cluster["file_mounts"]["~/.ray/auth_token"] == TOKEN
    assert "umask 077; mkdir -p ~/.ray; " in GUIDE and f"> {TOKEN})" in GUIDE
    assert "chmod 600 ~/.ray/auth_token" in cluster["setup_commands"][0]
    for kind in ("head", "worker"):
        assert "chmod 600 ~/.ray/auth_token" in cluster[f"{kind}_start_ray_commands"][0]
    assert not re.search(r"RAY_AUTH_TOKEN\s*=|\b[0-9a-f]{32,}\b", text), "a token stands in the file"


def test_every_mounted_file_exists(cluster: Any) -> None:
    local = [path for path in cluster["file_mounts"].values() if path != TOKEN]
    assert [path for path in local if not (ROOT / path).exists()] == []
    assert [path for path in local if (ROOT / path).resolve() == ROOT] == [], (
        "would send .venv and the results"
    )
    assert {"pyproject.toml", "constraints.txt"} <= set(local)


def test_every_package_of_the_project_is_mounted(cluster: Any) -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"}
    assert packages <= set(cluster["file_mounts"].values())


def test_storage_is_mounted_before_anything_is_kept_on_it(aws: Any) -> None:
    cluster = prepare_config(aws)
    for kind in ("head", "worker"):
        setup = cluster[f"{kind}_setup_commands"]
        mount = next(i for i, command in enumerate(setup) if "mount -t nfs4" in command)
        first_use = next(i for i, command in enumerate(setup) if "/shared/" in command)
        assert mount < first_use


def test_installs_with_the_pins(cluster: Any) -> None:
    installs = [command for command in cluster["worker_setup_commands"] if "pip install" in command]
    assert len(installs) == 1
    assert "-c constraints.txt" in installs[0]


def test_only_the_head_has_the_project_itself(raw: Any) -> None:
    everywhere, head = "\n".join(raw["setup_commands"]), "\n".join(raw["head_setup_commands"])
    assert "-e ." not in everywhere + "\n".join(raw["worker_setup_commands"])
    assert "--no-deps --no-build-isolation -e ./rayduce_reader -e ." in head


def test_the_requirements_are_what_the_project_asks_for(raw: Any) -> None:
    [install] = [command for command in raw["setup_commands"] if "tomllib" in command]
    [program] = re.findall(r"-c '(.*?)'", install, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(done.stdout.splitlines()) == {
        "setuptools",
        *(each for each in project["dependencies"] if each.split(">")[0] != "rayduce-reader"),
        *project["optional-dependencies"]["cluster"],
    }


def test_every_command_is_bash(cluster: Any) -> None:
    for command in commands(cluster):
        # As Ray wraps it, so that a comment or an open quote in a folded line is found.
        checked = subprocess.run(
            ["bash", "-n", "-c", f"({command})"], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, f"{command}: {checked.stderr}"


def test_the_guide_keeps_to_shared_storage_and_the_token() -> None:
    stores = re.findall(r"--store (\S+?)'?$", GUIDE, flags=re.MULTILINE)
    assert stores and all(store.startswith(("/shared/", "/mnt/shared/")) for store in stores)
    starts = [line for line in GUIDE.splitlines() if "/ray start" in line]
    assert sum(line.startswith("    ") for line in starts) == len(starts) == 2 and all(
        "RAY_AUTH_MODE=token" in line for line in starts
    )
