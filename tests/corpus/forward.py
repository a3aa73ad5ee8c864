"""The signal at the start, told from values alone, beside that of a forward pass of released models.

    python tests/corpus/forward.py          # needs transformers; a minute

A line for each model: its loss on random tokens and its growth from behind the first block to behind the last, each as
measured and as told; and the number of parameters that a batch gives no gradient.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers as library
from torch import nn

from initaudit.modules import understood_live
from initaudit.modules.reaching import reach
from initaudit.signal import TOKENS, growth_of, loss_of

VOCABULARY = 2000
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 8}
GATED = SMALL | {"intermediate_size": 768, "num_key_value_heads": 8}
WIDE = SMALL | {"intermediate_size": 1024}


def by_fan(model: nn.Module) -> None:
    """Draw all matrices of the blocks with 1/√fan_in."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and (".h." in name or "layers." in name):
            nn.init.normal_(parameter, 0, parameter.shape[0 if "c_" in name else 1] ** -0.5)


def loud_outputs(model: nn.Module) -> None:
    """Make the outputs of all branches five times too large."""
    for name, parameter in model.named_parameters():
        if name.endswith("c_proj.weight"):
            parameter.data.mul_(5)


def models() -> Iterator[tuple[str, nn.Module]]:
    """Models as they are released, and two recipes that were altered."""

    def gpt2() -> nn.Module:
        return library.GPT2LMHeadModel(library.GPT2Config(vocab_size=VOCABULARY, n_embd=256, n_layer=12, n_head=8))

    def llama() -> nn.Module:
        return library.LlamaForCausalLM(library.LlamaConfig(**GATED))

    yield "GPT-2", gpt2()
    yield "Llama", llama()
    yield "GPT-NeoX", library.GPTNeoXForCausalLM(library.GPTNeoXConfig(**WIDE))
    yield "OPT", library.OPTForCausalLM(library.OPTConfig(**SMALL, ffn_dim=1024, word_embed_proj_dim=256))
    yield "Gemma", library.GemmaForCausalLM(library.GemmaConfig(**GATED, head_dim=32))
    yield "Qwen2", library.Qwen2ForCausalLM(library.Qwen2Config(**GATED))
    yield "Granite", library.GraniteForCausalLM(library.GraniteConfig(**GATED, logits_scaling=8.0))
    yield "ViT", library.ViTModel(library.ViTConfig(**(WIDE | {"image_size": 126, "patch_size": 16})))
    altered: tuple[tuple[str, Callable[[], nn.Module], Callable[[nn.Module], None]], ...] = (
        ("GPT-2, outputs x 5", gpt2, loud_outputs),
        ("GPT-2, 1/√fan", gpt2, by_fan),
        ("Llama, 1/√fan", llama, by_fan),
    )
    for name, make, change in altered:
        model = make()
        change(model)
        yield name, model


def measured(model: nn.Module) -> tuple[float | None, float, dict[str, Any]]:
    """The loss on random tokens, the growth of the stream, and the batch."""
    seen: list[float] = []
    blocks = next(one for one in model.modules() if isinstance(one, nn.ModuleList) and len(one) == 12)

    def note(_: nn.Module, __: Any, given: Any) -> None:
        seen.append(float((given[0] if isinstance(given, tuple) else given).square().mean().sqrt()))

    hooks = [block.register_forward_hook(note) for block in blocks]
    ids, targets = (torch.randint(0, VOCABULARY, (8, TOKENS)) for _ in range(2))
    batch = {"pixel_values": torch.randn(4, 3, 126, 126)} if "ViT" in type(model).__name__ else {"input_ids": ids}
    with torch.no_grad():
        logits = getattr(model(**batch), "logits", None)
    for hook in hooks:
        hook.remove()
    loss = None if logits is None else float(nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()))
    return loss, seen[-1] / seen[0], batch


def main() -> None:
    torch.manual_seed(0)
    for name, model in models():
        model.eval()
        loss, growth, batch = measured(model)
        known = understood_live(model).model
        told, said = loss_of(known), growth_of(known)
        losses = f"loss {loss:.3f} told {told.nats:.3f}" if loss is not None and told is not None else ""
        growths = f"growth {growth:.3f} told {said.factor:.3f}" if said is not None else f"growth {growth:.3f} not told"
        unreached = [one for one, when in reach(model, batch).items() if not when.learns]
        print(f"{name:18s} {losses:28s} {growths:32s} without a gradient: {', '.join(unreached[:4]) or 'none'}")


if __name__ == "__main__":
    main()
