"""MLP-Mixer: an image model of matrix products alone."""

from flax import linen as nn

from tele_jax._types import Array
from tele_jax.tasks.models.chain import chain
from tele_jax.tasks.models.layers import dense


class Mixer(nn.Module):
    """MLP-Mixer: patches of an image, mixed over places and over channels in turn.

    X = patches W + b; in every block X ← X + MLP_places(norm(X)ᵀ)ᵀ, then X ← X +
    MLP_channels(norm(X)), each MLP two dense layers with a GELU between them; then
    norm, the mean over places, and a dense layer. LayerNorm keeps no statistics, so
    gossip may average all there is. Inputs ``[b, h, w]`` or ``[b, h, w, c]``, h and w
    multiples of ``patch``.

    Tolstikhin et al., *MLP-Mixer: An all-MLP Architecture for Vision*, NeurIPS 2021,
    arXiv:2105.01601; its ratios of widths.

    >>> import jax, jax.numpy as jnp
    >>> params = jax.eval_shape(
    ...     Mixer().init, jax.random.key(0), jnp.ones((1, 28, 28)))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    148110
    """

    patch: int = 4
    width: int = 64
    num_blocks: int = 4
    num_classes: int = 10
    remat: bool = False
    """Compute norms and MLPs again for the gradient, and remember X alone."""

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        x = dense(self.width, name="stem")(self._patches(inputs))
        for block in range(self.num_blocks):
            norm = nn.LayerNorm(name=f"norm_places{block + 1}")
            places = _MLP(self.width // 2, name=f"places{block + 1}")
            x = x + chain([norm, _swap, places, _swap], x, remat=self.remat)
            norm = nn.LayerNorm(name=f"norm_channels{block + 1}")
            channels = _MLP(4 * self.width, name=f"channels{block + 1}")
            x = x + chain([norm, channels], x, remat=self.remat)
        x = nn.LayerNorm(name="norm")(x).mean(1)
        return dense(self.num_classes, name="dense")(x)

    def _patches(self, inputs: Array) -> Array:
        """[b, places, pixels of a patch]."""
        size = self.patch
        if size < 1:
            raise ValueError(f"Mixer: got patch={size}, expected at least 1.")
        if inputs.ndim not in (3, 4) or any(side % size for side in inputs.shape[1:3]):
            raise ValueError(
                f"Mixer: got inputs of shape {inputs.shape}, expected [b, h, w] or"
                f" [b, h, w, c] with h and w multiples of patch={size}."
            )
        batch, height, width = inputs.shape[:3]
        x = inputs.reshape(batch, height // size, size, width // size, size, -1)
        return x.swapaxes(2, 3).reshape(batch, (height // size) * (width // size), -1)


def _swap(x: Array) -> Array:
    """Places and channels."""
    return x.swapaxes(1, 2)


class _MLP(nn.Module):
    """Two dense layers over the last axis, back to its size."""

    hidden: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        hidden = nn.gelu(dense(self.hidden)(x))
        return dense(x.shape[-1])(hidden)
