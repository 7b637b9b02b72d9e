"""Which weights stay; one pruner per file."""

from trainables.pruners.base import Pruner
from trainables.pruners.by_name import PrunerByName
from trainables.pruners.magnitude import Magnitude
from trainables.pruners.none import NoPruner
from trainables.pruners.saliency import Saliency
from trainables.pruners.targeted_dropout import TargetedDropout

PRUNERS: tuple[type[Pruner], ...] = (
    NoPruner,
    Magnitude,
    PrunerByName,
    TargetedDropout,
    Saliency,
)
