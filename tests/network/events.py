"""A discrete-event simulation of the clocks, in plain Python and float64.

Written from the definition: things happen at moments, in the order of a heap, and what
waits for several things begins when the last of them has happened. Nothing is shared
with the package.
"""

import collections
import dataclasses
import heapq
import itertools
import math


@dataclasses.dataclass
class Round:
    """What happens in a round, slots by number, nodes by number."""

    nodes: list
    """Who steps slot a."""
    seconds: list
    """How long it takes them."""
    gossips: list
    """Exchanges afterwards: each a list of (sender slot, receiver slot), or "all"."""
    source: list | None = None
    """Who had slot a before; None: the same nodes, and nothing moves."""
    pull: list | None = None
    """(sender slot, receiver slot) of what moves; the slots themselves if None."""
    gathers: list = dataclasses.field(default_factory=list)
    """Exchanges among the sources before anything moves."""


@dataclasses.dataclass
class Rules:
    """Of the network."""

    latency: list
    """[n][n]"""
    transfer: list
    """[n][n], of a whole model"""
    serial: bool = False
    half: bool = False
    barrier: bool = False
    overlap: bool = False
    tree: bool = False


class Events:
    """A heap of things to happen, and what waits for them."""

    def __init__(self):
        self.heap, self.number = [], itertools.count()
        self.missing = collections.Counter()
        self.then = {}
        self.waiting = collections.defaultdict(list)
        self.moment = {}

    def at(self, time, name):
        """Something will happen."""
        heapq.heappush(self.heap, (time, next(self.number), name))

    def when(self, names, action):
        """Do something, given the time, when all of these have happened."""
        names = list(names)
        missing = [name for name in names if name not in self.moment]
        if not missing:
            action(max((self.moment[name] for name in names), default=0.0))
            return
        token = next(self.number)
        self.missing[token], self.then[token] = len(missing), action
        for name in missing:
            self.waiting[name].append(token)

    def run(self):
        """Until nothing is left to happen."""
        while self.heap:
            time, _, name = heapq.heappop(self.heap)
            assert name not in self.moment, name
            self.moment[name] = time
            for token in self.waiting.pop(name, ()):
                self.missing[token] -= 1
                if not self.missing[token]:
                    self.then.pop(token)(time)


def simulate(rounds, rules):
    """The moments at which the last slot is done with each round, and all of them."""
    events = Events()
    events.at(0.0, "begin")
    available = None  # names of what tells that a slot is there, by slot
    last = collections.defaultdict(lambda: ["begin"])  # what a node is busy with
    gradient = collections.defaultdict(lambda: "begin")  # its last one, when overlapped
    ends = []
    for t, one in enumerate(rounds):
        size = len(one.nodes)
        here = available or ["begin"] * size
        if one.source is not None and available is not None:
            for number, pairs in enumerate(one.gathers):
                here = _exchange(
                    events, rules, (t, "gather", number), one.source, here, pairs
                )
            arrived, sent = _move(events, rules, t, one, here, last)
            if rules.serial or rules.half:
                for node, name in sent.items():
                    last[node] = [*last[node], name]
        else:
            arrived = [[name] for name in here]
        done = []
        for a, node in enumerate(one.nodes):
            name, seconds = (t, "stepped", a), one.seconds[a]
            waits = [*arrived[a], *last[node]]
            if rules.overlap:
                finished = (t, "gradient", a)
                begin = gradient[node]
                events.when([begin], _later(events, seconds, finished))
                events.when([*waits, finished], _later(events, 0.0, name))
                gradient[node] = name
            else:
                events.when(waits, _later(events, seconds, name))
            done.append(name)
        for number, pairs in enumerate(one.gossips):
            done = _exchange(
                events, rules, (t, "gossip", number), one.nodes, done, pairs
            )
        end = (t, "end")
        events.when(done, _later(events, 0.0, end))
        ends.append(end)
        available = [end] * size if rules.barrier else done
        for a, node in enumerate(one.nodes):
            last[node] = [available[a]]
    events.run()
    return [events.moment[end] for end in ends]


def _later(events, seconds, name):
    return lambda time: events.at(time + seconds, name)


def _send(events, rules, name, node, ready, letters):
    """A node sends, when it is ready; tells what says that all has left.

    Letters are (key, receiving node, what it must have done before it listens).
    """
    left = (*name, "left")

    def send(time):
        clock = latest = time
        for key, to, listens in letters:
            transfer = rules.transfer[node][to]
            start = clock if rules.serial else time
            clock = start + transfer if rules.serial else time
            latest = max(latest, start + transfer)
            reached, there = (*key, "reached"), key
            events.at(start + rules.latency[node][to], reached)
            waits = [reached, *listens] if rules.half else [reached]
            events.when(waits, _later(events, transfer, there))
        events.at(latest, left)

    events.when([ready], send)
    return left


def _exchange(events, rules, stage, nodes, ready, pairs):
    """Gossip between nodes: names of what tells that each slot is done."""
    size = len(nodes)
    if pairs == "all":
        took, end = _all_reduce(rules, nodes), (*stage, "all")
        events.when(ready, _later(events, took, end))
        return [end] * size
    pairs = sorted((b, a) for b, a in pairs if a != b)
    left = [(*stage, b, "left") for b in range(size)]
    for b in range(size):
        letters = [
            ((*stage, "letter", b, a), nodes[a], [left[a]]) for c, a in pairs if c == b
        ]
        _send(events, rules, (*stage, b), nodes[b], ready[b], letters)
    done = []
    for a in range(size):
        waits = [ready[a], *((*stage, "letter", b, a) for b, to in pairs if to == a)]
        if rules.serial or rules.half:
            waits.append(left[a])
        name = (*stage, "done", a)
        events.when(waits, _later(events, 0.0, name))
        done.append(name)
    return done


def _move(events, rules, t, one, ready, last):
    """Models to other nodes: what each slot waits for, and who has sent all."""
    size = len(one.nodes)
    pairs = one.pull or [(a, a) for a in range(size)]
    travel = sorted((b, a) for b, a in pairs if one.source[b] != one.nodes[a])
    sources = {b: one.source[b] for b in range(size)}
    left = {node: (t, "move", b, "left") for b, node in sources.items()}
    for b, node in sources.items():
        letters = []
        for c, a in travel:
            to = one.nodes[a]
            if c == b:
                listens = [*last[to], *([left[to]] if to in left else [])]
                letters.append(((t, "moved", b, a), to, listens))
        _send(events, rules, (t, "move", b), node, ready[b], letters)
    arrived = [
        [
            (t, "moved", b, a) if (b, a) in travel else ready[b]
            for b, to in pairs
            if to == a
        ]
        for a in range(size)
    ]
    return arrived, left


def _all_reduce(rules, nodes):
    count = len(nodes)
    if count == 1:
        return 0.0

    def slowest(pairs, part):
        return max(
            rules.latency[nodes[a]][nodes[b]]
            + rules.transfer[nodes[a]][nodes[b]] * part
            for a, b in pairs
        )

    if not rules.tree:
        ring = [(a, (a + 1) % count) for a in range(count)]
        return 2 * (count - 1) * slowest(ring, 1 / count)
    total = 0.0
    for level in range(math.ceil(math.log2(count))):
        stride = 2**level
        pairs = [
            (a, a + stride) for a in range(0, count, 2 * stride) if a + stride < count
        ]
        total += 2 * slowest(pairs, 1.0)
    return total
