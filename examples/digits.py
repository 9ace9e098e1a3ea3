"""Train a small conv net on handwritten digits; needs the demo extra, for its scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits
from tqdm import trange

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.utils.data import DataLoader, TensorDataset, random_split

graphc.manual_seed(0)
digits = load_digits()
images = graphc.from_numpy((digits.images / 16).astype(np.float32)[:, None])
labels = graphc.from_numpy(digits.target.astype(np.int64))
train, test = random_split(TensorDataset(images, labels), [1437, 360])

net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(256, 10),
)
opt = optim.AdamW(net.parameters(), lr=3e-3)


@graphc.compile
def train_step(x, y):
    opt.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    opt.step()
    return loss


for _ in trange(8, unit="epoch"):
    for x, y in DataLoader(train, batch_size=64, shuffle=True):
        train_step(x, y)

net.eval()
with graphc.no_grad():
    x, y = next(iter(DataLoader(test, batch_size=360)))
    print(f"test accuracy {(net(x).argmax(1) == y).sum().item() / 360:.1%}")
print(train_step.explain())
