"""What the `model_type` of a ``config.json`` says of a recipe that the numbers alone do not."""

from collections.abc import Mapping
from typing import Any

ZERO_CENTRED_NORMS = {
    "gemma": "transformers GemmaRMSNorm: x·(1 + weight)",
    "gemma2": "transformers Gemma2RMSNorm: x·(1 + weight)",
    "gemma3": "transformers Gemma3RMSNorm: x·(1 + weight)",
    "gemma3_text": "transformers Gemma3RMSNorm: x·(1 + weight)",
    "recurrent_gemma": "transformers RecurrentGemmaRMSNorm: x·(1 + weight)",
    "qwen3_next": "transformers Qwen3NextRMSNorm: x·(1 + weight); its gated norm is not",
    "qwen3_5": "transformers Qwen3_5RMSNorm: x·(1 + weight); its gated norm is not",
    "qwen3_5_text": "transformers Qwen3_5RMSNorm: x·(1 + weight); its gated norm is not",
    "nemotron": "transformers NemotronLayerNorm1P: x·(1 + weight)",
}
"""Architectures whose norms add one to their scale, which therefore starts at zero, with where that stands."""

SCALED_RESIDUALS = {
    "gpt2": "Radford et al. 2019: residual layers by 1/sqrt(N)",
    "gpt_bigcode": "Ben Allal et al. 2023 (SantaCoder), as GPT-2",
    "decision_transformer": "Chen et al. 2021, as GPT-2",
    "imagegpt": "Chen et al. 2020, as GPT-2",
    "modernbert": "Warner et al. 2024 (ModernBERT): full Megatron initialisation",
}
"""Architectures whose residual outputs are drawn smaller by √(2L), with where that stands."""


def architecture_of(config: Mapping[str, Any]) -> str:
    """The `model_type` of the text model that a configuration describes, "" where it says none."""
    inner = config.get("text_config")
    described = inner if isinstance(inner, Mapping) and "model_type" in inner else config
    found = described.get("model_type")
    return found if isinstance(found, str) else ""
