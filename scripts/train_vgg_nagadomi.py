"""Train the quarter-width VGG-nagadomi on Fashion-MNIST and write its weights and model card.

    python scripts/train_vgg_nagadomi.py [--epochs 18] [--seed 1] [--out FOLDER] [--checkpoint FILE] [--threads 1]

Needs the Debian package `dataset-fashion-mnist`. An interrupted run goes on from its checkpoint. On Linux,
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 in the environment makes it 12 to 26 % faster.
"""

import argparse
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from models import ModelError, fashion_mnist, train  # noqa: E402
from models.vgg_nagadomi import QUARTER_WEIGHTS, VggNagadomi  # noqa: E402

CONV_DROPOUT, FC_DROPOUT = 0.05, 0.25
"""Less than the full-width network's 0.25 and 0.5: a quarter of the channels overfits less."""


def arguments() -> argparse.Namespace:
    """The command line."""
    defaults = train.Recipe()
    parser = argparse.ArgumentParser(description="Train the quarter-width VGG-nagadomi on Fashion-MNIST.")
    parser.add_argument("--epochs", type=int, default=defaults.epochs)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="folder of the IDX files")
    parser.add_argument("--out", type=Path, default=QUARTER_WEIGHTS.parent, help="folder of weights and card")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "build" / "train" / "vgg_nagadomi_quarter.pt")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Train, export, and say how accurate the stored weights are."""
    args = arguments()
    torch.set_num_threads(args.threads)
    recipe = train.Recipe(epochs=args.epochs, seed=args.seed)
    train_data, holdout, test = train.load_data(args.data)
    torch.manual_seed(args.seed)
    model = VggNagadomi(width=0.25, in_channels=1, conv_dropout=CONV_DROPOUT, fc_dropout=FC_DROPOUT)
    progress = train.train(model, train_data, holdout, recipe, args.checkpoint, lambda line: print(line, flush=True))
    command = f"python scripts/train_vgg_nagadomi.py --epochs {args.epochs} --seed {args.seed}"
    card = train.export(progress, recipe, test, args.out, command)
    print(f"accuracy {card['float_accuracy']} % on 10,000 test images, {card['float_accuracy_1000']} % on the 1,000")


if __name__ == "__main__":
    try:
        main()
    except ModelError as error:
        sys.exit(f"error: {error}")
