"""Tasks: data owned by nodes, and the loss of one model on one batch."""

from tele_jax.tasks import datasets as datasets
from tele_jax.tasks import models as models
from tele_jax.tasks import partition as partition
from tele_jax.tasks.augment import Augment as Augment
from tele_jax.tasks.base import Task as Task
from tele_jax.tasks.classification import Classification as Classification
from tele_jax.tasks.classification import classification as classification
from tele_jax.tasks.convolution import conv_general_dilated as conv_general_dilated
from tele_jax.tasks.logistic import LogisticRegression as LogisticRegression
from tele_jax.tasks.logistic import logistic_regression as logistic_regression
from tele_jax.tasks.pooling import max_pool as max_pool
from tele_jax.tasks.quadratic import Quadratic as Quadratic
from tele_jax.tasks.quadratic import equal_hessians as equal_hessians
from tele_jax.tasks.quadratic import least_squares as least_squares
from tele_jax.tasks.quadratic import quadratic as quadratic
