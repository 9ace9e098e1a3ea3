"""Reads what torch.save wrote before PyTorch 1.6, without running any code of the file's.

The file is a row of pickles: a magic number, the protocol, facts about the machine, the structure,
and the keys of the storages; then for each key the number of elements (i64) and the elements. Only
the structure knows their dtypes, so it is read twice: for these, then with the storages at hand.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from graphc.errors import FileFormatError
from graphc.frontend.files.locations import Place
from graphc.frontend.files.pickled import DAMAGE, Call, read_pickle
from graphc.frontend.files.torchfile import Record, Storages, StorageType, elements
from graphc.ir.types import Array

MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")  # a pickled integer of ten bytes
PROTOCOL = 1001


def is_old_torch(data: bytes) -> bool:
    return data[:1] == b"\x80" and MAGIC in data[:32]


class Row(Storages):
    """The storages of such a file, each a part of its bytes."""

    def __init__(self, data: bytes, place: Place) -> None:
        super().__init__(place)
        self._data = data
        self._found: dict[str, Record] = {}
        self._parts: dict[str, memoryview] = {}

    def record(self, id: Any) -> Record:
        """The storage that ("storage", type, key, location, elements, part) names."""
        kind, storage, name, location, size, part = id
        if kind != "storage" or not isinstance(storage, StorageType) or not isinstance(name, str):
            raise ValueError(f"no id of a storage: {id!r:.100}")
        if part is not None or type(size) is not int or size < 0:
            raise ValueError(f"storage {name[:200]!r}: {size!r:.50} elements, part {part!r:.50}")
        record = Record(name, storage.dtype, size, str(location))
        if self._found.setdefault(name, record) != record:
            raise FileFormatError(f"storage {name[:200]!r} has two types")
        return record

    def array(self, record: Record) -> Array:
        return elements(self._parts[record.key], record.dtype, False)

    def value(self) -> Any:
        file = BytesIO(self._data)
        _, protocol, machine = (read_pickle(file, {}, self.record) for _ in range(3))
        if protocol != PROTOCOL or not isinstance(machine, dict) or not machine["little_endian"]:
            raise FileFormatError(
                f"a file of protocol {protocol!r:.50} and machine {machine!r:.100}"
            )
        start = file.tell()
        nothing = Call(lambda *args: None)
        calls = {k: v for k, v in self.names().items() if isinstance(v, Call) and "rebuild" in k}
        read_pickle(file, {**self.names(), **dict.fromkeys(calls, nothing)}, self.record)
        keys = read_pickle(file, {}, self.record)
        self._cut(keys, file.tell())
        file.seek(start)
        return read_pickle(file, self.names(), self.record)

    def _cut(self, keys: Any, at: int) -> None:
        """Find the bytes of each storage."""
        body = memoryview(self._data)
        for key in keys:
            record = self._found.get(key) if isinstance(key, str) else None
            if record is None:
                raise FileFormatError(f"storage {key!r:.200} is not in the structure")
            count = int.from_bytes(body[at : at + 8], "little", signed=True)
            end = at + 8 + record.size * record.dtype.itemsize
            if count != record.size or end > len(body):
                raise FileFormatError(
                    f"storage {key[:200]!r} has {count} elements, not {record.size}, or is cut off"
                )
            self._parts[key] = body[at + 8 : end]
            at = end
        if lost := set(self._found) - set(self._parts):
            raise FileFormatError(f"the file lacks storage {min(lost)[:200]!r}")

    def names(self) -> dict[str, Any]:
        return {**super().names(), "torch._utils._rebuild_tensor": Call(self.tensor)}


def from_old_torch(data: bytes, place: Place) -> Any:
    """As `from_torch`."""
    try:
        return Row(data, place).value()
    except FileFormatError:
        raise
    except DAMAGE as e:
        raise FileFormatError(f"the file is damaged: {e!s:.200}") from None
