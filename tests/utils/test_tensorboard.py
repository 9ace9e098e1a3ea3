"""SummaryWriter: PyTorch's arguments, and what stands in the event files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graphc

pytest.importorskip("tensorboardX")
from tensorboardX.proto import event_pb2

from graphc.utils.tensorboard import SummaryWriter


def values(folder: Path) -> Iterator[Any]:
    """All values of the files of a folder."""
    for path in sorted(folder.rglob("*tfevents*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            yield from ((event.step, v) for v in event.summary.value)
            at += size + 16


def test_what_scripts_write(tmp_path: Path) -> None:
    with SummaryWriter(log_dir=str(tmp_path)) as w:
        assert w.log_dir == w.get_logdir() == str(tmp_path)
        w.add_scalar("loss", graphc.tensor(0.5), graphc.tensor(2), new_style=True)
        w.add_scalars("both", {"a": graphc.tensor(1.0), "b": 2.0}, 3)
        w.add_histogram("weights", graphc.nn.Linear(3, 3).weight, 4)
        w.add_image("picture", graphc.rand(3, 4, 4), 5)
        w.add_image_with_boxes("boxes", graphc.rand(3, 8, 8), graphc.tensor([[1.0, 1, 4, 4]]))
        w.add_mesh("mesh", graphc.rand(1, 4, 3))
        w.add_hparams({"lr": graphc.tensor(0.1), "n": 3}, {"acc": 0.9}, run_name="run")
    found = {v.tag: (step, v) for step, v in values(tmp_path)}
    step, loss = found["loss"]
    assert step == 2 and loss.simple_value == 0.5
    assert found["acc"][1].simple_value == pytest.approx(0.9)
    assert found["weights"][1].histo.num == 9 and found["picture"][1].image.width == 4
    assert "boxes" in found and any("mesh" in tag for tag in found)
    assert found["both"][0] == 3


def test_no_graph_is_written_in_silence(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as w, pytest.warns(UserWarning, match="no graph of Linear"):
        w.add_graph(graphc.nn.Linear(2, 2), graphc.ones(1, 2))
