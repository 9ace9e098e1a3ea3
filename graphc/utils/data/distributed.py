"""A process's share of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from graphc.distributed import is_initialized
from graphc.errors import InvalidArgument, InvalidState
from graphc.frontend.api.random import Generator, randperm
from graphc.utils.data.sampler import Sampler


class DistributedSampler(Sampler[int]):
    """One process's share of the indices: every `num_replicas`-th, shuffled alike everywhere.

    The shares have one length: the first indices appear again, or with `drop_last` the last are
    left out. Call `set_epoch` before each epoch for another order.

    Raises InvalidArgument for a rank outside 0..num_replicas-1.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if is_initialized():  # the group of one
            num_replicas = 1 if num_replicas is None else num_replicas
            rank = 0 if rank is None else rank
        if num_replicas is None or rank is None:
            raise InvalidState(
                "DistributedSampler needs num_replicas and rank",
                why="there is no process group that could tell",
            )
        if not 0 <= rank < num_replicas:
            raise InvalidArgument(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else -(-n // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        generator = Generator().manual_seed(self.seed + self.epoch)
        order = randperm(n, generator=generator).tolist() if self.shuffle else list(range(n))
        mine = range(self.rank, self.total_size, self.num_replicas)
        return iter([order[k % n] for k in mine])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
