"""The Simple Base-(k+1) and Base-(k+1) graphs, node by node and edge by edge.

Written from Y. Takezawa et al., NeurIPS 2023, in float64; shares nothing with the
package. A round is a matrix that starts as the identity, and a link of weight w
between two nodes moves w from their diagonal entries to the two between them.
"""

from fractions import Fraction
from itertools import combinations

import numpy as np


def factors(number, degree):
    """Split off degree + 1 as often as it goes, then degree, …, 2; ascending."""
    found = []
    for factor in range(degree + 1, 1, -1):
        while number % factor == 0:
            found.insert(0, factor)
            number = number // factor
    return found if number == 1 else None


def link(matrix, one, other, weight):
    matrix[one, other] += weight
    matrix[other, one] += weight
    matrix[one, one] -= weight
    matrix[other, other] -= weight


def average(matrix, nodes):
    for one, other in combinations(nodes, 2):
        link(matrix, one, other, Fraction(1, len(nodes)))


def identity(size):
    matrix = np.full((size, size), Fraction(0))
    for i in range(size):
        matrix[i, i] = Fraction(1)
    return matrix


def hyper_hypercube_round(matrix, nodes, r, degree):
    """Round r, again and again, of H_k on these nodes; a single one has none."""
    of_nodes = factors(len(nodes), degree)
    if not of_nodes:
        return
    r = r % len(of_nodes)
    stride = 1
    for factor in of_nodes[:r]:
        stride *= factor
    for i in range(len(nodes)):
        if (i // stride) % of_nodes[r] == 0:
            average(matrix, [nodes[i + c * stride] for c in range(of_nodes[r])])


def hyper_hypercube(size, degree):
    rounds = []
    for r in range(max(1, len(factors(size, degree)))):
        matrix = identity(size)
        hyper_hypercube_round(matrix, range(size), r, degree)
        rounds.append(matrix)
    return rounds


def blocks_of(size, degree):
    """V_1, V_2, …, each as its groups V_{l,1}, V_{l,2}, … of bᵖ nodes."""
    base, power = degree + 1, 1
    while power * base <= size:
        power *= base
    blocks, node = [], 0
    while power >= 1:
        groups = []
        while size - node >= power:
            groups.append(list(range(node, node + power)))
            node += power
        if groups:
            blocks.append(groups)
        power //= base
    return blocks


def exchange(matrix, place, blocks, degree):
    unused = [list(group) for group in blocks[place]]
    own = sum(len(group) for group in blocks[place])
    rest = sum(len(group) for block in blocks[place:] for group in block)
    weight = Fraction(own, rest) / len(unused)
    for block in reversed(blocks[place + 1 :]):
        for group in block:
            for node in group:
                for others in unused:
                    link(matrix, node, others.pop(), weight)
    left = [node for group in unused for node in group]
    while left:
        average(matrix, left[: degree + 1])
        left = left[degree + 1 :]


def simple_base_graph(size, degree):
    if factors(size, degree) is not None:
        return hyper_hypercube(size, degree)
    blocks = blocks_of(size, degree)
    whole = [[node for group in block for node in group] for block in blocks]
    within = len(factors(len(whole[0]), degree))
    counters = [0] * len(blocks)
    rounds = []
    while counters[0] < len(factors(len(blocks[0][0]), degree)):
        matrix, r = identity(size), len(rounds)
        for place, block in enumerate(blocks):
            last = place == len(blocks) - 1
            turn = within + (place - 1 if last else place)
            if r < within:
                hyper_hypercube_round(matrix, whole[place], r, degree)
            elif r == turn and not last:
                exchange(matrix, place, blocks, degree)
            elif r > turn:
                parts = block if len(whole[place]) > degree else [whole[place]]
                for group in parts:
                    hyper_hypercube_round(matrix, group, counters[place], degree)
                counters[place] += 1
        rounds.append(matrix)
    return rounds


def base_graph(size, degree):
    divisors = [p for p in range(1, size + 1) if size % p == 0]
    smooth = max(p for p in divisors if factors(p, degree) is not None)
    rough = size // smooth
    rounds = []
    for one in simple_base_graph(rough, degree):
        matrix = identity(size)
        for copy in range(smooth):
            for i in range(rough):
                for j in range(rough):
                    matrix[copy * rough + i, copy * rough + j] = one[i, j]
        rounds.append(matrix)
    for r in range(max(1, len(factors(smooth, degree)))):
        matrix = identity(size)
        for place in range(rough):
            nodes = list(range(place, size, rough))
            hyper_hypercube_round(matrix, nodes, r, degree)
        rounds.append(matrix)
    simple = simple_base_graph(size, degree)
    return simple if len(simple) < len(rounds) else rounds
