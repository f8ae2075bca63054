"""Models, and how a task holds one. The only folder that imports flax's nn.

Every model is fast when every slot has its own weights, and its parameters fit the
same network made of flax's own layers.
"""

from tele_jax.tasks.models.dense import MLP as MLP
from tele_jax.tasks.models.dense import Softmax as Softmax
from tele_jax.tasks.models.holders import Linen as Linen
from tele_jax.tasks.models.holders import Model as Model
from tele_jax.tasks.models.holders import Nnx as Nnx
from tele_jax.tasks.models.layers import GroupNorm as GroupNorm
from tele_jax.tasks.models.lenet import LeNet as LeNet
from tele_jax.tasks.models.mixer import Mixer as Mixer
from tele_jax.tasks.models.named import by_name as by_name
from tele_jax.tasks.models.resnet import ResNet as ResNet
from tele_jax.tasks.models.vgg import VGG11 as VGG11
