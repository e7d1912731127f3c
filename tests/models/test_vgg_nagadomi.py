"""The VGG-nagadomi network, its committed weights, and the Fashion-MNIST loader."""

import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models import ModelError, fashion_mnist
from models.checkpoint import storable_state
from models.vgg_nagadomi import (
    QUARTER_WEIGHTS,
    VggNagadomi,
    load_weights,
    vgg_nagadomi,
    vgg_nagadomi_quarter,
)
from subrow.compress.stages import module_accuracy

ROOT = Path(__file__).resolve().parents[2]
CONV_PARAMETERS = 9 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 3 * 256 * 256)
BATCH_NORM_PARAMETERS = 2 * (2 * 64 + 2 * 128 + 4 * 256)
FC_PARAMETERS = (4096 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * 10


@pytest.fixture(scope="module")
def quarter() -> VggNagadomi:
    """The quarter-width network with its committed weights; tests leave it unchanged."""
    return vgg_nagadomi_quarter()


def conv_macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of all convolutions for `image` (1 x C x H x W)."""
    counts: list[int] = []

    def count(layer: nn.Conv2d, _inputs: object, output: Tensor) -> None:
        counts.append(output.numel() * layer.weight[0].numel())

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    with torch.inference_mode():
        model(image)
    for hook in hooks:
        hook.remove()
    return sum(counts)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write uint8 `values` as a gzipped IDX file."""
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes()))


# --- the network --------------------------------------------------------------------------------------------------


def test_full_width_has_the_published_size() -> None:
    model = vgg_nagadomi()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == CONV_PARAMETERS + BATCH_NORM_PARAMETERS + FC_PARAMETERS
    assert conv_macs(model, torch.zeros(1, 3, 32, 32)) == 228_261_888


@pytest.mark.parametrize(("width", "channels", "classes"), [(1.0, 3, 10), (0.25, 1, 10), (0.125, 3, 7)])
def test_output_is_one_logit_per_class(width: float, channels: int, classes: int) -> None:
    model = VggNagadomi(width, channels, classes).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, channels, 32, 32)).shape == (2, classes)


def test_quarter_width_scales_every_layer() -> None:
    model = vgg_nagadomi_quarter(pretrained=False)
    convolutions = [layer.out_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    linears = [layer.out_features for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert convolutions == [16, 16, 32, 32, 64, 64, 64, 64]
    assert linears == [256, 256, 10]


@pytest.mark.parametrize("width", [0.0, -1.0, 0.01, 0.26])
def test_width_that_makes_broken_channels_is_refused(width: float) -> None:
    with pytest.raises(ModelError, match=f"width {width} makes 64 channels.*multiple of 1/64"):
        VggNagadomi(width)


def test_callables_return_eval_mode_without_dropout() -> None:
    image = torch.rand(1, 3, 32, 32)
    model = vgg_nagadomi()
    assert not any(module.training for module in model.modules())
    with torch.inference_mode():
        assert torch.equal(model(image), model(image))


def test_captured_graph_holds_only_the_layers(quarter: VggNagadomi) -> None:
    program = torch.export.export(quarter, (torch.zeros(1, 1, 32, 32),))
    called = {str(node.target).split(".")[1] for node in program.graph.nodes if node.op == "call_function"}
    assert called == {"conv2d", "batch_norm", "relu", "max_pool2d", "flatten", "linear"}


# --- the committed weights ----------------------------------------------------------------------------------------


def test_committed_weights_reach_the_accuracy_on_their_card(quarter: VggNagadomi) -> None:
    card = json.loads((QUARTER_WEIGHTS.parent / "card.json").read_text(encoding="utf-8"))
    measured = module_accuracy(quarter, fashion_mnist.test_images())
    assert measured == pytest.approx(card["float_accuracy_1000"], abs=0.15)
    assert card["parameters"] == sum(parameter.numel() for parameter in quarter.parameters())
    assert len(card["log"]) == card["epochs"]


def test_missing_weights_file_names_itself_and_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    with pytest.raises(ModelError, match=r"none.safetensors does not exist.*vgg_nagadomi_quarter_fmnist.toml"):
        load_weights(vgg_nagadomi_quarter(pretrained=False), path)


@pytest.mark.parametrize("keep", [0, 7, 5000])
def test_truncated_weights_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(QUARTER_WEIGHTS.read_bytes()[:keep])
    with pytest.raises(ModelError, match=rf"\({keep} bytes\) is not a readable safetensors file"):
        load_weights(vgg_nagadomi_quarter(pretrained=False), path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(storable_state(VggNagadomi(width=0.5, in_channels=1)), path)
    with pytest.raises(ModelError, match=r"has shape .*VggNagadomi needs"):
        load_weights(vgg_nagadomi_quarter(pretrained=False), path)


def test_missing_and_non_finite_tensors_are_refused(tmp_path: Path) -> None:
    model, path = vgg_nagadomi_quarter(pretrained=False), tmp_path / "model.safetensors"
    state = storable_state(model)
    state["classifier.fc3.bias"][0] = float("nan")
    save_file(state, path)
    with pytest.raises(ModelError, match=r"classifier.fc3.bias holds values that are not finite"):
        load_weights(model, path)
    del state["classifier.fc3.bias"]
    save_file(state, path)
    with pytest.raises(ModelError, match=r"missing tensors classifier.fc3.bias"):
        load_weights(model, path)


# --- Fashion-MNIST ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "per_class"),
    [(fashion_mnist.test_images, {100}), (fashion_mnist.calibration_images, {25, 26})],
)
def test_committed_subsets_keep_the_input_contract(load: object, per_class: set[int]) -> None:
    assert callable(load)
    images, labels = load()
    assert images.dtype == np.float32
    assert images.shape[1:] == (1, 32, 32)
    assert images.min() == 0.0
    assert images.max() == 1.0
    border = images.copy()
    border[:, :, 2:30, 2:30] = 0
    assert not border.any()
    assert labels.dtype == np.int64
    assert set(np.bincount(labels, minlength=10).tolist()) == per_class


def test_calibration_shares_no_image_with_the_test_images() -> None:
    calibration = {image.tobytes() for image in fashion_mnist.calibration_images().images}
    assert not any(image.tobytes() in calibration for image in fashion_mnist.test_images().images)


def test_idx_files_round_trip(tmp_path: Path) -> None:
    images = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.array([9, 0, 4], np.uint8))
    loaded = fashion_mnist.load_split("test", tmp_path)
    assert loaded.labels.tolist() == [9, 0, 4]
    np.testing.assert_array_equal(np.rint(loaded.images[:, 0, 2:30, 2:30] * 255), images)


def test_missing_folder_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not exist; install .*apt-get install dataset-fashion-mnist"):
        fashion_mnist.load_split("train", tmp_path / "nowhere")


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ModelError, match="split 'valid' does not exist"):
        fashion_mnist.load_split("valid")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "not a whole gzip file"),
        (gzip.compress(bytes((0, 0, 8, 3)) + bytes(40))[:-9], "not a whole gzip file"),
        (gzip.compress(bytes((0, 0, 13, 3)) + bytes(40)), "starts with bytes 00000d03"),
        (gzip.compress(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2, 28, 28) + bytes(9)), "9 bytes of data"),
    ],
    ids=["not gzip", "truncated", "wrong type", "too short"],  # the bytes carry the time of day
)
def test_damaged_idx_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        fashion_mnist.load_split("train", tmp_path)


def test_label_count_and_range_are_checked(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((2, 28, 28), np.uint8))
    for labels in ([1], [1, 10]):
        write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array(labels, np.uint8))
        with pytest.raises(ModelError, match="one label from 0 to 9 for each image"):
            fashion_mnist.load_split("train", tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged"])
def test_damaged_subset_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "subset.npz"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"subset.npz is damaged"):
        fashion_mnist.read_subset(path)


def test_missing_subset_names_the_script(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"make_fashion_mnist_subset.py"):
        fashion_mnist.read_subset(tmp_path / "subset.npz")


@pytest.mark.skipif(not fashion_mnist.DEFAULT_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_committed_subsets_are_what_the_script_makes(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_fashion_mnist_subset.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True, capture_output=True)
    for committed in (fashion_mnist.TEST_SUBSET, fashion_mnist.CALIBRATION_SUBSET):
        made, kept = fashion_mnist.read_subset(tmp_path / committed.name), fashion_mnist.read_subset(committed)
        np.testing.assert_array_equal(made.images, kept.images)
        np.testing.assert_array_equal(made.labels, kept.labels)
