"""What a compiled step does besides computing happens at each call, in order, with true values."""

from __future__ import annotations

import array
import csv
import heapq
import io
import logging
import types
import warnings
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import IndexOutOfRange, Untraceable

SIZES = (1, 2, 3, 3)
Run = Callable[[Callable[[Any], Any]], Callable[[Any], Any]]


def fixed_net() -> nn.Linear:
    net = nn.Linear(2, 2)
    with graphc.no_grad():
        net.weight.copy_(graphc.tensor([[1.0, 2.0], [3.0, 4.0]]))
        net.bias.zero_()
    return net


def both(make: Callable[[list[Any]], Callable[[Any], Any]]) -> tuple[list[Any], list[Any], Any]:
    """What a step notes in eager code, and compiled; and the compiled one."""
    plain: list[Any] = []
    eager = make(plain)
    for k in SIZES:
        eager(graphc.ones(k, 2) * k)
    noted: list[Any] = []
    step = graphc.compile(make(noted))
    for k in SIZES:
        step(graphc.ones(k, 2) * k)
    return plain, noted, step


# ---- hooks -------------------------------------------------------------------------------------


def forward_hook(seen: list[Any]) -> Callable[[Any], Any]:
    net = fixed_net()
    net.register_forward_hook(lambda m, i, o: seen.append((tuple(o.shape), o.tolist())))
    return lambda x: net(x).sum()


def forward_pre_hook(seen: list[Any]) -> Callable[[Any], Any]:
    net = fixed_net()

    def look(module: Any, args: Any) -> None:
        if args[0].mean() > 1.5:
            seen.append(args[0].sum().item())

    net.register_forward_pre_hook(look)
    return lambda x: net(x).sum()


def hook_with_kwargs(seen: list[Any]) -> Callable[[Any], Any]:
    net = fixed_net()

    def look(module: Any, args: Any, kwargs: Any, out: Any) -> None:
        seen.append((kwargs["input"].sum().item(), out.sum().item()))

    net.register_forward_hook(look, with_kwargs=True)
    return lambda x: net(input=x * 2).sum()


class Recorder:
    def __init__(self, seen: list[Any]) -> None:
        self.seen, self.count, self.total, self.last = seen, 0, 0.0, {"mean": 0.0}

    def __call__(self, module: Any, args: Any, out: Any) -> None:
        self.count += 1
        self.total += out.abs().sum().item()
        self.last["mean"] = float(out.mean())
        self.note()

    def note(self) -> None:
        self.seen.append((self.count, self.total, self.last["mean"]))


def recorder(seen: list[Any]) -> Callable[[Any], Any]:
    net = fixed_net()
    net.register_forward_hook(Recorder(seen))
    return lambda x: net(x).sum()


def training_hooks(seen: list[Any]) -> Callable[[Any], Any]:
    """Hooks of every kind around one training step, in the order of eager code."""
    net = fixed_net()
    opt = optim.SGD(net.parameters(), lr=0.1)
    net.register_forward_hook(lambda m, i, o: seen.append(("forward", o.sum().item())))
    net.register_full_backward_hook(lambda m, i, o: seen.append(("backward", o[0].tolist())))
    w = net.weight
    w.register_hook(lambda g: seen.append(("gradient", g.tolist())))

    def accumulated(p: Any) -> None:
        seen.append(("accumulated", p is w, p.grad.tolist()))

    w.register_post_accumulate_grad_hook(accumulated)
    opt.register_step_pre_hook(lambda o, a, k: seen.append(("before", len(o.param_groups))))
    opt.register_step_post_hook(lambda o, a, k: seen.append(("after", w.tolist())))

    def step(x: Any) -> Any:
        loss = net(x).sum()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return step


MAKERS = [forward_hook, forward_pre_hook, hook_with_kwargs, recorder, training_hooks]


@pytest.mark.parametrize("make", MAKERS, ids=lambda f: f.__name__)
def test_hooks_that_only_look_run_at_each_call(make: Any) -> None:
    plain, noted, _ = both(make)
    assert noted == plain and plain


def test_hooks_cost_no_program() -> None:
    for make in (forward_hook, forward_pre_hook, recorder):
        assert both(make)[2].stats.programs == 1


@pytest.mark.parametrize(
    "hook",
    [
        lambda m, i, o: o * 2,
        lambda m, i, o: (o.mul_(2), None)[1],
        lambda m, i, o: o.__setitem__(0, 7.0),
    ],
)
def test_a_hook_that_matters_is_part_of_the_program(hook: Any) -> None:
    net = fixed_net()
    net.register_forward_hook(hook)
    x = graphc.ones(2, 2)
    with graphc.no_grad():
        plain = net(x).tolist()
        step = graphc.compile(lambda x: net(x))
        assert [step(x).tolist(), step(x).tolist()] == [plain, plain]


def test_a_hook_whose_notes_the_step_uses_is_part_of_the_program() -> None:
    net, features = fixed_net(), {}

    def keep(module: Any, args: Any, out: Any) -> None:
        features["out"] = out

    net.register_forward_hook(keep)

    @graphc.compile
    def step(x: Any) -> Any:
        net(x)
        return (features["out"] ** 2).sum()

    for k in SIZES:
        x = graphc.ones(k, 2)
        assert step(x).item() == (x @ net.weight.T).square().sum().item()
        assert features["out"].tolist() == (x @ net.weight.T).tolist()
    assert step.stats.programs == 1


def test_a_hook_taken_off_stops() -> None:
    net, seen = fixed_net(), []
    step = graphc.compile(lambda x: net(x).sum())
    x = graphc.ones(2, 2)
    step(x)
    with net.register_forward_hook(lambda m, i, o: seen.append(1)):
        step(x), step(x)
    step(x)
    assert seen == [1, 1]


def test_an_unforeseen_result_of_a_hook_is_an_error() -> None:
    net, kinds = fixed_net(), types.SimpleNamespace(kept=[])
    net.register_forward_hook(lambda m, i, o: kinds.kept.append(o))
    step = graphc.compile(lambda x: net(x).sum())
    step(graphc.ones(1, 2))
    assert len(kinds.kept) == 1 and kinds.kept[0].tolist() == [[3.0, 7.0]]


# ---- the explicit forms ------------------------------------------------------------------------


def test_callbacks_and_prints_are_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    w = graphc.tensor([1.0, 2.0])
    seen: list[Any] = []

    @graphc.compile
    def step(x: Any) -> Any:
        y = x + w
        graphc.debug.callback(lambda t, name: seen.append((name, t.tolist())), w, name="before")
        graphc.debug.print("sum {:.2f} of {n}", y.sum(), n="y")
        w.mul_(2)
        y.add_(1)
        graphc.debug.callback(lambda *t: seen.append([a.tolist() for a in t]), w, y)
        return y

    for k in range(3):
        step(graphc.zeros(2))
        a = 2.0**k
        assert seen[2 * k :] == [("before", [a, 2 * a]), [[2 * a, 4 * a], [a + 1, 2 * a + 1]]]
    assert capsys.readouterr().out == "sum 3.00 of y\nsum 6.00 of y\nsum 12.00 of y\n"
    assert step.stats.programs == 1


def test_debug_acts_at_once_in_eager_code(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []
    graphc.debug.callback(lambda t: seen.append(t.item()), graphc.tensor(2.0))
    graphc.debug.print("{}", 3)
    assert seen == [2.0] and capsys.readouterr().out == "3\n"


def test_breakpoint_stops_after_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[int] = []
    monkeypatch.setattr("sys.breakpointhook", lambda *a, **k: stops.append(1))

    @graphc.compile
    def step(x: Any) -> Any:
        graphc.debug.breakpoint(x)
        return x + 1

    step(graphc.ones(2)), step(graphc.ones(2))
    assert stops == [1, 1]


def test_a_failed_step_acts_not() -> None:
    seen: list[float] = []

    @graphc.compile
    def step(x: Any, i: Any) -> Any:
        graphc.debug.callback(lambda t: seen.append(t.tolist()), x)
        seen.append(x.sum())
        return x[i]

    step(graphc.ones(3), graphc.tensor([1]))
    assert len(seen) == 2
    with pytest.raises(IndexOutOfRange):
        step(graphc.ones(3), graphc.tensor([7]))
    assert len(seen) == 2


def test_an_error_of_a_callback_stops_the_others_alone() -> None:
    seen: list[int] = []
    net = fixed_net()
    opt = optim.SGD(net.parameters(), lr=0.5)
    schedule = optim.lr_scheduler.StepLR(opt, 1, 0.5)

    def fail(loss: Any) -> None:
        raise KeyError("mine")

    @graphc.compile
    def step(x: Any) -> None:
        opt.zero_grad()
        loss = net(x).sum()
        loss.backward()
        opt.step()
        graphc.debug.callback(fail, loss)
        graphc.debug.callback(lambda: seen.append(1))
        schedule.step()

    for k in range(1, 3):
        with pytest.raises(KeyError, match="mine"):
            step(graphc.ones(2, 2))
        assert opt.param_groups[0]["lr"] == 0.5 * 0.5**k and not seen


# ---- print -------------------------------------------------------------------------------------


def test_print_shows_true_values_at_each_call(capsys: pytest.CaptureFixture[str]) -> None:
    w = graphc.tensor([1.0, 2.0])

    def step(x: Any) -> Any:
        y = (x * w).sum()
        print("y", y, [y, x.shape], end="!\n")
        print(f"{y:.3f} and {y!r}", f"<{y:>8.2f}>", sep="; ")
        print("no tensor")
        print(f"w {w}")
        with graphc.no_grad():
            w.add_(1)
        return y

    calls = [graphc.ones(k, 2) for k in SIZES]
    for x in calls:
        step(x)
    plain = capsys.readouterr().out
    w.copy_(graphc.tensor([1.0, 2.0]))
    compiled = graphc.compile(step)
    for x in calls:
        compiled(x)
    assert capsys.readouterr().out == plain and compiled.stats.programs == 1


def swallowed(x: Any) -> None:
    try:
        x.__str__()
    except Exception:
        print("never mind")


def padded(x: Any) -> None:
    print(f"{x!r:>80}")


def chosen(x: Any, n: int = 1) -> None:
    print(f"{x} {'one' if n == 1 else 'many'}")


@pytest.mark.parametrize("step", [swallowed, padded, chosen])
def test_a_text_that_goes_elsewhere_is_refused(step: Any) -> None:
    with pytest.raises(Untraceable, match=r"graphc\.debug\.print"):
        graphc.compile(step)(graphc.ones(2))


# ---- stores ------------------------------------------------------------------------------------

last: Any = None


class Trainer:
    def __init__(self) -> None:
        self.net = fixed_net()
        self.losses: list[Any] = []
        self.buffer: list[Any] = []
        self.features: dict[str, Any] = {"out": None}
        self.history: Any = defaultdict(list)
        self.latest: Any = None
        self.steps = 0

    def step(self, x: Any) -> Any:
        global last
        out = self.net(x)
        self.features["out"] = out
        loss = self.features["out"].sum()
        self.losses.append(loss.detach())
        self.buffer += [loss.detach() * 2]
        self.history["loss"].append((x.shape[0], loss.detach()))
        self.latest = self.net.out = out[0]
        last = loss
        self.steps += 1
        return loss


def test_stored_tensors_are_stored_at_each_call() -> None:
    trainer = Trainer()
    step = graphc.compile(trainer.step)
    for k, n in enumerate(SIZES, 1):
        loss = step(graphc.ones(n, 2))
        assert loss.item() == 10.0 * n == last.item() and trainer.steps == k
        assert [len(trainer.losses), len(trainer.buffer)] == [k, k]
        assert trainer.losses[-1].item() == loss.item() and not trainer.losses[-1].requires_grad
        assert trainer.buffer[-1].item() == 2 * loss.item()
        size, noted = trainer.history["loss"][-1]
        assert (size, noted.item()) == (n, loss.item())
        assert trainer.features["out"].tolist() == [[3.0, 7.0]] * n
        assert trainer.latest.tolist() == trainer.net.out.tolist() == [3.0, 7.0]
    assert step.stats.programs == 1
    loss.backward()
    assert trainer.net.bias.grad.tolist() == [3.0, 3.0]


def test_nothing_is_stored_by_a_step_that_cannot_be_traced() -> None:
    kept: list[Any] = [1]

    @graphc.compile
    def step(x: Any) -> Any:
        kept.append(x.sum())
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        step(graphc.ones(2))
    assert kept == [1]


def test_a_store_that_nobody_can_repeat_is_refused() -> None:
    heap: list[Any] = []

    @graphc.compile
    def step(x: Any) -> Any:
        heapq.heappush(heap, x.sum())
        return x

    with pytest.raises(Untraceable, match=r"`heap`(.|\n)*graphc\.debug\.callback"):
        step(graphc.ones(2))


class Counts(nn.Module):
    """Sets what its class alone has before the first call."""

    n = 0
    first = True

    def forward(self, x: Any) -> Any:
        self.n += 1
        if self.first:
            self.first = False
            return x * 10
        return x * self.n


def test_a_modules_attribute_that_its_class_had_is_set_at_each_call() -> None:
    net, x = Counts(), graphc.ones(1)
    step = graphc.compile(net)
    assert [step(x).item() for _ in range(4)] == [10, 2, 3, 4]
    vars(net)["n"] = 7
    assert step(x).item() == 8 and net.n == 8 and not net.first


def test_a_new_buffer_in_an_old_module_is_refused_and_taken_back() -> None:
    net = nn.Module()

    @graphc.compile(on_limit="raise")
    def step(x: Any) -> Any:
        if "mean" not in net._buffers:
            net.register_buffer("mean", x.mean())
        return x - net.mean

    for _ in range(2):
        with pytest.raises(Untraceable, match="the step registers `mean` in `net`"):
            step(graphc.ones(2))
        assert not net._buffers
    net.register_buffer("mean", graphc.ones(1))
    assert step(graphc.ones(2)).tolist() == [0, 0]


# ---- modes -------------------------------------------------------------------------------------


def test_train_and_eval_are_carried_out_at_each_call() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 8))

    def step(x: Any) -> Any:
        net.train()
        dropped = net[0](x)
        net.eval()
        return dropped, net[0](x)

    compiled = graphc.compile(step)
    for mode in (True, False, True):
        net.train(mode)
        dropped, kept = compiled(graphc.ones(64))
        assert kept.tolist() == [1.0] * 64 and 0.0 in dropped.tolist()
        assert not net.training and not net[1].training
    assert compiled.stats.programs == 1


def test_a_mode_that_a_step_leaves_holds_for_the_next_call() -> None:
    net = nn.Dropout(0.5)

    @graphc.compile
    def step(x: Any) -> Any:
        y = net(x)
        net.eval()
        return y

    assert 0.0 in step(graphc.ones(64)).tolist() and not net.training
    assert step(graphc.ones(64)).tolist() == [1.0] * 64
    net.train()
    assert 0.0 in step(graphc.ones(64)).tolist() and not net.training


def test_plain_values_are_stored_at_each_call_too() -> None:
    calls: list[Any] = []
    shared: list[int] = []
    place = types.SimpleNamespace(own=None, fresh=None)

    @graphc.compile
    def step(x: Any) -> Any:
        calls.append((x.shape[0], "call"))
        place.own = shared
        place.fresh = []
        place.fresh.append(1)
        return x + 1

    for k in SIZES:
        step(graphc.ones(k, 2))
        assert place.own is shared and place.fresh == [1]
        place.fresh.append(2)
    assert calls == [(k, "call") for k in SIZES] and step.stats.programs == 1


class Holder:
    def __init__(self, x: Any) -> None:
        self.x = x


def test_a_new_object_that_holds_a_tensor_is_refused() -> None:
    place = types.SimpleNamespace(kept=None)

    @graphc.compile
    def step(x: Any) -> Any:
        place.kept = Holder(x.sum())
        return x

    with pytest.raises(Untraceable, match="a new Holder with tensors in it"):
        step(graphc.ones(2))
    assert place.kept is None


# ---- in the order of the code, and of each call's own -------------------------------------------


class Counted:
    def __init__(self) -> None:
        self.n = 0

    def __repr__(self) -> str:
        return f"n={self.n}"


def _in_order(compiled: Callable[[Any], Any]) -> list[Any]:
    """What some steps do to files, logs, arrays, tables and their arguments."""
    text, rows, count = io.StringIO(), io.StringIO(), Counted()
    writer, numbers, log = csv.writer(rows), array.array("d"), logging.getLogger("in order")
    log.handlers, log.propagate = [logging.StreamHandler(text)], False
    log.setLevel(logging.INFO)
    words: Counter[str] = Counter()
    table: dict[str, list[float]] = {}
    shown = np.zeros(2)
    batches: list[Any] = []

    def step(batch: dict[str, Any]) -> Any:
        loss = batch.pop("x").sum()
        batch["seen"] = 1
        count.n += 1
        log.info("%s", count)
        count.n += 1
        text.write("plain\n")
        writer.writerow([1, "a"])
        numbers.append(2.0)
        words.update("ab")
        words["a"] += 1
        table.setdefault("losses", []).append(loss.item())
        shown[1] = loss.item()
        warnings.warn(", ".join(f"{v}" for v in (loss.item(), 3)), stacklevel=1)
        return loss

    run = compiled(step)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(3):
            batches.append({"x": graphc.ones(2) * k})
            run(batches[-1])
    return [
        text.getvalue(), rows.getvalue(), count.n, list(numbers), words, table, shown.tolist(),
        batches, [str(w.message) for w in caught],
    ]  # fmt: skip


def test_each_call_acts_as_eager_code_does() -> None:
    assert _in_order(graphc.compile) == _in_order(lambda step: step)


class Output(OrderedDict[str, Any]):
    """A result as libraries have it: made of its fields, and closed to most of what changes it."""

    def __init__(self, sample: Any) -> None:
        super().__init__()
        self["sample"] = sample

    def copy(self) -> Any:
        raise TypeError("copy is not allowed")

    def update(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("update is not allowed")

    def clear(self) -> None:
        raise TypeError("clear is not allowed")


def test_a_table_whose_class_forbids_copies() -> None:
    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        made = Output(x * 2)
        made["sum"] = made["sample"].sum()
        kept["sum"] = made["sum"]
        return made["sample"]

    kept = Output(graphc.zeros(1))
    for k in (1, 2):
        assert step(graphc.full((2,), float(k))).tolist() == [2.0 * k] * 2
        assert list(kept) == ["sample", "sum"] and float(kept["sum"]) == 4.0 * k
