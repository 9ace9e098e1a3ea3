"""Data sets from files written here, whole and damaged, and transforms."""

from __future__ import annotations

import gzip
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import datasets, transforms
from graphc.datasets import download
from graphc.errors import FileFormatError, InvalidArgument

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def write_mnist(folder: Path, packed: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix in ("train", "t10k"):
        for name, array in (("images-idx3", IMAGES), ("labels-idx1", LABELS)):
            data = gzip.compress(idx(array)) if packed else idx(array)
            suffix = ".gz" if packed else ""
            (folder / f"{prefix}-{name}-ubyte{suffix}").write_bytes(data)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("where", ["", "MNIST/raw"])
def test_mnist(tmp_path: Path, packed: bool, where: str) -> None:
    write_mnist(tmp_path / where, packed)
    data = datasets.MNIST(tmp_path, train=False, target_transform=lambda k: k + 1)
    assert len(data) == 5 and data.targets.tolist() == [3, 1, 4, 1, 5]
    image, label = data[2]
    np.testing.assert_array_equal(image, IMAGES[2])
    assert label == 5 and data.data.shape == (5, 28, 28) and data.data.dtype is graphc.uint8
    assert data.class_to_idx["3 - three"] == 3 and "Split: Test" in repr(data)


def test_fashion_loads_in_batches(tmp_path: Path) -> None:
    write_mnist(tmp_path / "FashionMNIST" / "raw", True)
    data = datasets.FashionMNIST(tmp_path, transform=transforms.ToTensor())
    x, y = next(iter(graphc.utils.data.DataLoader(data, batch_size=5)))
    np.testing.assert_allclose(x.numpy()[:, 0], IMAGES / np.float32(255), rtol=1e-6)
    assert y.tolist() == LABELS.tolist() and data.classes[9] == "Ankle boot"


DAMAGE: list[tuple[str, Any]] = [
    ("cut", lambda data: data[:-1]),
    ("magic", lambda data: b"\1" + data[1:]),
    ("type", lambda data: data[:2] + b"\x0d" + data[3:]),
    ("header", lambda data: data[:6]),
    ("empty", lambda data: b""),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE, ids=[d[0] for d in DAMAGE])
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx(tmp_path: Path, name: str, damage: Any, packed: bool) -> None:
    write_mnist(tmp_path, False)
    path = tmp_path / "train-images-idx3-ubyte"
    data = damage(path.read_bytes())
    path.unlink()
    if packed:
        path = path.with_name(f"{path.name}.gz")
        data = gzip.compress(data)[:-3]
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match="train-images"):
        datasets.MNIST(tmp_path)


def test_missing_files_say_where_they_belong(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="Dataset not found"):
        datasets.MNIST(tmp_path)
    with pytest.raises(InvalidArgument, match="cifar-10-batches-bin"):
        datasets.CIFAR10(tmp_path)


def cifar_row(label: int, seed: int, coarse: bool) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, 3072).astype(np.uint8)
    return bytes([7, label] if coarse else [label]) + pixels.tobytes()


def write_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for k, name in enumerate([*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]):
        (folder / name).write_bytes(cifar_row(k, k, False) + cifar_row(9, 100, False))


def test_cifar10_from_files_and_from_the_archive(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a" / "cifar-10-batches-bin", "cifar-10-batches-bin")
    for root in (tmp_path / "a", tmp_path / "b"):
        data = datasets.CIFAR10(root)
        assert len(data) == 10 and data.targets.tolist()[:4] == [0, 9, 1, 9]
        image, label = data[2]
        pixels = np.frombuffer(cifar_row(1, 1, False)[1:], np.uint8).reshape(3, 32, 32)
        np.testing.assert_array_equal(image, pixels.transpose(1, 2, 0))
        assert data.classes[label] == "automobile"


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name in ("train.bin", "test.bin"):
        (folder / name).write_bytes(cifar_row(42, 1, True))
    assert datasets.CIFAR100(tmp_path, train=False).targets.tolist() == [42]


def test_damaged_cifar(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    for data in (path.read_bytes()[:-1], cifar_row(10, 0, False), b""):
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match="data_batch_3"):
            datasets.CIFAR10(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    with pytest.raises(FileFormatError, match="not a whole archive"):
        datasets.CIFAR10(tmp_path / "c")


def test_a_download_is_checked_and_kept_whole(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"x" * 1000)
    good = download.digest(source)
    target = tmp_path / "kept"
    path = download.fetch(source.as_uri(), target, good)
    assert path.read_bytes() == b"x" * 1000
    source.unlink()
    assert download.fetch(source.as_uri(), target, good) == path  # there already
    source.write_bytes(b"y")
    with pytest.raises(FileFormatError, match="MD5"):
        download.fetch(source.as_uri(), tmp_path / "bad", good)
    assert not list((tmp_path / "bad").iterdir())


def test_digits() -> None:
    pytest.importorskip("sklearn")
    train, test = datasets.Digits(True), datasets.Digits(False)
    assert (len(train), len(test)) == (1437, 360)
    assert train.data.dtype is graphc.uint8 and int(train.data.max()) == 255


# ---- transforms -------------------------------------------------------------------------------


def test_to_tensor_and_normalize() -> None:
    image = IMAGES[0][:, :, None].repeat(3, 2)
    change = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [2.0] * 3)])
    x = change(image)
    assert x.shape == (3, 28, 28)
    np.testing.assert_allclose(x.numpy()[1], (IMAGES[0] / np.float32(255) - 0.5) / 2, rtol=1e-5)
    assert repr(change).startswith("Compose(\n    ToTensor()\n    Normalize(mean=")


def test_flip_and_crop_take_arrays_and_tensors() -> None:
    image = IMAGES[0]
    tensor = transforms.ToTensor()(image)
    flip = transforms.RandomHorizontalFlip(1.0)
    np.testing.assert_array_equal(flip(image), image[:, ::-1])
    np.testing.assert_array_equal(flip(tensor).numpy(), tensor.numpy()[:, :, ::-1])
    assert transforms.RandomHorizontalFlip(0.0)(image) is image
    for padding, mode in ((0, "constant"), (4, "constant"), ((1, 2), "edge"), (3, "reflect")):
        crop = transforms.RandomCrop((20, 24), padding, padding_mode=mode)
        graphc.manual_seed(3)
        whole = crop(image)
        graphc.manual_seed(3)
        np.testing.assert_allclose(crop(tensor).numpy()[0] * 255, whole, rtol=1e-5)
        assert whole.shape == (20, 24)
    assert transforms.RandomCrop(32, pad_if_needed=True)(image).shape == (32, 32)


def test_crops_fall_everywhere() -> None:
    graphc.manual_seed(0)
    crop = transforms.RandomCrop(1)
    assert len({int(crop(np.arange(9).reshape(3, 3))[0, 0]) for _ in range(200)}) == 9


REFUSED: list[tuple[str, Any, type[Exception]]] = [
    ("rank", lambda: transforms.ToTensor()(np.zeros(3)), ValueError),
    ("normalize_bytes", lambda: transforms.Normalize([0], [1])(IMAGES[0]), TypeError),
    ("std", lambda: transforms.Normalize([0.0], [0.0])(graphc.zeros(1, 2, 2)), ValueError),
    ("crop", lambda: transforms.RandomCrop(30)(IMAGES[0]), ValueError),
    ("mode", lambda: transforms.RandomCrop(3, padding_mode="wrap"), ValueError),
    ("p", lambda: transforms.RandomHorizontalFlip(2.0), ValueError),
    ("lambda", lambda: transforms.Lambda(3), TypeError),
]


@pytest.mark.parametrize(("name", "call", "error"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(name: str, call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()
