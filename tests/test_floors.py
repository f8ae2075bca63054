"""The structure of the package, read from its source: who imports and does what."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tele_jax"
SOURCES = {
    str(path.relative_to(PACKAGE)): path.read_text()
    for path in sorted(PACKAGE.rglob("*.py"))
}
EXPERIMENTS = {
    str(path.relative_to(PACKAGE.parent)): path.read_text()
    for path in sorted((PACKAGE.parent / "experiments").rglob("*.py"))
}
FLOORS = {
    "_types.py": 0,
    "tree.py": 0,
    "compilations.py": 0,
    "processes.py": 0,
    "connection.py": 0,
    "_digest.py": 0,
    "_extras.py": 0,
    "_once.py": 0,
    "_in_place.py": 0,
    "draw.py": 1,
    "mixing.py": 1,
    "rewiring.py": 1,
    "topology.py": 1,
    "graphs": 1,
    "routes.py": 1,
    "_routing.py": 1,
    "gossip.py": 1,
    "devices.py": 1,
    "tasks": 1,
    "algorithms": 2,
    "metrics.py": 2,
    "network": 2,
    "analysis": 2,
    "theory": 2,
    "_checks.py": 3,
    "run.py": 3,
    "tables.py": 3,
    "simulate.py": 3,
    "candidates.py": 3,
    "search.py": 3,
    "callbacks.py": 4,
    "plot": 4,
    "runs": 4,
    "_in_memory.py": 4,
    "_progress.py": 4,
    "driver.py": 4,
    "launch.py": 5,
    "__init__.py": 5,
}
"""Every file or folder of the package: it imports from no higher floor."""
ONLY = {
    "flax.linen": ["tasks/models"],
    "flax.nnx": ["tasks/models"],
    "networkx": ["graphs", "plot"],
    "scipy": ["graphs"],
    "optax": ["algorithms"],
    "matplotlib": ["plot"],
    "tqdm": ["_progress.py"],
    "orbax": ["runs/checkpoints.py"],
    "pyarrow": ["runs/curves.py"],
    "cattrs": ["runs/provenance.py"],
    "filelock": ["runs/guards.py"],
    "IPython": ["plot/live.py"],
    "pandas": ["tables.py"],
    "xarray": ["tables.py"],
}
"""Who alone may import what."""
MAX_FILE, MAX_FUNCTION = 250, 40


def _is_for_types_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _nodes(tree):
    """All nodes but those that only a type checker sees."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not _is_for_types_only(child):
            yield from _nodes(child)


def _imports(source):
    """The dotted names of all that is imported."""
    for node in _nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_within(name, place):
    return name == place or name.startswith(place + "/") or name.startswith(place + ".")


def _file(imported):
    """The file of this package that a dotted name comes from, or None."""
    parts = imported.split(".")
    if parts[0] != "tele_jax":
        return None
    for length in range(len(parts), 0, -1):
        path = "/".join(parts[1:length])
        for candidate in (f"{path}.py", f"{path}/__init__.py".lstrip("/")):
            if candidate in SOURCES:
                return candidate
    return None


def _floor(file):
    return next(floor for place, floor in FLOORS.items() if _is_within(file, place))


def _wrong_imports(file, source):
    wrong = []
    for imported in _imports(source):
        if imported.split(".")[0] in ("experiments", "tests", "notebooks"):
            wrong.append(f"{file} imports {imported}")
        target = _file(imported)
        if target is not None and _floor(target) > _floor(file):
            wrong.append(f"{file} imports {imported} from a higher floor")
        for name, places in ONLY.items():
            if _is_within(imported, name) and not any(
                _is_within(file, place) for place in places
            ):
                wrong.append(f"{file} imports {imported}")
    return wrong


def _uses(source, functions):
    """Names or attributes among ``functions`` that the source mentions in code."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.name for alias in node.names)
    return sorted(found & functions)


JIT = {"jit", "pjit", "pmap"}
READ = {"open", "read_bytes", "read_text", "loadtxt", "genfromtxt", "read_table"}
READ |= {"retrieve", "load_digits", "fromfile", "memmap"}


def _long_functions(source):
    """Functions of more than MAX_FUNCTION lines, docstring not counted."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = node.end_lineno - node.lineno + 1
        if ast.get_docstring(node) is not None:
            length -= node.body[0].end_lineno - node.body[0].lineno + 1
        if length > MAX_FUNCTION:
            yield node.name, length


def _cycle(imports):
    """A file that imports itself, directly or through others; None if there is none."""
    done = set()

    def visit(file, path):
        if file in path:
            return file
        if file in done:
            return None
        found = [visit(target, {*path, file}) for target in imports[file]]
        done.add(file)
        return next(filter(None, found), None)

    return next(filter(None, (visit(file, set()) for file in imports)), None)


every_file = pytest.mark.parametrize("file", SOURCES)


@every_file
def test_imports_come_from_no_higher_floor(file):
    assert _wrong_imports(file, SOURCES[file]) == []


@every_file
def test_only_simulate_compiles_and_only_datasets_and_runs_read_files(file):
    # ``once`` needs a call in the program, which is what a jit within the jit becomes.
    allowed = {"simulate.py": JIT, "_once.py": JIT}.get(file, set())
    if file.startswith("tasks/datasets/"):
        allowed = READ
    if file.startswith("runs/") or file == "driver.py":
        allowed = READ
    assert set(_uses(SOURCES[file], JIT | READ)) <= allowed


PICKLES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "yaml"}
EXECUTES = {"eval", "exec", "compile", "allow_pickle", "unsafe_load"}


@pytest.mark.parametrize("file", [*SOURCES, *EXPERIMENTS])
def test_nothing_that_is_read_can_execute_code(file):
    source = {**SOURCES, **EXPERIMENTS}[file]
    imported = {name.split(".")[0] for name in _imports(source)}
    assert not imported & PICKLES
    called = {
        node.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    named = {
        keyword.arg
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    }
    assert not (called | named) & EXECUTES


@every_file
def test_files_and_functions_are_short(file):
    assert len(SOURCES[file].splitlines()) <= MAX_FILE
    assert list(_long_functions(SOURCES[file])) == []


def test_no_file_imports_itself_through_others():
    files = {file for file in SOURCES if not file.endswith("__init__.py")}
    imports = {
        file: {_file(name) for name in _imports(SOURCES[file])} & files
        for file in files
    }
    assert sum(map(len, imports.values())) > 20  # imports were found at all
    assert _cycle(imports) is None


def test_simulate_and_datasets_do_what_they_alone_may():
    assert "jit" in _uses(SOURCES["simulate.py"], JIT)
    assert _uses(SOURCES["tasks/datasets/_files.py"], READ)
    assert set(SOURCES) >= {place for place in FLOORS if place.endswith(".py")}


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("tree.py", "from tele_jax.topology import Mixing"),
        ("gossip.py", "from tele_jax import simulate"),
        ("topology.py", "import tele_jax.metrics"),
        ("tasks/base.py", "def f():\n    from tele_jax.algorithms import base"),
        ("algorithms/dsgd.py", "import tele_jax"),
        ("simulate.py", "from tele_jax.driver import drive"),
        ("tasks/quadratic.py", "from flax import linen as nn"),
        ("tasks/quadratic.py", "import flax.nnx"),
        ("tasks/convolution.py", "from flax.linen import Conv"),
        ("topology.py", "import networkx as nx"),
        ("simulate.py", "import optax"),
        ("metrics.py", "from matplotlib import pyplot"),
        ("plot/curves.py", "from experiments.results import save"),
        ("driver.py", "import tests.helpers"),
    ],
)
def test_wrong_imports_are_found(file, source):
    assert _wrong_imports(file, source) != []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("tasks/quadratic.py", "from flax import struct"),
        ("tasks/models/lenet.py", "from flax import linen, nnx"),
        ("metrics.py", "if TYPE_CHECKING:\n    from tele_jax.simulate import Run"),
        ("graphs/regular.py", "from tele_jax.topology import Topology"),
    ],
)
def test_right_imports_pass(file, source):
    assert _wrong_imports(file, source) == []


def test_the_other_checks_can_fail():
    for source in (
        "jax.jit(f)",
        "from jax import jit",
        "@functools.partial(jax.jit)\n",
    ):
        source += "" if source[0] != "@" else "def f(): pass"
        assert _uses(source, JIT) == ["jit"]
    assert _uses("with open(path) as file: pass", READ) == ["open"]
    assert _uses("Path('a').read_bytes()", READ) == ["read_bytes"]
    body = "    x = 1\n"
    documented = 'def f():\n    """One.\n\n    Two."""\n' + 39 * body
    assert list(_long_functions(documented)) == []
    assert list(_long_functions(documented + body)) == [("f", 41)]
    assert list(_long_functions("def f():\n" + 40 * body)) == [("f", 41)]
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) is not None
    assert _cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
