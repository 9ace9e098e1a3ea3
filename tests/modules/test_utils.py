"""Initialisers, reparametrised weights, fusion and distances against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn
from graphc.frontend.eager.lines import Lines
from graphc.nn.utils import clip_grad_norm_

torch: Any = pytest.importorskip("torch")


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (3, 2, 2, 2), (2, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    x = graphc.empty(*shape, dtype=graphc.float64)
    assert nn.init.orthogonal_(x, gain=2.0) is x
    flat = x.numpy().reshape(shape[0], -1)
    small = flat if shape[0] <= flat.shape[1] else flat.T
    np.testing.assert_allclose(small @ small.T, 4 * np.eye(len(small)), atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "groups"), [((4, 3, 3), 1), ((4, 2, 3, 2), 2), ((2, 5, 1, 3, 4), 1)]
)
def test_dirac(shape: tuple[int, ...], groups: int) -> None:
    mine = nn.init.dirac_(graphc.empty(*shape), groups).numpy()
    np.testing.assert_array_equal(mine, torch.nn.init.dirac_(torch.empty(*shape), groups).numpy())


def test_sparse() -> None:
    graphc.manual_seed(0)
    x = nn.init.sparse_(graphc.empty(40, 50), 0.33, std=0.5).numpy()
    assert ((x == 0).sum(0) == 14).all()
    assert abs(x[x != 0].std() - 0.5) < 0.03


def test_init_errors() -> None:
    for T in (graphc, torch):
        for call in (
            lambda T=T: T.nn.init.dirac_(T.empty(2, 2)),
            lambda T=T: T.nn.init.dirac_(T.empty(3, 2, 2), 2),
            lambda T=T: T.nn.init.sparse_(T.empty(3), 0.1),
            lambda T=T: T.nn.init.orthogonal_(T.empty(3)),
            lambda T=T: T.nn.utils.remove_weight_norm(T.nn.Linear(2, 2)),
            lambda T=T: T.nn.utils.remove_spectral_norm(T.nn.Linear(2, 2)),
        ):
            with pytest.raises(ValueError):
                call()


GAINS = ["linear", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose3d", "sigmoid", "tanh"]
GAINS += ["relu", "leaky_relu", "selu"]


@pytest.mark.parametrize("name", GAINS)
def test_gains(name: str) -> None:
    assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))


def test_initialisers_by_their_old_names() -> None:
    for T in (graphc, torch):
        for name in ("uniform", "normal", "xavier_uniform", "kaiming_normal", "orthogonal"):
            with pytest.warns(FutureWarning, match=f"{name}_"):
                getattr(T.nn.init, name)(T.empty(3, 3))
        with pytest.warns(FutureWarning):
            assert T.nn.init.constant(T.empty(2), 2.0).tolist() == [2, 2]


def copied(mine: Any, theirs: Any) -> None:
    state = {k: graphc.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    assert list(state) == list(mine.state_dict())
    mine.load_state_dict(state)


LAYERS: dict[str, Any] = {
    "linear": (lambda T: T.nn.Linear(4, 3), (2, 4)),
    "conv": (lambda T: T.nn.Conv2d(2, 3, 2), (1, 2, 4, 4)),
    "transposed": (lambda T: T.nn.ConvTranspose2d(2, 3, 2), (1, 2, 3, 3)),
}
NORMS: dict[str, Any] = {
    "weight": (lambda T, m: T.nn.utils.weight_norm(m), "remove_weight_norm"),
    "weight_whole": (lambda T, m: T.nn.utils.weight_norm(m, dim=None), "remove_weight_norm"),
    "weight_1": (lambda T, m: T.nn.utils.weight_norm(m, dim=1), "remove_weight_norm"),
    "spectral": (lambda T, m: T.nn.utils.spectral_norm(m), "remove_spectral_norm"),
    "spectral_3": (
        lambda T, m: T.nn.utils.spectral_norm(m, n_power_iterations=3), "remove_spectral_norm"
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("norm", NORMS)
def test_norms(layer: str, norm: str) -> None:
    """Two training steps, compiled and not, one in eval, and the weight that is left."""
    (build, shape), (wrap, remove) = LAYERS[layer], NORMS[norm]
    theirs = wrap(torch, build(torch).double())
    mine = [wrap(graphc, build(graphc).double()) for _ in range(2)]
    x = np.random.default_rng(0).standard_normal(shape)
    for m in mine:
        copied(m, theirs)

    def train(T: Any, m: Any, x: Any) -> list[Any]:
        m.zero_grad()
        out = m(x)
        (out * out).sum().backward()
        return [out.detach(), *(p.grad * 1 for p in m.parameters())]

    steps = [
        (torch, theirs, train), (graphc, mine[0], train), (graphc, mine[1], graphc.compile(train))
    ]  # fmt: skip
    for _ in range(2):
        expected, *others = [[t.numpy() for t in f(T, m, T.tensor(x))] for T, m, f in steps]
        for results in others:
            for a, b in zip(results, expected):
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11)
    theirs.eval()
    getattr(torch.nn.utils, remove)(theirs)
    for m in mine:
        np.testing.assert_allclose(
            m.eval()(graphc.tensor(x)).detach().numpy(),
            theirs(torch.tensor(x)).detach().numpy(),
            rtol=1e-8,
        )
        assert getattr(graphc.nn.utils, remove)(m) is m
        assert sorted(m.state_dict()) == sorted(theirs.state_dict())
        np.testing.assert_allclose(
            m.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-8, atol=1e-11
        )


@pytest.mark.parametrize("layer", LAYERS)
def test_fusion(layer: str) -> None:
    build, shape = LAYERS[layer]
    m = build(graphc).double().eval()
    bn = (nn.BatchNorm1d(3) if layer == "linear" else nn.BatchNorm2d(3)).double()
    x = graphc.tensor(np.random.default_rng(0).standard_normal(shape))
    for _ in range(3):
        bn(m(x) * 3 + 1)
    bn.eval()
    fused = nn.utils.fuse_conv_bn_eval(m, bn, transpose=layer == "transposed")
    np.testing.assert_allclose(fused(x).detach().numpy(), bn(m(x)).detach().numpy(), rtol=1e-9)
    with pytest.raises(RuntimeError, match="Fusion only for eval"):
        nn.utils.fuse_conv_bn_eval(m.train(), bn)


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 2.0, float("inf")])
def test_pdist(p: float) -> None:
    x = np.random.default_rng(0).standard_normal((5, 3))
    mine, theirs = graphc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out, expected = F.pdist(mine, p), torch.nn.functional.pdist(theirs, p)
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-9)
    if p:
        (out * out).sum().backward()
        (expected * expected).sum().backward()
        np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), rtol=1e-9)
    assert tuple(F.pdist(graphc.ones(1, 3)).shape) == (0,)
    with pytest.raises(RuntimeError, match="pdist only supports 2D"):
        F.pdist(graphc.ones(3))


def test_clipping_with_a_given_norm() -> None:
    p = nn.Parameter(graphc.ones(2))
    p.grad = graphc.tensor([3.0, 4.0])
    norm = nn.utils.get_total_norm([p.grad], foreach=False)
    assert norm.item() == 5.0
    nn.utils.clip_grads_with_norm_([p], 1.0, norm)
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8], rtol=1e-5)
    nn.utils.clip_grad_norm_([p], 10.0, foreach=True)
    nn.utils.clip_grad_value_([p], 0.7, foreach=True)
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.7], rtol=1e-5)


def test_clipping_in_eager_mode_is_a_list_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bits of one operation at a time; gradients that share memory are scaled in turn."""
    ps = [nn.Parameter(graphc.randn(*s)) for s in ((30, 40), (7,), (2, 3, 4))]

    def clipped(shared: bool = False) -> list[bytes]:
        graphc.manual_seed(1)
        for p in ps:
            p.grad = graphc.randn(*p.shape)
        if shared:
            ps[0].grad = ps[0].grad[:1].expand(30, 40).clone()
            ps[1].grad = ps[0].grad.reshape(-1)[:7]
        norm = clip_grad_norm_(ps, 0.3)
        return [
            norm.numpy().tobytes(),
            *(p.grad.numpy().tobytes() for p in ps if p.grad is not None),
        ]

    seen: list[int] = []
    call = Lines.__call__

    def counted(lines: Lines, arrays: Any) -> Any:
        seen.append(len(arrays))
        return call(lines, arrays)

    monkeypatch.setattr(Lines, "__call__", counted)
    got = clipped()
    assert seen == [3, 5]  # the norm; the gradients with it and the bound
    shared = clipped(True)
    monkeypatch.setattr("graphc.frontend.update.watched", lambda: True)
    assert clipped() == got and clipped(True) == shared
