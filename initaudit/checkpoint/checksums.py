"""The checksums of an archive's records: held against what is read anyway, as far as that is whole records."""

import zlib
from bisect import bisect_left
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.archive import MOST_INFLATED, Record
from initaudit.checkpoint.values import Checksum, Shard

if TYPE_CHECKING:
    from initaudit.checkpoint.reading import Reader, Source

PIECE_BYTES = 1 << 19
"""What is read of a record at a time where it is read for its checksum alone."""


@dataclass(slots=True)
class Checked:
    """A source that adds up what is read of a tensor from its begin on; what is read once more counts once."""

    source: "Source"
    checksum: Checksum
    at: int
    end: int
    total: int

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """The bytes ``[begin, end)``; not to be written to, and overwritten by the next call."""
        data = self.source.read(begin, end)
        if begin == self.at < self.end:
            self.total = zlib.crc32(data.data, self.total)
            self.at = end
        return data

    @property
    def is_wrong(self) -> bool:
        """Whether the whole was read and is not what its checksum says."""
        return self.at == self.end and self.total != self.checksum.stated


def with_checksums(shard: Shard, records: Mapping[str, Record]) -> Shard:
    """A shard of an archive of PyTorch's, with the checksums of the records that its tensors lie in.

    Where all are 0, as PyTorch can be told, none was written. What belongs to no tensor of the state dict, such as the
    state of an optimiser, is not read for its checksum alone.
    """
    if not any(record.checksum for record in records.values()):
        return shard
    begins = sorted(entry.begin for entry in shard.entries if entry.size)
    kept = []
    for record in records.values():
        at = bisect_left(begins, record.begin)
        if "/data/" not in record.name or (at < len(begins) and begins[at] < record.end):
            kept.append(record)
    places = {(record.begin, record.end): record for record in kept}
    sums = {}
    for entry in shard.entries:
        whole = places.get((entry.begin, entry.end))
        if whole is not None and not entry.shared_with:
            sums[entry.name] = Checksum(whole.name, whole.checksum)
    return replace(shard, records=tuple(kept), sums=sums)


def wrong_records(reader: "Reader", but: Container[str]) -> Iterator[Record]:
    """The records of an open shard that are not what their checksums say, but for those of some names."""
    for record in reader.shard.records:
        is_bomb = record.is_packed and record.size > MOST_INFLATED
        if record.name not in but and not is_bomb and _is_wrong(reader, record):
            yield record


def _is_wrong(reader: "Reader", record: Record) -> bool:
    total = size = 0
    stream = zlib.decompressobj(-zlib.MAX_WBITS) if record.is_packed else None
    for begin in range(record.begin, record.end, PIECE_BYTES):
        raw = reader.read(begin, min(begin + PIECE_BYTES, record.end)).tobytes()
        try:
            while raw:
                data = stream.decompress(raw, PIECE_BYTES) if stream else raw
                raw = stream.unconsumed_tail if stream else b""
                total, size = zlib.crc32(data, total), size + len(data)
                if size > record.size:
                    return True
        except zlib.error:
            return True
    return (total, size) != (record.checksum, record.size)
