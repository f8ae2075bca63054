"""Labelled images to train on: the only folder that reads data files."""

from tele_jax.tasks.datasets._cifar10 import cifar10 as cifar10
from tele_jax.tasks.datasets._dataset import Dataset as Dataset
from tele_jax.tasks.datasets._dataset import holdout as holdout
from tele_jax.tasks.datasets._digits import digits as digits
from tele_jax.tasks.datasets._fashion_mnist import fashion_mnist as fashion_mnist
from tele_jax.tasks.datasets._named import by_name as by_name
