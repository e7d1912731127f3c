"""Post-training quantisation by brevitas, to compare with; no other part of the compiler needs it."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subrow.spec.errors import MissingTool

_BATCH = 64


def check_brevitas() -> None:
    """Raises MissingTool when brevitas is not installed."""
    if importlib.util.find_spec("brevitas") is None:
        raise MissingTool(
            "brevitas is not installed: run `make bench-compression`, which installs it, or "
            "`pip install -r requirements-peers.txt`"
        )


def brevitas_int8(model: nn.Module, calibration: NDArray[np.float32]) -> nn.Module:
    """A float network as brevitas quantises it after training: int8, its defaults, equalised, biases corrected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its optional packages
        from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
        from brevitas.graph.quantize import preprocess_for_quantize, quantize

        own = copy.deepcopy(model)  # brevitas equalises the weights in place
        network: Any = quantize(preprocess_for_quantize(own, equalize_iters=20)).eval()
        batches = torch.from_numpy(calibration).split(_BATCH)
        with torch.no_grad():
            for mode in (calibration_mode, bias_correction_mode):
                with mode(network):
                    for batch in batches:
                        network(batch)
    found: nn.Module = network
    return found


