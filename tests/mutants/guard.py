"""How a guard is found and taken out: by the comment `# guard: NAME` above its statement.

Neither a rename of its file nor a reformatted neighbour loses it. A guard is its name, what becomes
of it, and the tests that must fail then. What becomes of it is FALSE (its condition), GONE (its whole
statement), or a text and what stands there instead, looked for from the comment on.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FALSE = "its condition is never true"
GONE = "its statement is not there"

Guard = tuple[str, str, str] | tuple[str, str, str, str]

_PLACES = ("keyvault", "rotation", "sandbox", "scripts")


def marked() -> dict[str, list[Path]]:
    """Return in which files, relative to the project, each marker stands."""
    found: dict[str, list[Path]] = {}
    for place in _PLACES:
        for path in sorted((ROOT / place).rglob("*")):
            if path.is_file() and path.suffix in ("", ".py"):
                for line in path.read_text(encoding="utf-8").splitlines():
                    mark, _, name = line.strip().partition("# guard: ")
                    if name and not mark:
                        found.setdefault(name, []).append(path.relative_to(ROOT))
    return found


def without(guard: Guard, text: str) -> str:
    """Return a file's text with the guard taken out; raises LookupError when it is not there."""
    name = guard[0]
    lines: list[str] = []
    at: list[int] = []
    for line in text.splitlines(keepends=True):
        if line.strip() == f"# guard: {name}":
            at.append(len(lines))
        elif not line.lstrip().startswith("# guard: "):
            lines.append(line)
    if len(at) != 1:
        raise LookupError(f"{name}: {len(at)} comments mark it")
    if len(guard) == 3:
        return _without_statement(lines, at[0], guard[1])
    before, after = "".join(lines[: at[0]]), "".join(lines[at[0] :])
    if guard[1] not in after:
        raise LookupError(f"{name}: its text does not follow the comment")
    return before + after.replace(guard[1], guard[2], 1)


def _without_statement(lines: list[str], first: int, change: str) -> str:
    while lines[first].lstrip().startswith("#"):
        first += 1
    nodes = [
        node
        for node in ast.walk(ast.parse("".join(lines)))
        if isinstance(node, ast.stmt) and node.lineno == first + 1
    ]
    if not nodes:
        raise LookupError(f"no statement follows the comment in line {first}")
    node = nodes[0]
    if change == FALSE:
        if not isinstance(node, ast.If | ast.While):
            raise LookupError(f"no condition follows the comment in line {first}")
        return _replaced(lines, node.test, "False")
    return _replaced(lines, node, "pass")


def _replaced(lines: list[str], node: ast.stmt | ast.expr, text: str) -> str:
    last, end = node.end_lineno, node.end_col_offset
    assert last is not None
    assert end is not None
    head = "".join(lines[: node.lineno - 1]) + _cut(lines[node.lineno - 1], 0, node.col_offset)
    return head + text + _cut(lines[last - 1], end, None) + "".join(lines[last:])


def _cut(line: str, start: int, end: int | None) -> str:
    """Cut a line by the offsets of the syntax tree, which count bytes."""
    return line.encode()[start:end].decode()
