"""What this project promises about its own source, each promise as a function over one file.

A guard takes a file's name and text and returns complaints, so that the tests can also run it over
bad samples and see it complain.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
_NOT_OURS = {"__pycache__", "node_modules", "build", "dist"}
_DOTTED_BUT_OURS = {".ci", ".env.example", ".gitignore", ".dockerignore"}
_OPERATORS = "deploy/secrets"

WIDTH = 120
FILE_LINES, TEST_FILE_LINES, PROVIDER_LINES = 400, 500, 150
FUNCTION_LINES, MEDIAN_LINES, THIN_BODY_LINES = 60, 10, 15

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file: its name from the repository's top, with slashes, and its text."""

    name: str
    text: str

    @property
    def tree(self) -> ast.Module:
        """Return the file as a syntax tree."""
        return ast.parse(self.text, self.name)

    @property
    def is_test(self) -> bool:
        """Return whether the file belongs to the tests."""
        return self.name.startswith("tests/")

    def functions(self) -> Iterator[Function]:
        """Yield every function and method, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node


def sources(suffix: str = "") -> list[Source]:
    """Return all text files of the repository that are ours, or those that end with `suffix`."""
    found = []
    for path in sorted(ROOT.rglob(f"*{suffix}")):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and _is_ours(name):
            try:
                found.append(Source(name, path.read_text(encoding="utf-8")))
            except UnicodeDecodeError:
                continue  # a picture
    return found


def _is_ours(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") and part not in _DOTTED_BUT_OURS for part in parts)
    return not (hidden or _NOT_OURS & set(parts) or name.startswith(_OPERATORS))


def lines_of(node: Function) -> int:
    """Return how many lines a function takes, from `def` to its last one."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def body_lines(node: Function) -> int:
    """Return how many lines a function's body takes without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


# --- Budgets ---


def too_long(source: Source) -> list[str]:
    """Complain of a long file and of long functions in it."""
    # The comments by which mutants find their guards are no reading matter.
    lines = source.text.splitlines()
    count = sum(not line.lstrip().startswith("# guard: ") for line in lines)
    limit = TEST_FILE_LINES if source.is_test else FILE_LINES
    if _defines_provider(source):
        limit = PROVIDER_LINES
    found = [f"{source.name}: {count} lines, {limit} allowed"] if count > limit else []
    if "/migrations/" in source.name:
        return found
    return found + [
        f"{source.name}: {node.name} takes {lines_of(node)} lines, {FUNCTION_LINES} allowed"
        for node in source.functions()
        if lines_of(node) > FUNCTION_LINES
    ]


def median_too_long(package: str, files: list[Source]) -> list[str]:
    """Complain when half of a package's functions are longer than the budget."""
    lengths = [
        lines_of(node)
        for source in files
        if source.name.startswith(f"{package}/") and "/migrations/" not in source.name
        for node in source.functions()
    ]
    if lengths and median(lengths) > MEDIAN_LINES:
        return [f"{package}: the median function has {median(lengths)} lines"]
    return []


def not_thin(source: Source) -> list[str]:
    """Complain of tasks, commands' handle() and API views that do more than call a door."""
    return [
        f"{source.name}: {node.name} has a body of {body_lines(node)} lines, at most"
        f" {THIN_BODY_LINES}"
        for node in source.functions()
        if _must_be_thin(source, node) and body_lines(node) > THIN_BODY_LINES
    ]


def _defines_provider(source: Source) -> bool:
    if not source.name.startswith("keyvault/vendors/"):
        return False
    return any(isinstance(node, ast.ClassDef) and node.bases for node in source.tree.body) and (
        PurePosixPath(source.name).stem not in ("base", "http", "deadline")
    )


def _must_be_thin(source: Source, node: Function) -> bool:
    if is_task(node):
        return True
    if "/management/commands/" in source.name:
        return node.name == "handle"
    if "/api/" in source.name or source.name == "keyvault/delivery/views.py":
        first = node.args.args[0].arg if node.args.args else ""
        verbs = ("get", "post", "put", "patch", "delete")
        return first in ("request", "_request") or (first == "self" and node.name in verbs)
    return False


# --- Errors, tasks ---


def broad_except(source: Source) -> list[str]:
    """Complain of handlers for everything that do not raise again, but at the task boundary."""
    if source.name == "rotation/tasks.py":
        return []
    return [
        f"{source.name}:{node.lineno}: catches everything"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _raises_again(node)
    ]


def _is_broad(node: ast.ExceptHandler) -> bool:
    if node.type is None:
        return True
    names = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(isinstance(n, ast.Name) and n.id in ("Exception", "BaseException") for n in names)


def _raises_again(node: ast.ExceptHandler) -> bool:
    last = node.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def is_task(node: Function) -> bool:
    """Return whether the function is decorated as a Celery task."""
    return any(
        re.search(r"\b(shared_task|app\.task)\b", ast.unparse(d)) for d in node.decorator_list
    )


def task_takes_more_than_ids(source: Source) -> list[str]:
    """Complain of tasks whose arguments could carry anything but the ids of rows."""
    found = []
    for node in filter(is_task, source.functions()):
        given = node.args
        if given.vararg or given.kwarg:
            found.append(f"{source.name}: task {node.name} takes anything")
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            kind = ast.unparse(argument.annotation) if argument.annotation else ""
            if not argument.arg.endswith("_id") or kind != "int":
                found.append(f"{source.name}: task {node.name} takes {argument.arg}: {kind}")
    return found


def far_off_message(source: Source) -> list[str]:
    """Complain of messages for later: due times are rows, brokers forget and repeat."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.keyword) and node.arg in ("eta", "countdown"):
            found.append(f"{source.name}:{node.value.lineno}: {node.arg}")
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            found += [f"{source.name}: {key}" for key in keys if key in ("eta", "countdown")]
    return found


def hvac_outside(source: Source) -> list[str]:
    """Complain of product code other than the secret store that talks to Vault."""
    if source.is_test or source.name == "keyvault/vault/secret_store.py":
        return []
    return [f"{source.name}: imports hvac" for name in imported(source) if name == "hvac"]


def imported(source: Source) -> Iterator[str]:
    """Yield the top-level name of each import."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


# --- Tests ---


def waits_blindly(source: Source) -> list[str]:
    """Complain of sleeping in a test instead of waiting for a condition."""
    named_sleep = {
        alias.asname or alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
        if alias.name == "sleep"
    }
    calls = (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))
    return [
        f"{source.name}:{node.lineno}: sleeps"
        for node in calls
        if ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", *named_sleep)
    ]


def patches(source: Source) -> list[str]:
    """Complain of tests that replace a part of the product instead of running it."""
    modules = _module_names(source.tree)
    found = [
        f"{source.name}: imports mock" for name in imported(source) if name in ("mock", "mocker")
    ]
    for node in ast.walk(source.tree):
        said = _patch(node, modules)
        if said:
            found.append(f"{source.name}:{getattr(node, 'lineno', '?')}: {said}")
    return found


def _patch(node: ast.AST, modules: set[str]) -> str:
    if isinstance(node, ast.ImportFrom) and node.module in ("unittest", "unittest.mock"):
        names = {alias.name for alias in node.names}
        return "imports mock" if node.module == "unittest.mock" or "mock" in names else ""
    if isinstance(node, ast.Import) and any(a.name.startswith("unittest.mock") for a in node.names):
        return "imports mock"
    if isinstance(node, ast.arg) and node.arg == "mocker":
        return "takes mocker"
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if re.fullmatch(r"(\w*monkeypatch|patch|mp)\.(setattr|delattr|setitem|delitem)", called):
            return f"calls {called}"
        if called == "setattr" and _root_name(node.args[0]) in modules:
            return "sets an attribute of a module"
    if isinstance(node, ast.Assign) and any(
        isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name) and t.value.id in modules
        for t in node.targets
    ):
        return "sets an attribute of a module"
    return ""


def _root_name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _module_names(tree: ast.Module) -> set[str]:
    """Return names that stand for modules of the product in a test."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _PRODUCT:
            # A lower-case name from a package is a module or a function: neither may be changed.
            names |= {a.asname or a.name for a in node.names if a.name[:1].islower()}
        elif isinstance(node, ast.Import):
            names |= {a.asname for a in node.names if a.asname and a.name.split(".")[0] in _PRODUCT}
    return names


_PRODUCT = ("keyvault", "rotation", "sandbox")


def skips(source: Source) -> list[str]:
    """Complain of tests that are switched off; only platform, user or a missing server may do so."""
    if source.name == "tests/conftest.py" or source.name.startswith("tests/sandbox/"):
        return []
    switched_off = re.compile(r"\bpytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b")
    return [f"{source.name}: {match[0]}" for match in switched_off.finditer(source.text)]


# --- Text ---


def wide_template(source: Source) -> list[str]:
    """Complain of template lines that nobody can read without scrolling sideways."""
    if not source.name.startswith("templates/"):
        return []
    lines = enumerate(source.text.splitlines(), 1)
    return [f"{source.name}:{number}: {len(line)}" for number, line in lines if len(line) > WIDTH]


def no_docstring(source: Source) -> list[str]:
    """Complain of a module that does not say what it is for."""
    exempt = "/migrations/" in source.name or not source.text.strip()
    return [] if exempt or ast.get_docstring(source.tree) else [f"{source.name}: no docstring"]


_ELSEWHERE = re.compile(
    r"""/(?:wor[k]|roo[t]|hom[e]/[a-z]\w*|User[s]/\w+|tm[p]/brief)\b(?!\.)/?
    | \b(?:pyp[i]|tes[t]\.pypi)\.org | pythonhoste[d]\.org | registry\.npmj[s]\.(?:org|com)
    | crate[s]\.io | prox[y]\.golang\.org | de[b]\.debian\.org
    | --(?:extra-)?inde[x]-url\s*[=\s]\s*\S*://
    | (?:UV|PIP)_(?:DEFAULT_|EXTRA_)?INDE[X]\w*["']?\s*[=:]\s*["']?\w+://(?!127\.)""",
    re.VERBOSE,
)


def names_a_machine(source: Source) -> list[str]:
    """Complain of a path of one machine and of a package registry's address."""
    return [f"{source.name}: {match[0]}" for match in _ELSEWHERE.finditer(source.text)]


# --- Settings ---


def settings_read() -> dict[str, bool]:
    """Return the name of each setting that the product reads, and whether it must be given.

    A secret can also be given as a file that NAME_FILE names; those names are not listed. No other
    module reads the environment (`reads_environment` sees to it).
    """
    found: dict[str, bool] = {}
    for reader in ("keyvault/settings.py", "keyvault/vault/secret_store.py"):
        for node in ast.walk(ast.parse((ROOT / reader).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (name := _setting(node)):
                required = not any(word.arg == "default" for word in node.keywords)
                found[name] = found.get(name, True) and required
    return {name: required for name, required in found.items() if not name.endswith("_FILE")}


def reads_environment(source: Source) -> list[str]:
    """Complain of product code that reads the environment past the settings."""
    apart = ("keyvault/settings.py", "keyvault/core/env.py", "keyvault/core/failpoints.py")
    if source.name in apart or not source.name.startswith(("keyvault/", "rotation/")):
        return []
    return [
        f"{source.name}: {match[0]}"
        for match in re.finditer(r"\bos\.(?:environ\b(?!\.setdefault)|getenv\b)", source.text)
    ]


def _setting(call: ast.Call) -> str:
    reader = ast.unparse(call.func)
    if not (re.fullmatch(r"env\.\w+|secret|database", reader) and call.args):
        return ""
    name = call.args[0]
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ""
