"""Architectures of students and teachers; one family per file."""

from trainables.models.base import Model
from trainables.models.convnet import ConvNet
from trainables.models.custom import Custom
from trainables.models.densenet import DenseNet
from trainables.models.ds_cnn import DSCNN
from trainables.models.exited import Exited
from trainables.models.ghostnet import GhostNet
from trainables.models.gru import GRU
from trainables.models.lstm import LSTM
from trainables.models.mobilenet_v1 import MobileNetV1
from trainables.models.mobilenet_v2 import MobileNetV2
from trainables.models.mobilenet_v3 import MobileNetV3
from trainables.models.own import Own
from trainables.models.published import Published
from trainables.models.resnet import ResNet
from trainables.models.shufflenet_v1 import ShuffleNetV1
from trainables.models.shufflenet_v2 import ShuffleNetV2
from trainables.models.sliced import Sliced
from trainables.models.squeezenet import SqueezeNet
from trainables.models.tc_resnet import TCResNet, TimeCNN
from trainables.models.text import TextBag, TextCNN, TextGRU, TextLSTM, TextTransformer
from trainables.models.transformer import Transformer
from trainables.models.wide_resnet import WideResNet

MODELS: tuple[type[Model], ...] = (
    ConvNet,
    ResNet,
    WideResNet,
    DenseNet,
    MobileNetV1,
    MobileNetV2,
    MobileNetV3,
    ShuffleNetV1,
    ShuffleNetV2,
    GhostNet,
    SqueezeNet,
    DSCNN,
    TCResNet,
    TimeCNN,
    GRU,
    TextBag,
    TextCNN,
    TextGRU,
    TextLSTM,
    TextTransformer,
    LSTM,
    Transformer,
    Custom,
    Own,
    Published,
    Sliced,
    Exited,
)
