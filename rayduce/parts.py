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
from trainables.models import (
    LSTM,
    MODELS,
    ConvNet,
    Custom,
    DenseNet,
    GhostNet,
    MobileNetV1,
    MobileNetV2,
    MobileNetV3,
    ResNet,
    ShuffleNetV1,
    ShuffleNetV2,
    SqueezeNet,
    Transformer,
    WideResNet,
)
from trainables.models.base import Model
from trainables.optimizers import OPTIMIZERS, SGD, AdamW, Optimizer
from trainables.origins import ORIGINS, Fresh, Trained, WithExits
from trainables.origins.base import Origin
from trainables.part import Part
from trainables.pruners import PRUNERS, Magnitude, NoPruner, PrunerByName
from trainables.pruners.base import Pruner
from trainables.quantizers import (
    QUANTIZERS,
    Graded,
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
    Grouped,
    ImageFolder,
    Multi30k,
    MultiTask,
    Phrases,
    TeacherTranslations,
    TextPairs,
)
from trainables.tasks.base import Task
from trainables.teachers import TEACHERS, Fixed, Joint, NoTeacher, Remembered, Route, Several, Unpruned
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
    "DenseNet",
    "Digits",
    "EntropyCoded",
    "ExitLoss",
    "Exits",
    "FashionMNIST",
    "Fixed",
    "Fresh",
    "GateLoss",
    "GhostNet",
    "Graded",
    "Grouped",
    "ImageFolder",
    "Joint",
    "LearnedClip",
    "LearnedPoints",
    "LearnedStep",
    "Linear",
    "Loss",
    "Magnitude",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "Model",
    "MovingRange",
    "Multi30k",
    "MultiTask",
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
    "Route",
    "Rows",
    "Schedule",
    "Several",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "Smallest",
    "SoftTargets",
    "Sparse",
    "SqueezeNet",
    "Symmetric",
    "Task",
    "Teacher",
    "TeacherTranslations",
    "TextPairs",
    "Trained",
    "Transformer",
    "Uniform",
    "Unpruned",
    "WideResNet",
    "WithExits",
    "Zero",
]
