"""Draw each scheme of the catalogue in shapes of the corpus, alone in a file, and ask for its name."""

import argparse
import math
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from corpus import models
from safetensors.torch import save_file

from initaudit.understanding import open_paths, read

Draw = Callable[[torch.Tensor, int, int], object]


def normal(std: Callable[[int, int], float]) -> Draw:
    return lambda tensor, fan_in, fan_out: tensor.normal_(0, std(fan_in, fan_out))


def uniform(std: Callable[[int, int], float]) -> Draw:
    def draw(tensor: torch.Tensor, fan_in: int, fan_out: int) -> None:
        bound = math.sqrt(3) * std(fan_in, fan_out)
        tensor.uniform_(-bound, bound)

    return draw


def truncated(std: Callable[[int, int], float], cut: int) -> Draw:
    def draw(tensor: torch.Tensor, fan_in: int, fan_out: int) -> None:
        parent = std(fan_in, fan_out)
        torch.nn.init.trunc_normal_(tensor, std=parent, a=-cut * parent, b=cut * parent)

    return draw


SCHEMES: dict[str, tuple[str, Draw]] = {
    "lecun_normal": ("normal", normal(lambda i, o: i**-0.5)),
    "lecun_uniform": ("uniform", uniform(lambda i, o: i**-0.5)),
    "lecun_trunc_normal": ("trunc_normal", truncated(lambda i, o: i**-0.5 / 0.87962566103, 2)),
    "xavier_normal": ("normal", normal(lambda i, o: (2 / (i + o)) ** 0.5)),
    "xavier_uniform": ("uniform", uniform(lambda i, o: (2 / (i + o)) ** 0.5)),
    "xavier_normal(1.667)": ("normal", normal(lambda i, o: 5 / 3 * (2 / (i + o)) ** 0.5)),
    "kaiming_normal(fan_in, relu)": ("normal", normal(lambda i, o: (2 / i) ** 0.5)),
    "kaiming_normal(fan_out, relu)": ("normal", normal(lambda i, o: (2 / o) ** 0.5)),
    "kaiming_uniform(fan_in, relu)": ("uniform", uniform(lambda i, o: (2 / i) ** 0.5)),
    "kaiming_uniform(fan_out, relu)": ("uniform", uniform(lambda i, o: (2 / o) ** 0.5)),
    "torch_default": ("uniform", uniform(lambda i, o: (3 * i) ** -0.5)),
    "small_init": ("normal", normal(lambda i, o: (2 / (5 * i)) ** 0.5)),
    "normal(0.02)": ("normal", normal(lambda i, o: 0.02)),
    "normal(0.01)": ("normal", normal(lambda i, o: 0.01)),
    "normal(1)": ("normal", normal(lambda i, o: 1.0)),
    "trunc_normal(0.01759)": ("trunc_normal", truncated(lambda i, o: 0.02, 2)),
    "trunc_normal(0.01973)": ("trunc_normal", truncated(lambda i, o: 0.02, 3)),
    "orthogonal": ("orthogonal", lambda tensor, i, o: torch.nn.init.orthogonal_(tensor)),
}
FAMILIES = {"torch_default": "uniform", "small_init": "normal", "orthogonal": "orthogonal"}


def family_of(name: str) -> str:
    """The family that a scheme's name implies."""
    return FAMILIES.get(name, "trunc_normal" if "trunc" in name else "uniform" if "uniform" in name else "normal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--shapes", type=int, default=40)
    arguments = parser.parse_args()
    shapes = sorted(
        {
            (tuple(t["shape"]), t["fan_in"], t["fan_out"])
            for _, truth in models(arguments.corpus)
            for t in truth["tensors"]
            if t["role"] == "weight" and t["layout"] == "out_in" and (t["groups"] or 1) == 1
            and 1024 <= t["numel"] <= 600_000 and min(t["shape"][:2]) >= 8
        }
    )  # fmt: skip
    torch.manual_seed(0)
    counts: Counter[str] = Counter()
    for shape, fan_in, fan_out in random.Random(0).sample(shapes, min(arguments.shapes, len(shapes))):
        for name, (family, draw) in SCHEMES.items():
            for dtype in (torch.float32, torch.bfloat16, torch.float16):
                tensor = torch.empty(shape)
                draw(tensor, fan_in, fan_out)
                with tempfile.TemporaryDirectory() as scratch:
                    path = Path(scratch) / "one.safetensors"
                    save_file({"layer.weight": tensor.to(dtype)}, path)
                    scheme = read(open_paths([path])[0][0]).schemes.get("layer.weight")
                counts["family asked"] += 1
                counts["family right"] += scheme is not None and family_of(scheme.name) == family
                if tensor.numel() < 4096:
                    continue
                counts["asked"] += 1
                if scheme is None:
                    counts["unnamed"] += 1
                    continue
                telling = [scheme.parameters[k] for k in ("mode", "gain", "nonlinearity") if k in scheme.parameters]
                if scheme.name in ("normal", "uniform", "trunc_normal"):
                    telling = [scheme.parameters["std"]]
                words = ", ".join(word if isinstance(word, str) else f"{word:.4g}" for word in telling)
                own = f"{scheme.name}({words})" if words and scheme.name != "orthogonal" else scheme.name
                named = name in (own, *scheme.equivalent)
                generic = not named and not scheme.equivalent and family_of(scheme.name) == family
                counts["named" if named else "family alone" if generic else "wrong"] += 1
    for what, count in sorted(counts.items()):
        print(f"{what:14s} {count}")


if __name__ == "__main__":
    main()
