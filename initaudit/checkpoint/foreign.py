"""What is no checkpoint that is read, by its content or its name: said for what it is, with a way on."""

import re
from collections.abc import Set
from pathlib import Path

CONVERT = "load it where it comes from and save the state dict as safetensors"
IN_KERAS = "load it in Keras and save its weights as safetensors"
IN_FLAX = "load it in Flax and save the flattened parameters by safetensors.flax.save_file"
DCP_SLICES = "is a part of a folder of torch.distributed.checkpoint: name the folder, which is read as a whole"
ZERO_PARTITION = (
    "is a partition of DeepSpeed's ZeRO, which holds no whole tensors: python zero_to_fp32.py FOLDER OUTPUT "
    "--safe_serialization"
)
MEGATRON_RANKS = (
    "is a folder of Megatron's ranks, each with slices of tensors, which are not read: convert it by "
    "tools/checkpoint/convert.py of Megatron-LM, or by AutoBridge.export_ckpt of Megatron Bridge"
)
UNPACK = "unpack it and name the weight file inside"
WEB_PAGE = "is a web page, not a checkpoint: was the download refused?"
ONNX = f"is an ONNX file, a program that was exported, not a checkpoint: {CONVERT}"
MSGPACK = f"is a msgpack file, as Flax saves parameters, which is not read: {IN_FLAX}"
TENSORFLOW = (
    "is a checkpoint of TensorFlow, which is not read: read it by tf.train.load_checkpoint and save as safetensors"
)

GGUF = (
    "is a GGUF file, which is made for inference after training, not a safetensors file: check the model from which it "
    "was converted"
)
ARRAY = "is a single array of NumPy: save it under its tensor's name by numpy.savez"

# How other things begin that get the suffix by mistake. What is said about them names the way out.
_MARKS = (
    (rb"version https://git-lfs", "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (rb"\s*(?i:<!doctype|<html)", WEB_PAGE),
    (rb"\x89HDF", f"is an HDF5 file, as Keras saves weights, not a safetensors file: {IN_KERAS}"),
    (rb"GGUF|lmgg|tjgg|fmgg", GGUF),
    (rb"\x93NUMPY", ARRAY),
    (rb"\x08[\x01-\x20](?=[\x12\x1a\x22\x2a\x32\x3a\x42])", ONNX),
    (rb"(?s:....)TFL3", f"is a TensorFlow Lite file, which is made for inference: {CONVERT}"),
    (rb"[\x81-\x8f][\xa1-\xbf\xd9]|\xde..[\xa1-\xbf\xd9]|\xdf....[\xa1-\xbf\xd9]", MSGPACK),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", f"is a compressed file: {UNPACK}"),
    (rb"(?s:.{257})ustar", f"is a tar archive: {UNPACK}"),
)
_CONTENTS = tuple((re.compile(mark, re.DOTALL), said) for mark, said in _MARKS)

_NAMES = (
    (r".*\.distcp|\.metadata", DCP_SLICES),
    (r"(bf16_|fp16_)?zero_pp_rank_\d+_mp_rank_\d+_(model|optim)_states\.pt", ZERO_PARTITION),
    (r".*\.gguf|.*\.ggml", GGUF),
    (r".*\.(h5|hdf5|keras)", f"is a file of Keras, HDF5 inside, which is not read: {IN_KERAS}"),
    (r".*\.onnx", ONNX),
    (r".*\.(msgpack|flax)", MSGPACK),
    (r".*\.tflite", f"is a TensorFlow Lite file, which is made for inference: {CONVERT}"),
    (r".*\.data-\d{5}-of-\d{5}|.*\.ckpt(-\d+)?\.(index|meta)", TENSORFLOW),
    (
        r"saved_model\.pb",
        "is a SavedModel of TensorFlow, a program, which is not read: save its variables as safetensors",
    ),
    (r".*\.npy", ARRAY),
    (r".*\.nemo", f"is a tar archive of NeMo: {UNPACK}"),
    (r".*\.pdparams", f"is a file of PaddlePaddle, which is not read: {CONVERT}"),
)
_FILES = tuple((re.compile(name), said) for name, said in _NAMES)

_RANK = re.compile(r"mp_rank_\d+(_\d+)*")
"""How Megatron names the folders of its ranks; where there is one alone, its tensors are whole."""

_URL = re.compile(r"(?i)(s3|gs|gcs|az|abfss?|azure|https?|hf|ftp|sftp|ssh|hdfs|r2|oss|file):/{1,3}(?=[^/])")
_LOGIN = re.compile(r"//[^/@]*@")

ORBAX = {"manifest.ocdbt", "_CHECKPOINT_METADATA"}
"""Files that mark a folder as one of Orbax."""

STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def foreign_content(start: bytes) -> str | None:
    """What a file is whose first bytes are another format's, with a way on; None if they are no known one's."""
    return next((said for mark, said in _CONTENTS if mark.match(start)), None)


def foreign_file(name: str, beside: Set[str] = frozenset()) -> str | None:
    """What a file of this name is, ``beside`` others, if it is weights in a format that is not read."""
    if name.endswith(".bin") and f"{name.removesuffix('.bin')}.xml" in beside:
        return f"is a file of OpenVINO, which is made for inference: {CONVERT}"
    return next((said for pattern, said in _FILES if pattern.fullmatch(name)), None)


def foreign_folder(folder: Path, names: Set[str]) -> str | None:
    """What a folder that holds these names is, if it is one checkpoint in a format that is not read."""
    if sum(_RANK.fullmatch(name) is not None for name in names) > 1:
        return MEGATRON_RANKS
    if names & ORBAX:
        return "is a folder of Orbax, which is not read: restore it there and save the parameters as safetensors"
    return None


def not_on_disk(path: Path) -> tuple[str, str] | None:
    """What a path is that names no file of this machine, and why it is not read: a URL or standard input.

    Of a URL what may be secret, a login or a signature, is left out.
    """
    text = str(path).replace("\\", "/")
    scheme = _URL.match(text)
    if scheme and not _is_there(path):
        rest = text[scheme.end() :].partition("?")[0].partition("#")[0]
        shown = _LOGIN.sub("//", f"{scheme[1]}://{rest}")
        return shown, "is a URL, and nothing is fetched: download it, and name the file or folder that it became"
    if text in STANDARD_INPUT and not path.is_file():  # what is redirected from a file can be read as one
        return text, "is standard input, which is not read: a checkpoint is read by offset, so write it to a file first"
    return None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no file can have so long a name
        return False
