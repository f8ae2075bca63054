"""Where to draw the slots of a topology, so that its structure shows."""

import networkx as nx
import numpy as np

_DENSE = 2 / 3
"""Share of all pairs above which a force layout shows no more than a circle."""
_BEND = 0.3
"""How far the middle of a grid's row is from the line through its ends, in rows."""


def grid_positions(num_rows: int, num_columns: int) -> np.ndarray:
    """Rows and columns, for a torus.

    They are bent a little, so that the edges around the doughnut, from one end of a
    row to the other, pass beside the slots between.

    Returns:
      float64[k, 2], slot r·columns + c in row r from the top, column c.

    >>> from tele_jax import graphs, plot
    >>> import matplotlib.pyplot as plt
    >>> where = grid_positions(3, 5)
    >>> where.shape
    (15, 2)
    >>> plt.close(plot.topology(graphs.torus(3, 5), positions=where))
    """
    row, column = np.divmod(np.arange(num_rows * num_columns), num_columns)
    across = 2 * column / max(1, num_columns - 1) - 1
    down = 2 * row / max(1, num_rows - 1) - 1
    return np.stack([column + _BEND * down**2, -row + _BEND * across**2], axis=1)


def circle_positions(num_slots: int) -> np.ndarray:
    """Slot 0 at the top, the others clockwise, float64[k, 2]."""
    angle = 2 * np.pi * np.arange(num_slots) / num_slots
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def force_positions(linked: np.ndarray) -> np.ndarray:
    """Slots as far apart as there are edges between them, float64[k, 2].

    The longest way lies from left to right.

    Args:
      linked: bool[k, k], symmetric and connected.
    """
    found = nx.kamada_kawai_layout(nx.from_numpy_array(linked), weight=None)
    positions = np.array([found[slot] for slot in range(len(linked))])
    positions -= positions.mean(axis=0)
    _, _, directions = np.linalg.svd(positions, full_matrices=False)
    return positions @ directions.T


def default_positions(linked: np.ndarray, changes: bool) -> np.ndarray:
    """A force layout of a sparse graph that never changes, else a circle.

    A graph that looks alike from every slot, in their order, is drawn on a circle too,
    and so are the slots around one that is linked with all of them.

    Args:
      linked: bool[k, k], who hears whom in any of the rounds.
      changes: whether rounds differ.
    """
    size = len(linked)
    linked = (linked | linked.T) & ~np.eye(size, dtype=bool)
    dense = linked.sum() > _DENSE * size * (size - 1)
    circulant = np.array_equal(np.roll(linked, (1, 1), axis=(0, 1)), linked)
    connected = nx.is_connected(nx.from_numpy_array(linked))
    if changes or dense or circulant or not connected:
        return circle_positions(size)
    hubs = np.flatnonzero(linked.sum(axis=0) == size - 1)
    if len(hubs) == 1:
        return np.insert(circle_positions(size - 1), hubs[0], 0.0, axis=0)
    return force_positions(linked)


def fitted(positions: np.ndarray) -> np.ndarray:
    """Moved and scaled into the square from −1 to 1, one scale for both axes."""
    lowest, highest = positions.min(axis=0), positions.max(axis=0)
    half = (highest - lowest).max() / 2 or 1.0
    return (positions - (lowest + highest) / 2) / half
