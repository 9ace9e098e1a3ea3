"""A data set of one's own, loaded by worker processes, and a Lambda module in the model."""

import argparse
import math

import numpy as np

import graphc as torch
import graphc.nn.functional as F
from graphc import nn
from graphc.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--workers", type=int, default=2)
args = parser.parse_args()


class Waves(Dataset):
    """Noisy sine and square waves of random frequency; the label says which."""

    def __init__(self, count, length=64, seed=0):
        self.count, self.length, self.seed = count, length, seed

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, index))
        phase = np.linspace(0, 1, self.length) * rng.uniform(2, 6) + rng.uniform()
        wave = np.sin(2 * math.pi * phase)
        label = index % 2
        wave = np.sign(wave) if label else wave
        return (wave + 0.3 * rng.standard_normal(self.length)).astype(np.float32), label


class Lambda(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def main():
    torch.manual_seed(0)
    model = nn.Sequential(
        Lambda(lambda x: x.unsqueeze(1)),
        nn.Conv1d(1, 16, 7, stride=2, padding=3),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        Lambda(lambda x: x.mean(-1)),
        nn.Linear(32, 2),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    @torch.compile
    def train_step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    loader = DataLoader(
        Waves(512),
        batch_size=64,
        shuffle=True,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )
    for epoch in range(1, args.epochs + 1):
        losses = [train_step(x, y) for x, y in loader]
        print(f"epoch {epoch}  loss {sum(loss.item() for loss in losses) / len(losses):.4f}")
    with torch.no_grad():
        x, y = next(iter(DataLoader(Waves(256, seed=1), batch_size=256)))
        print(f"accuracy {(model(x).argmax(1) == y).float().mean().item():.1%}")


if __name__ == "__main__":  # worker processes import this file where the system cannot fork
    main()
