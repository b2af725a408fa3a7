"""The house's plan, held by the AST: who may import whom, how long things are, what files may be called."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("z1_envs", "z1_agent")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "common", "helpers", "misc", "base"}
MAX_FILE, MAX_FUNCTION, MAX_LOOP = 400, 60, 100  # [lines]
# The training loops are read top to bottom; cutting them up hides the algorithm.
LOOPS = {"z1_agent/grpo.py", "z1_agent/sft.py"}

# Packages that only one place may import.
ONLY_IN = {
    "torch": ("z1_agent/",),
    "z1_agent": ("z1_agent/",),
    "robocasa": ("z1_envs/robocasa/",),
    "robosuite": ("z1_envs/robocasa/",),
}

# Files that hand on the arguments of another library's functions, whose names are not ours to list.
FORWARDERS = {"z1_envs/robocasa/compat.py"}

# What may be imported inside functions, with the reason: optional packages, so that the rest of the house
# works without them.
LATE_IMPORTS = {
    "h5py": "extra `hdf5`",
    "robocasa": "extra `robocasa`; importing it reads assets",
    "robosuite": "extra `robocasa`",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


MODULES = {module_of(path): path for path in FILES}


def imported(node: ast.AST, path: Path) -> list[str]:
    """Absolute names that an import statement asks for, `from a import b` as both a and a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if node.level:
            package = list(path.relative_to(ROOT).parent.parts)
            source = ".".join([*package[: len(package) - node.level + 1], *filter(None, [source])])
        return [source, *(f"{source}.{alias.name}" for alias in node.names)]
    return []


def imports(path: Path) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(tree_of(path)):
        for name in imported(node, path):
            yield name, node


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def runtime_module_imports(path: Path) -> set[str]:
    """The house's own modules that are imported when this one is, type-checking blocks left out."""
    found: set[str] = set()
    pending: list[ast.AST] = list(tree_of(path).body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or is_type_checking(node):
            continue
        found.update(name for name in imported(node, path) if name in MODULES)
        pending.extend(ast.iter_child_nodes(node))
    return found - {module_of(path)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    for name, node in imports(path):
        allowed = ONLY_IN.get(name.split(".")[0])
        assert allowed is None or name_of(path).startswith(allowed), (
            f"{name_of(path)}:{getattr(node, 'lineno', 0)} imports {name}; only {', '.join(allowed)} may"
        )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_stand_at_the_top(path: Path) -> None:
    for function in ast.walk(tree_of(path)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in ast.walk(function):
            for name in imported(node, path):
                assert name.split(".")[0] in LATE_IMPORTS, (
                    f"{name_of(path)}:{getattr(node, 'lineno', 0)} imports {name} inside {function.name}(); move it to "
                    "the top, or, for an optional package, list it in LATE_IMPORTS with the reason"
                )


def test_there_is_no_import_cycle() -> None:
    graph = {name: runtime_module_imports(path) for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                # A package's own module may use its siblings while `__init__` collects them.
                if not name.startswith(f"{other}."):
                    visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    num_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert num_lines <= MAX_FILE, f"{name_of(path)} has {num_lines} lines, at most {MAX_FILE}: split it by idea"
    limit = MAX_LOOP if name_of(path) in LOOPS else MAX_FUNCTION
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= limit, f"{name_of(path)}:{node.lineno} {node.name} has {length} lines, at most {limit}"


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    assert [name_of(path) for path in FILES if path.stem.strip("_") in FORBIDDEN_NAMES] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_says_what_it_is_and_owes_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not text or ast.get_docstring(tree_of(path)), f"{name_of(path)} has no docstring"
    for word in ("TODO", "FIXME", "XXX"):
        assert word not in text, f"{name_of(path)} contains {word}: do it, or open an issue"


def test_the_agents_map_names_every_module() -> None:
    words = set((ast.get_docstring(tree_of(MODULES["z1_agent"])) or "").split())
    modules = {path.stem for path in (ROOT / "z1_agent").glob("*.py")} - {"__init__"}
    assert modules <= words


@pytest.mark.parametrize(
    "package",
    [
        "z1_envs",
        "z1_envs/kitchen",
        "z1_envs/kitchen/fixtures",
        "z1_envs/kitchen/plans",
        "z1_envs/kitchen/experts",
        "z1_envs/robocasa",
        "z1_agent",
        "z1_agent/commands",
    ],
)
def test_every_module_is_on_its_package_s_map(package: str) -> None:
    folder = ROOT / package
    docstring = ast.get_docstring(tree_of(folder / "__init__.py")) or ""
    # Lines of two columns: the modules, then, after two spaces at least, what they are.
    columns = re.findall(r"^ *(\w+(?:,? \w+)*)  +\S", docstring, re.MULTILINE)
    named = set(re.findall(r"\w+", " ".join(columns)))
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    assert sorted(modules - named) == [], f"name these modules in the docstring of {package}/__init__.py"


# They take any keyword to refuse unknown ones in better words than Python's.
KEYWORDS_CHECKED = {"env_from_options", "vec_env_from_options"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_function_swallows_keywords(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name not in KEYWORDS_CHECKED:
            assert node.args.kwarg is None or name_of(path) in FORWARDERS, (
                f"{name_of(path)}:{node.lineno} {node.name} takes **{node.args.kwarg.arg}; name its arguments"
            )


def test_the_walker_finds_imports() -> None:
    # A walker that finds nothing would pass everything above.
    assert "z1_envs.snapshot" in runtime_module_imports(ROOT / "z1_envs" / "branch.py")
    assert "z1_envs.branch" not in runtime_module_imports(ROOT / "z1_envs" / "snapshot.py")
    node = ast.parse("from . import snapshot").body[0]
    assert imported(node, ROOT / "z1_envs" / "branch.py") == ["z1_envs", "z1_envs.snapshot"]
