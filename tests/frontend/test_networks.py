"""The networks of models/ through capture and all passes: same numbers as torch, nothing that the engine lacks."""

import numpy as np
import pytest
import torch

from models.resnet import resnet18, resnet20, resnet34, resnet50
from models.vgg16 import vgg16
from models.vgg_nagadomi import vgg_nagadomi
from subrow import passes
from subrow.compress.execute import execute
from subrow.emit.legal import check
from subrow.frontend.torch_export import capture
from tests.nets import randomised

NETWORKS = {
    # network, image side, convolutions with a residual, instructions
    "resnet18": (lambda: resnet18(10, width=8), 64, 8, 23),
    "resnet34": (lambda: resnet34(10, width=4, stem_pool=False), 64, 16, 38),
    "resnet50": (lambda: resnet50(10, width=4), 64, 16, 56),
    "resnet20": (lambda: resnet20(), 32, 9, 23),
    "vgg16": (lambda: vgg16(10, width=1 / 64), 224, 0, 16),
    "vgg_nagadomi": (lambda: vgg_nagadomi(), 32, 0, 11),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str) -> None:
    build, side, residuals, instructions = NETWORKS[name]
    model = randomised(build())
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(x).numpy()
    graph = capture(model, x)
    fused = passes.run(graph)
    got = execute(fused, x)["output"].reshape(expected.shape)
    assert np.linalg.norm(got - expected) < 1e-4 * np.linalg.norm(expected)
    convs = [n for n in fused if n.op == "conv"]
    assert len(convs) == instructions and sum(len(n.inputs) == 2 for n in convs) == residuals
    check(fused, 8)
