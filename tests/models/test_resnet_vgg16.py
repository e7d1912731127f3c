"""ResNets and VGG16: names, shapes and sizes as published; weights from files; the same weights for the same seed."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models import ModelError
from models.checkpoint import load_checkpoint
from models.resnet import resnet18, resnet20, resnet34, resnet50
from models.vgg16 import vgg16
from models.vgg_nagadomi import vgg_nagadomi

Keys = dict[str, tuple[int, ...]]


def batch_norm(name: str, channels: int) -> Keys:
    keys = {f"{name}.{k}": (channels,) for k in ("weight", "bias", "running_mean", "running_var")}
    return keys | {f"{name}.num_batches_tracked": ()}


def residual_keys(depths: tuple[int, ...], widths: tuple[int, ...], bottleneck: bool, stem: int, classes: int) -> Keys:
    """torchvision's keys and shapes, written out from its naming scheme."""
    keys: Keys = {"conv1.weight": (widths[0], 3, stem, stem)} | batch_norm("bn1", widths[0])
    inputs = widths[0]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
        outputs = 4 * width if bottleneck else width
        for i in range(depth):
            at = f"layer{stage}.{i}"
            shapes = [(width, inputs, 1, 1), (width, width, 3, 3), (outputs, width, 1, 1)] if bottleneck else [
                (width, inputs, 3, 3), (width, width, 3, 3)]  # fmt: skip
            for n, shape in enumerate(shapes, start=1):
                keys |= {f"{at}.conv{n}.weight": shape} | batch_norm(f"{at}.bn{n}", shape[0])
            if i == 0 and (stage > 1 or inputs != outputs):
                keys |= {f"{at}.downsample.0.weight": (outputs, inputs, 1, 1)}
                keys |= batch_norm(f"{at}.downsample.1", outputs)
            inputs = outputs
    return keys | {"fc.weight": (classes, inputs), "fc.bias": (classes,)}


def vgg_keys() -> Keys:
    """torchvision's vgg16: positions in `features` count ReLUs and pools."""
    keys: Keys = {}
    convs = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256),
             17: (512, 256), 19: (512, 512), 21: (512, 512)}
    convs |= {24: (512, 512), 26: (512, 512), 28: (512, 512)}
    for at, (k, c) in convs.items():
        keys |= {f"features.{at}.weight": (k, c, 3, 3), f"features.{at}.bias": (k,)}
    for at, (k, c) in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        keys |= {f"classifier.{at}.weight": (k, c), f"classifier.{at}.bias": (k,)}
    return keys


IMAGENET = (64, 128, 256, 512)
CASES = {
    "resnet18": (resnet18, residual_keys((2, 2, 2, 2), IMAGENET, False, 7, 1000), 11_689_512),
    "resnet34": (resnet34, residual_keys((3, 4, 6, 3), IMAGENET, False, 7, 1000), 21_797_672),
    "resnet50": (resnet50, residual_keys((3, 4, 6, 3), IMAGENET, True, 7, 1000), 25_557_032),
    "resnet20": (resnet20, residual_keys((3, 3, 3), (16, 32, 64), False, 3, 10), 272_474),
    "vgg16": (vgg16, vgg_keys(), 138_357_544),
}


@pytest.mark.parametrize("name", CASES)
def test_names_shapes_and_parameter_count(name: str) -> None:
    build, keys, count = CASES[name]
    with torch.device("meta"):
        model = build()
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == keys
    assert sum(p.numel() for p in model.parameters()) == count
    assert not model.training
    with torch.device("meta"), torch.inference_mode():
        side = 32 if name == "resnet20" else 224
        assert model(torch.empty(2, 3, side, side)).shape == (2, 10 if name == "resnet20" else 1000)


@pytest.mark.parametrize("build", [
    lambda seed: resnet18(7, seed, width=8), lambda seed: resnet50(7, seed, width=8, stem_pool=False),
    lambda seed: resnet20(7, seed), lambda seed: vgg16(7, seed, width=0.0625), lambda seed: vgg_nagadomi(7, seed),
])  # fmt: skip
def test_seed_fixes_the_weights(build) -> None:  # type: ignore[no-untyped-def]
    state = torch.random.get_rng_state()
    one, two, other = build(3), build(3), build(4)
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = [(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)]
    assert all(torch.equal(a, b) for a, b in pairs)
    first = next(k for k, v in one.state_dict().items() if v.ndim == 4)
    assert not torch.equal(one.state_dict()[first], other.state_dict()[first])
    with torch.inference_mode():
        assert one(torch.rand(1, 3, 32, 32)).shape == (1, 7)


def test_small_variants_keep_the_names() -> None:
    assert resnet18(width=8).state_dict().keys() == CASES["resnet18"][1].keys()
    assert resnet18(width=8, stem_pool=False).state_dict().keys() == CASES["resnet18"][1].keys()
    with pytest.raises(ModelError, match="width 0.3 makes 64 channels"):
        vgg16(width=0.3)


def equal(one: nn.Module, two: nn.Module) -> bool:
    names = [k for k in one.state_dict() if not k.endswith("num_batches_tracked")]
    return all(torch.equal(one.state_dict()[k], two.state_dict()[k]) for k in names)


@pytest.mark.parametrize("form", ["plain.pth", "wrapped.pth", "parallel.pt", "half.pth", "plain.safetensors"])
def test_checkpoints(form: str, tmp_path: Path) -> None:
    source = resnet20(seed=1)
    state = source.state_dict()
    path = tmp_path / form
    if form == "plain.safetensors":
        save_file({k: v for k, v in state.items() if not k.endswith("tracked")}, path)
    elif form == "wrapped.pth":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif form == "parallel.pt":
        torch.save({f"module.{k}": v for k, v in state.items()}, path)
    elif form == "half.pth":
        source.half().float()
        torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
    else:
        torch.save(state, path)
    model = resnet20(seed=2)
    assert not equal(model, source)
    assert load_checkpoint(model, path) is model
    assert equal(model, source) and all(p.dtype == torch.float32 for p in model.parameters())


class Trap:
    """Unpickling it would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code from the file was run",)


def test_bad_checkpoints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = resnet20()
    with pytest.raises(ModelError, match="none.pth does not exist"):
        load_checkpoint(model, tmp_path / "none.pth")
    (tmp_path / "x.npz").write_bytes(b"")
    with pytest.raises(ModelError, match="suffix '.npz', must be .pth"):
        load_checkpoint(model, tmp_path / "x.npz")
    for name in ("cut.pth", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 not whole")
        with pytest.raises(ModelError, match=f"{name} .* cannot be read"):
            load_checkpoint(model, tmp_path / name)
    torch.save(Trap(), tmp_path / "trap.pth")
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(model, tmp_path / "trap.pth")
    assert "code from the file" not in capfd.readouterr().out
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="holds no tensors by name"):
        load_checkpoint(model, tmp_path / "list.pth")
    torch.save(resnet20(num_classes=100).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"fc.weight has shape \(100, 64\), CifarResNet needs \(10, 64\).*classes"):
        load_checkpoint(model, tmp_path / "other.pth")
    state = resnet20().state_dict()
    del state["fc.bias"]
    torch.save(state | {"head": torch.zeros(1)}, tmp_path / "names.pth")
    with pytest.raises(ModelError, match="missing tensors fc.bias, unknown tensors head"):
        load_checkpoint(model, tmp_path / "names.pth")
