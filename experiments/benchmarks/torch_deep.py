"""DSGD on a ring of VGG-11 or a ResNet in PyTorch, one model after the other.

A script of its own, for an interpreter with PyTorch and NumPy; prints JSON with
``node_steps_per_s``, the median over calls. The networks are those of
``tele_jax.tasks.models``, layer by layer; images are random.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional

NUM_EXAMPLES, LEARNING_RATE = 256, 0.05


def conv(maps: int, features: int, size: int, stride: int = 1, *, bias: bool) -> list:
    """A convolution and GroupNorm(8)."""
    layer = nn.Conv2d(maps, features, size, stride, padding=size // 2, bias=bias)
    return [layer, nn.GroupNorm(8, features)]


def vgg11() -> nn.Module:
    """64 M 128 M 256 256 M 512 512 M 512 512 M and a dense layer."""
    layers: list[nn.Module] = []
    maps = 3
    for stage in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for features in stage:
            layers += [*conv(maps, features, 3, bias=True), nn.ReLU()]
            maps = features
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


class Block(nn.Module):
    """A basic block of two convolutions."""

    def __init__(self, maps: int, features: int, stride: int) -> None:
        super().__init__()
        self.long = nn.Sequential(
            *conv(maps, features, 3, stride, bias=False),
            nn.ReLU(),
            *conv(features, features, 3, bias=False),
        )
        self.short = nn.Identity()
        if maps != features:
            self.short = nn.Sequential(*conv(maps, features, 1, stride, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """relu(x' + F(x))."""
        return functional.relu(self.short(x) + self.long(x))


def resnet(widths: tuple[int, ...], num_blocks: int) -> nn.Module:
    """Stages of basic blocks; a later stage halves the maps."""
    maps = widths[0]
    layers: list[nn.Module] = [*conv(3, maps, 3, bias=False), nn.ReLU()]
    for features in widths:
        for _ in range(num_blocks):
            layers.append(Block(maps, features, features // maps))
            maps = features
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(maps, 10)
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "vgg11": vgg11,
    "resnet18": partial(resnet, (64, 128, 256, 512), num_blocks=2),
    "resnet20": partial(resnet, (16, 32, 64), num_blocks=3),
}


def arguments() -> argparse.Namespace:
    """The flags of the benchmark's other scripts, and the layout of the maps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args()


def examples(
    num_nodes: int, draw: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images and labels of every node."""
    images = draw.normal(size=(num_nodes, NUM_EXAMPLES, 3, 32, 32)).astype(np.float32)
    labels = draw.integers(10, size=(num_nodes, NUM_EXAMPLES))
    return torch.from_numpy(images), torch.from_numpy(labels)


def main() -> None:
    """Time it."""
    args = arguments()
    torch.set_num_threads(args.threads)
    if args.device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as jax has it
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    make = MODELS[args.model]
    models = [make().to(args.device, memory_format=layout) for _ in range(args.n)]
    draw = np.random.default_rng(1)
    images, labels = (part.to(args.device) for part in examples(args.n, draw))

    def one_round() -> None:
        for node, model in enumerate(models):
            picks = torch.from_numpy(draw.integers(NUM_EXAMPLES, size=args.batch))
            batch = images[node, picks].contiguous(memory_format=layout)
            loss = functional.cross_entropy(model(batch), labels[node, picks])
            parameters = list(model.parameters())
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, gradients, alpha=-LEARNING_RATE)
        gossip(models)

    def seconds() -> float:
        wait()
        start = time.perf_counter()
        for _ in range(args.rounds):
            one_round()
        wait()
        return time.perf_counter() - start

    def wait() -> None:
        if args.device == "cuda":
            torch.cuda.synchronize()

    one_round()
    median = statistics.median(seconds() for _ in range(args.repeats))
    print(json.dumps({"node_steps_per_s": args.n * args.rounds / median}))


@torch.no_grad()
def gossip(models: list[nn.Module]) -> None:
    """x_i ← (x_{i−1} + x_i + x_{i+1}) / 3, parameter by parameter."""
    number = len(models)
    for slots in zip(*(model.parameters() for model in models), strict=True):
        # In place where it can be: four times as fast as rolls of one stacked array.
        mixed = [
            (slots[i - 1] + slots[i]).add_(slots[(i + 1) % number]).div_(3)
            for i in range(number)
        ]
        for own, new in zip(slots, mixed, strict=True):
            own.copy_(new)


if __name__ == "__main__":
    main()
