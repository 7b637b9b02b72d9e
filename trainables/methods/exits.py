"""Students that answer easy inputs early."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from trainables.exiting.exits import BRANCH, GATE, Exits
from trainables.losses import ExitLoss, GateLoss
from trainables.methods.distillation import late_epochs
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.origins import WithExits
from trainables.quantizers import NoQuantizer, Symmetric
from trainables.quantizers.base import Quantizer
from trainables.ranges import Range
from trainables.recipe import Recipe
from trainables.schedules import Constant


@published("BranchyNet, Teerapittayanon et al. 2016", "exits")
def early_exits(
    given: Setting,
    *,
    exits: Exits = Exits(),
    loss: ExitLoss = ExitLoss(),
    last_weight: Annotated[float, Range(0.0, 1000.0)] = 0.3,
    quantizer: Quantizer = Symmetric(),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """A network with early exits that answer where their entropy is low, all trained together.

    The weights of their losses are 1 for early exits and 0.3 for the last, which the paper found better than
    equal ones. Where the paper sweeps thresholds on the validation split, they are chosen there by what they
    may cost, see ``exits.drop``; and exits are one linear layer each, without the paper's convolutions. The
    network's weights are on their grid in every forward pass; with ``NoQuantizer()`` they stay in float32.
    """
    exits = replace(exits, at=exits.at or given.exit_layers, kind=BRANCH)
    origin = WithExits(given.origin, exits).checked(given.task)
    phase = given.phase(optimizer, quantize=quantizer != NoQuantizer())
    weight = Constant(last_weight)
    return given.recipe(phase, origin=origin, losses=(loss,), task_weight=weight, quantizer=quantizer)


@published("Shafiee et al. 2018", "exits")
def decision_gates(
    given: Setting,
    *,
    gates: Exits = Exits(kind=GATE),
    loss: GateLoss = GateLoss(),
    gate_epochs: int | None = None,
    quantizer: Quantizer = Symmetric(),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """A trained network with gates, trained while it stands still, that answer where a score is high.

    ``gate_epochs`` of the epochs train the gates alone, a quarter (at least one) by default. Before, they
    learn beside the network and change nothing in it. Weights are on their grid in every forward pass; with
    ``NoQuantizer()`` they stay in float32.
    """
    count = late_epochs(given, "gate_epochs", gate_epochs, 4)
    gates = replace(gates, at=gates.at or given.exit_layers, kind=GATE)
    origin = WithExits(given.origin, gates).checked(given.task)
    quantize = quantizer != NoQuantizer()
    first = given.phase(optimizer, given.epochs - count, quantize=quantize)
    last = given.phase(optimizer, count, train="heads", prune=False, quantize=quantize)
    return given.recipe(first, last, origin=origin, losses=(loss,), quantizer=quantizer)
