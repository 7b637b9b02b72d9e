"""What recipes are made of, by family: arguments of methods, and bases for parts of your own."""

from trainables.activations import (
    ACTIVATIONS,
    ActivationsByName,
    LearnedClip,
    MovingRange,
    NoActivationQuantizer,
)
from trainables.activations.base import ActivationQuantizer
from trainables.codecs import CODECS, BitPacked, EntropyCoded, Raw, Smallest, Sparse
from trainables.codecs.base import Codec
from trainables.exiting.exits import Exits
from trainables.losses import LOSSES, ExitLoss, GateLoss, SoftTargets
from trainables.losses.base import Loss
from trainables.models import LSTM, MODELS, ConvNet, Custom, ResNet, Transformer
from trainables.models.base import Model
from trainables.optimizers import OPTIMIZERS, SGD, AdamW, Optimizer
from trainables.origins import ORIGINS, Fresh, Trained, WithExits
from trainables.origins.base import Origin
from trainables.part import Part
from trainables.pruners import PRUNERS, Magnitude, NoPruner, PrunerByName
from trainables.pruners.base import Pruner
from trainables.quantizers import (
    QUANTIZERS,
    LearnedPoints,
    LearnedStep,
    NoQuantizer,
    QuantizerByName,
    Rows,
    Symmetric,
    Uniform,
    Zero,
)
from trainables.quantizers.base import Quantizer
from trainables.ranges import Range
from trainables.recipe import Phase, Recipe
from trainables.schedules import SCHEDULES, Constant, Cosine, Cubic, Linear, Schedule
from trainables.tasks import (
    CIFAR10,
    CIFAR100,
    TASKS,
    Digits,
    FashionMNIST,
    ImageFolder,
    Multi30k,
    Phrases,
    TeacherTranslations,
    TextPairs,
)
from trainables.tasks.base import Task
from trainables.teachers import TEACHERS, Fixed, NoTeacher, Remembered
from trainables.teachers.base import Teacher

__all__ = [
    "ACTIVATIONS",
    "CIFAR10",
    "CIFAR100",
    "CODECS",
    "LOSSES",
    "LSTM",
    "MODELS",
    "OPTIMIZERS",
    "ORIGINS",
    "PRUNERS",
    "QUANTIZERS",
    "SCHEDULES",
    "SGD",
    "TASKS",
    "TEACHERS",
    "ActivationQuantizer",
    "ActivationsByName",
    "AdamW",
    "BitPacked",
    "Codec",
    "Constant",
    "ConvNet",
    "Cosine",
    "Cubic",
    "Custom",
    "Digits",
    "EntropyCoded",
    "ExitLoss",
    "Exits",
    "FashionMNIST",
    "Fixed",
    "Fresh",
    "GateLoss",
    "ImageFolder",
    "LearnedClip",
    "LearnedPoints",
    "LearnedStep",
    "Linear",
    "Loss",
    "Magnitude",
    "Model",
    "MovingRange",
    "Multi30k",
    "NoActivationQuantizer",
    "NoPruner",
    "NoQuantizer",
    "NoTeacher",
    "Optimizer",
    "Origin",
    "Part",
    "Phase",
    "Phrases",
    "Pruner",
    "PrunerByName",
    "Quantizer",
    "QuantizerByName",
    "Range",
    "Raw",
    "Recipe",
    "Remembered",
    "ResNet",
    "Rows",
    "Schedule",
    "Smallest",
    "SoftTargets",
    "Sparse",
    "Symmetric",
    "Task",
    "Teacher",
    "TeacherTranslations",
    "TextPairs",
    "Trained",
    "Transformer",
    "Uniform",
    "WithExits",
    "Zero",
]
