"""Agreement with the vectors of the published reference implementations, where they are present."""

import json

import numpy as np
import pytest
import torch

from trainables.answers import Logits
from trainables.losses.attention import attention_transfer
from trainables.losses.contrast import Contrast
from trainables.losses.hints import hint
from trainables.losses.negatives import Contrasted
from trainables.losses.similarity import similarity

TOLERANCE = 1e-5  # of the largest value of an array


@pytest.fixture(scope="module")
def golden(shared_dir):
    folder = shared_dir / "golden"
    if not (folder / "methods.npz").is_file():
        pytest.skip("the reference implementations' vectors are not part of the repository")
    cases = {case["case"]: case["settings"] for case in json.loads((folder / "methods.json").read_text())}
    return cases, np.load(folder / "methods.npz")


def agree(ours, theirs, what):
    theirs = torch.from_numpy(theirs).double()
    ours = ours.detach().double().reshape(theirs.shape)
    assert float((ours - theirs).abs().max()) <= TOLERANCE * float(theirs.abs().max()), what


FAMILIES = {
    "at": lambda settings: lambda ours, theirs: attention_transfer(ours, theirs, settings["p"]),
    "hint": lambda settings: hint,
    "sp": lambda settings: similarity,
    "kd": lambda settings: lambda ours, theirs: Logits(theirs).distance(ours, settings["T"]),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_agree(family, golden):
    cases, arrays = golden
    names = [name for name in cases if name.rpartition("_")[0] == family]
    assert names
    for name in names:
        term = FAMILIES[family](cases[name])
        for number in ("", "0", "1", "2"):
            if f"{name}_s{number}" not in arrays:
                continue
            ours = torch.from_numpy(arrays[f"{name}_s{number}"]).requires_grad_()
            loss = term(ours, torch.from_numpy(arrays[f"{name}_t{number}"]))
            loss.backward()
            agree(loss, arrays[f"{name}_loss{number}"], name)
            agree(ours.grad, arrays[f"{name}_grad_s{number}"], name)


@pytest.mark.parametrize("name", [f"crd_{letter}" for letter in "abcdef"])
def test_two_steps_of_contrast_agree(name, golden):
    cases, arrays = golden
    settings = cases[name]
    contrast = Contrast(
        (settings["s_dim"], settings["t_dim"]),
        settings["n_data"],
        settings["feat_dim"],
        settings["temperature"],
        settings["momentum"],
    )
    for project, side in zip(contrast.projections, "st", strict=True):
        for field in ("weight", "bias"):
            getattr(project, field).data = torch.from_numpy(arrays[f"{name}_embed_{side}_{field}"])
    for side in (0, 1):
        contrast.memories[side] = torch.from_numpy(arrays[f"{name}_memory_v{side + 1}"])
    everything = torch.arange(settings["n_data"])
    for step in (f"{name}_step1", f"{name}_step2"):
        features = [torch.from_numpy(arrays[f"{step}_f_{side}"]).requires_grad_() for side in "st"]
        contrasted = Contrasted(everything, torch.from_numpy(arrays[f"{step}_contrast_idx"]))
        contrast.zero_grad()
        loss = contrast(*features, torch.from_numpy(arrays[f"{step}_idx"]), contrasted)
        loss.backward()
        agree(loss, arrays[f"{step}_loss"], step)
        agree(contrast.scales, arrays[f"{step}_Z"], step)
        for number, side in enumerate("st"):
            agree(features[number].grad, arrays[f"{step}_grad_f_{side}"], step)
            agree(contrast.memories[number], arrays[f"{step}_memory_v{number + 1}"], step)
            for field in ("weight", "bias"):
                found = getattr(contrast.projections[number], field).grad
                agree(found, arrays[f"{step}_grad_embed_{side}_{field}"], step)
