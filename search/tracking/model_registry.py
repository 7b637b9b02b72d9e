"""Students as versions of a registered model in MLflow, and the aliases by which they are asked for.

A version is a name for a run's files: nothing is copied, and nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.objectives.aliases import ALIASES, REGISTERED_PREFIX
from search.store.mlflow_client import SWEEP_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

ENDED_TAG = "sweep_ended"
"""Of a version: :attr:`Registration.ended` of its sweep. The aliases are the last sweep's."""
MODEL_TAG = "rayduce.study"
"""Of a registered model: the study whose students it has, whatever name a user gave it."""
ABOUT = (
    "Students that sweeps of this study found. A version is the files of a trial's run, student.rdz among "
    "them; an alias names what the last sweep chose: `rayduce export models:/{name}@measured-within-1-point "
    "student.rdz`. What is measured-within loses no more on validation, as it was measured; what is "
    "surely-within loses no more at the worse end of a 95 % interval, and is what `rayduce choose` answers."
)


@dataclass(frozen=True)
class Registration:
    """The students of one sweep that get a name.

    Attributes:
        study: the registered model is ``rayduce-<study>``.
        sweep: its name.
        ended: when it ended: UTC with milliseconds as ISO 8601 has it, so that the later is the larger text.
        aliases: alias -> trial id.
        descriptions: trial id -> what its version says, as Markdown.
    """

    study: str
    sweep: str
    ended: str
    aliases: Mapping[str, str]
    descriptions: Mapping[str, str]


def register(client: MlflowClient, wanted: Registration, run_ids: Mapping[str, str]) -> None:
    """Make the versions and set the aliases; doing it twice does no harm.

    A run has one version. An alias moves to this sweep unless a sweep that ended later has it; one that an
    earlier end of this sweep set, and that no student earns now, is taken away. Aliases of a user's own are
    left alone.

    Args:
        client: of MLflow's store.
        wanted: what is to be there.
        run_ids: trial id -> run id; a trial that MLflow has no run of is left out.

    Raises:
        MlflowException: whatever the store answers.
    """
    chosen = {alias: trial for alias, trial in wanted.aliases.items() if trial in run_ids}
    model = _model(client, wanted.study, create=bool(chosen))
    if model is None:
        return
    name = model.name
    held = {alias: str(version) for alias, version in model.aliases.items()}
    versions = {
        trial: _version(client, name, run_ids[trial], wanted, wanted.descriptions[trial])
        for trial in sorted(set(chosen.values()))
    }
    for alias, trial in chosen.items():
        version = versions[trial]
        if held.get(alias) == version:
            continue
        if alias in held and _ended(client.get_model_version(name, held[alias])) > wanted.ended:
            continue
        client.set_registered_model_alias(name, alias, version)
    for alias in (held.keys() & ALIASES) - chosen.keys():
        if client.get_model_version(name, held[alias]).tags.get(SWEEP_TAG) == wanted.sweep:
            client.delete_registered_model_alias(name, alias)


def _model(client: MlflowClient, study: str, create: bool) -> RegisteredModel | None:
    """The registered model; None if there is none and none is wanted."""
    from mlflow.exceptions import MlflowException

    # By what was written on it first: users rename models in MLflow's pages.
    if marked := client.search_registered_models(f"tags.`{MODEL_TAG}` = '{study}'"):
        return marked[0]
    name = REGISTERED_PREFIX + study
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    if not create:
        return None
    return client.create_registered_model(name, {MODEL_TAG: study}, ABOUT.format(name=name))


def _version(client: MlflowClient, name: str, run_id: str, wanted: Registration, description: str) -> str:
    """The number of the run's version, which is made if there is none."""
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    if not found:
        source = client.get_run(run_id).info.artifact_uri
        tags = {SWEEP_TAG: wanted.sweep, ENDED_TAG: wanted.ended}
        made = client.create_model_version(name, source, run_id, tags=tags, description=description)
        return str(made.version)
    first = min(found, key=lambda version: int(version.version))
    version = str(first.version)
    if _ended(first) != wanted.ended:
        client.set_model_version_tag(name, version, ENDED_TAG, wanted.ended)
    if first.description != description:
        client.update_model_version(name, version, description)
    return version


def _ended(version: ModelVersion) -> str:
    """When its sweep ended; empty, and so the earliest, of a version that is not ours."""
    return str(version.tags.get(ENDED_TAG, ""))
