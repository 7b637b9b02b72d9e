"""LiteRT (TensorFlow Lite), for phones and microcontrollers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from torch import nn

from trainables.exporting.formats.base import GraphFormat, Made, Shipped, Wishes, one_by_one
from trainables.exporting.integer_program import to_integer_program
from trainables.exporting.programs import SignedLevels, traced, with_levels
from trainables.exporting.quietly import quietly
from trainables.interfaces.base import Graph, Run

FORMAT = None
