"""The field's names for tensors and modules, as two tables, and how a name is looked up in them.

A name only proposes; shapes, siblings and values decide (see ``roles`` and ``layouts``). A line has a meaning, the
reason why these phrases have it, and the phrases: words in lower case, without numbers. ``^`` and ``$`` stand for the
beginning and the end of a name; without them a phrase matches anywhere. The first line that matches wins.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Meaning = Literal[
    # of a leaf
    "weight", "projection", "bias", "scale", "shift", "running_stat", "statistic", "rnn_weight", "rnn_bias", "part",
    "buffer", "average", "position", "token", "table", "gate", "state", "factor", "adapter",
    # of a module
    "norm", "activation", "matrix", "bilinear", "transposed", "depthwise", "stem", "downward", "upward", "rising",
    "falling",
    "nothing",
]  # fmt: skip

LONGEST = 128  # characters of a name that are looked at: names come from files, and files may be hostile
_LONGEST_PHRASE = 3  # words
_REMEMBERED = 8192  # names, since a checkpoint has the same ones in every block
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: what these phrases mean, and why."""

    meaning: Meaning
    reason: str
    phrases: tuple[str, ...]


LEAVES = (
    # variational layers keep a posterior, N(mu, softplus(rho)²), its noise and its prior
    Line("gate", "variational layers: the spread", ("^rho", "rho$")),
    Line("buffer", "variational layers: the noise", ("^eps weight", "^eps bias", "^eps kernel", "^eps w$", "^eps b$")),
    Line("buffer", "variational layers: the prior", ("^prior weight", "^prior bias", "^prior kernel", "^prior ")),
    Line("running_stat", "batch norm", ("^running mean$", "^running var$", "^num batches tracked$")),
    Line("running_stat", "batch norm of Keras", ("^moving mean$", "^moving variance$")),
    Line("statistic", "batch norm of Flax, if there is a norm", ("^mean$", "^var$")),
    Line("rnn_weight", "torch's recurrent layers and cells", ("^weight ih", "^weight hh", "^weight hr")),
    Line("rnn_weight", "recurrent layers of Keras", ("recurrent kernel$",)),
    Line("rnn_bias", "torch's recurrent layers and cells", ("^bias ih", "^bias hh")),
    Line("part", "weight norm: the norms of the rows", ("weight g$",)),
    Line("buffer", "spectral norm: singular vectors", ("weight u$", "weight v$")),
    Line("gate", "noisy layers: the spread of the noise", ("weight sigma$", "bias sigma$")),
    Line("weight", "noisy layers: the mean", ("weight mu$",)),
    Line("bias", "noisy layers: the mean", ("bias mu$",)),
    Line("buffer", "noisy layers: the noise", ("epsilon$",)),
    # adapters: factors are weights, the rest scales or rotates
    Line("adapter", "DoRA, AdaLoRA, DeLoRA", ("magnitude vector", "lora e$", "ranknum$", "delora lambda")),
    Line(
        "adapter", "IA3, OFT, BOFT, VeRA, FourierFT", ("ia l$", "oft r$", "boft", "vera lambda", "fourierft spectrum")
    ),
    Line("buffer", "VeRA: frozen factors", ("vera a", "vera b")),
    Line("adapter", "trained rows of a table", ("tokens delta",)),
    Line(
        "factor", "LoRA and kin; kohya says down and up", ("lora a", "lora b", "lora embedding", "lora down", "lora up")
    ),
    Line("factor", "LoHa, LoKr, GraLoRA", ("hada w", "lokr w", "gralora a", "gralora b")),
    # state-space models and linear recurrences; capital letters are the papers'
    Line("state", "Mamba and kin", ("^a log", "^a logs$", "^A$", "^D$", "^ds$", "^dt bias$", "^dt projs bias$")),
    Line("state", "S4", ("log dt$", "^a real$", "^a imag$", "log a real$", "inv a real$", "inv dt$")),
    Line("state", "RWKV", ("^time decay", "^time first", "^time faaaa", "^time mix", "^time maa")),
    Line("state", "RG-LRU", ("^recurrent param$", "^a param$")),
    # computed, not trained
    Line("buffer", "rotary and sinusoidal positions", ("inv freq", "freqs", "cached$", "^pe$", "float tensor$")),
    Line("buffer", "indices", ("ids$", "indices$", "index$", "idx$", "idxs$", "coords table$", "grid$")),
    Line("buffer", "masks", ("mask$", "masks$", "masked bias$")),
    Line("buffer", "ends of a range", ("lower bound$", "upper bound$")),
    Line("gate", "policies: the spread of actions", ("log std$", "logstd$")),
    Line("buffer", "detection: anchors and the mean image", ("anchors$", "mean$", "std$")),
    Line("buffer", "signal processing", ("window$", "^fb$", "fbank$", "fbanks$", "basis$", "filters$")),
    Line("buffer", "diffusion: the schedule", ("betas$", "alphas$", "cumprod", "posterior", "^sigmas$")),
    Line("average", "vector quantisation by moving averages", ("cluster size$", "embed avg$", "inited$", "initted$")),
    Line("buffer", "contrastive learning", ("queue$", "queue ptr$", "^center$")),
    Line("buffer", "bookkeeping", ("^version$", "^step$", "steps$", "num updates$", "extra state$")),
    Line("buffer", "quantisation", ("qweight$", "qzeros$", "zero point$", "input scale$", "weight scale$", "absmax$")),
    Line("buffer", "quantisation", ("weight scale inv$", "quant map$", "quant state", "amax$", "^scales$", "^scb$")),
    # learned scalars and tables that modulate
    Line("gate", "temperatures", ("logit scale", "logit bias", "logits$", "temperature", "tau$")),
    Line("gate", "adaptive norm", ("scale shift", "modulation$", "modulate table$", "modulation table$")),
    Line("gate", "attention sinks", ("sink$", "sinks$")),
    Line("gate", "graph attention: vectors that score", ("^att$", "^att src$", "^att dst$", "^attn l$", "^attn r$")),
    Line("gate", "gates and mixtures", ("alpha", "lambda", "^mix", "gating", "layer scale")),
    Line("gate", "a factor, whatever it is called", ("mult bias$",)),
    Line("bias", "mixture of experts: balances the router", ("correction bias$", "expert bias$")),
    # positions
    Line("position", "position tables", ("^pos$", "pos embed", "pos embedding", "pos embeddings", "pos emb", "posemb")),
    Line("position", "position tables", ("position", "positions", "positional", "pos enc", "^pos", "pos$")),
    Line("position", "relative positions", ("rel pos", "relative", "emb rel", "rel embed", "rel emb", "rel content")),
    Line("position", "a bias for each offset", ("pos bias", "bias table$", "attention biases", "alibi")),
    Line("position", "Transformer-XL's u and v, XLNet's s", ("^r w bias$", "^r r bias$", "^r s bias$", "^bias u$")),
    Line("position", "XLNet's segments", ("seg embed$",)),
    # learned vectors that stand in a sequence
    Line(
        "token", "classes, masks, registers", ("token$", "tokens$", "^cls$", "class embedding$", "cls emb", "mask emb")
    ),
    Line("token", "what stands in for masked frames", ("spec embed$",)),
    Line("token", "learned queries", ("query$", "queries$", "query embed", "latent$", "latents$", "^probe$")),
    Line("token", "ends of rows, fillers, prompts", ("newline$", "^pad", "^no ", "prompt$", "prompts$")),
    Line("token", "vector quantisation", ("codevectors$", "prototypes$")),
    Line("token", "extra keys and values", ("^bias k$", "^bias v$", "null kv$", "mem kv$", "mem k$", "mem v$")),
    # the plain names
    Line("weight", "torch; Flax and Keras; Haiku", ("^weight$", "^kernel$", "^w$", "^W$")),
    Line("projection", "a matrix of a custom layer, x @ w", ("proj$", "projection$", "projection weight$", "^root$")),
    Line("weight", "a matrix of a custom layer", ("weight$", "weights$", "kernel$", "projs$", "fn$", "^weight")),
    Line("bias", "everywhere; Haiku", ("^bias$", "^b$", "bias$", "biases$", "^bias")),
    Line("scale", "a norm, or a layer scale", ("^scale$", "^gamma$", "^g$", "^gain$", "norm scale$", "ln scale$")),
    Line("shift", "a norm, or an activation", ("^beta$", "^shift$")),
    Line("table", "lookup tables of Flax and Keras", ("embedding$", "embeddings$", "embed$", "emb$", "codebook$")),
)
"""What the last name of a tensor means."""

MODULES = (
    Line("adapter", "LoRA and kin", ("lora", "loha", "lokr", "dora")),
    Line("matrix", "what leads out of a table's width", ("unembed", "embed out$", "to logits$", "logits$")),
    Line("matrix", "linear layers", ("proj$", "projection$", "project$", "projector$", "linear$", "dense$", "fc$")),
    Line("matrix", "linear layers", ("^proj", "^linear", "^lin", "^fc", "^to", "^dense")),
    Line("matrix", "what leads into a table's width", ("to embedding$", "to embed$", "to emb$", "to tokens$")),
    Line("matrix", "patches are projected", ("patch embed", "patch embedding", "patch embeddings", "patch emb")),
    Line("matrix", "heads", ("head$", "classifier$", "output$", "out$", "score$", "decoder$", "output layer$")),
    Line("matrix", "heads", ("readout$", "prediction$", "predictions$", "predictor$", "prototypes$")),
    Line("position", "position tables", ("position", "positions", "positional", "pos embed", "pos emb", "posemb")),
    Line("position", "position tables", ("pos embedding", "pos embeddings", "pos enc", "posenc", "^wpe$", "pos$")),
    Line("position", "relative positions", ("rel pos", "relpos", "relative", "rel attn", "rel emb", "rel embeddings")),
    Line("position", "a bias for each offset", ("pos bias",)),
    Line("table", "a bias for each user or item", ("biases$",)),
    Line("table", "lookup tables", ("embed", "embeds", "embedding", "embeddings", "embedder", "emb", "embs", "^wte$")),
    Line("table", "lookup tables", ("lookup", "lut", "table", "codebook", "codebooks", "^shared$")),
    Line("table", "learned vectors in a sequence", ("token$", "tokens$", "reference points$")),
    Line("norm", "norms", ("norm", "norms", "normalization", "layernorm", "groupnorm", "batchnorm", "rmsnorm", "grn")),
    Line("norm", "layer, batch and group norm for short", ("ln", "bn", "gn", "layrnorm")),
    Line("activation", "activations with a slope", ("prelu", "act", "activation", "relu", "snake")),
    Line("bilinear", "bilinear layers", ("bilinear",)),
    Line("gate", "layer scales", ("^ls$", "layer scale$", "layerscale$")),
    Line("gate", "a factor for each element", ("affine$", "scaling$")),
)
"""What a layer is, by the module's own name."""

CONVOLUTIONS = (
    Line("transposed", "transposed convolutions", ("transpose", "transposed", "transp", "convtranspose")),
    Line("transposed", "transposed convolutions", ("deconv", "deconvs", "upconv", "transpconv", "conv t$", "convtr")),
    Line("depthwise", "depthwise convolutions", ("dw", "depthwise", "dwconv", "dconv")),
    Line("stem", "where a signal of one channel enters", ("stem", "conv in$", "conv init$", "conv pre$", "patch")),
    Line("downward", "layers that shrink", ("down", "downsample", "downsampler", "encoder", "sr", "reduction")),
    Line("upward", "layers that enlarge", ("up", "ups", "upsample", "upsampler", "upsamplers", "upsampling")),
    Line("upward", "layers that enlarge", ("upscale", "upscaler", "upscalers", "decoder", "fpn", "resize")),
)
"""Which way a convolution goes, by the names of the modules around it."""

FEED_FORWARD = (
    Line("falling", "the last matrix", ("down", "wo", "fc out", "w out$", "out", "output")),
    Line("rising", "the first matrix", ("up", "gate", "wi", "fc in", "w in$", "in", "input")),
)
"""Which end of a feed-forward block a matrix is at."""

_NUMBERED: dict[str, Meaning] = {"1": "rising", "2": "falling", "3": "rising"}

EXPERTS = frozenset({"expert", "experts", "moe"})
"""Words for a mixture of experts."""

LENGTH = re.compile(r"(weight_g|weight_u|original0|\b_u)$")
DIRECTION = re.compile(r"(weight_v|weight_orig|original[01]?)$")
"""How the names of their parts end: the length that is kept apart or divided out, and the tensor that it divides."""

TRANSPARENT = frozenset({
    ("default",),  # an adapter's name, and anything there is only one of
    ("base", "layer"),  # what an adapter wraps
    ("module",),  # parallel wrappers
    ("orig", "mod"),  # torch.compile
    ("vars",),  # Keras 3 numbers a layer's variables
    ("weights",),  # a list of parameters
})  # fmt: skip
"""Names of modules that only hold another one, which then goes by the name of the module around."""


Table = dict[str, tuple[int, Meaning]]


def _index(lines: Sequence[Line]) -> Table:
    """The lines by phrase, with the place that decides which is the first."""
    table: Table = {}
    for place, line in enumerate(lines):
        for phrase in line.phrases:
            table.setdefault(phrase, (place, line.meaning))
    return table


_LEAVES, _MODULES, _CONVOLUTIONS, _FEED_FORWARD = map(_index, (LEAVES, MODULES, CONVOLUTIONS, FEED_FORWARD))


def words(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case and without numbers: ``gate_up_proj1`` and ``GateUpProj`` have the same."""
    return _words(name[:LONGEST])


@lru_cache(maxsize=_REMEMBERED)
def _words(name: str) -> tuple[str, ...]:
    """The words of a name that is short enough to be kept."""
    return tuple(word.lower() for word in _WORD.findall(name))


def leaf(name: str) -> Meaning:
    """What a tensor's last name proposes; a single letter counts as it is written, since ``D`` is not ``d``."""
    if len(name) == 1 and name.isupper():
        return _LEAVES.get(f"^{name}$", (0, "nothing"))[1]
    return _find(_LEAVES, words(name))


@lru_cache(maxsize=_REMEMBERED)
def module(words: tuple[str, ...]) -> Meaning:
    """What kind of layer a module's name of these words proposes."""
    return _find(_MODULES, words)


@lru_cache(maxsize=_REMEMBERED)
def convolution(words: tuple[str, ...]) -> Meaning:
    """Which way a convolution goes in a module of this name."""
    return _find(_CONVOLUTIONS, words)


def feed_forward(name: str) -> Meaning:
    """Which end of a feed-forward block a matrix of this name is at; of numbered ones the second is the last."""
    said = _find(_FEED_FORWARD, words(name))
    if said == "nothing" and name[-1:] in _NUMBERED:
        return _NUMBERED[name[-1]]
    return said


def expert(words: tuple[str, ...]) -> bool:
    """Whether a module's name speaks of experts."""
    return not EXPERTS.isdisjoint(words)


def _find(table: Table, words: tuple[str, ...]) -> Meaning:
    """The meaning of the first line of a table of which a phrase matches these words."""
    best: tuple[int, Meaning] = (len(table), "nothing")
    for first in range(len(words)):
        for last in range(first + 1, min(first + _LONGEST_PHRASE, len(words)) + 1):
            phrase = " ".join(words[first:last])
            for begin in ("", "^") if first == 0 else ("",):
                for end in ("", "$") if last == len(words) else ("",):
                    best = min(best, table.get(f"{begin}{phrase}{end}", best))
    return best[1]
