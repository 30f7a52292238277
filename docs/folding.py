"""Which cells of a guide are folded: checks, and what only sets a page up

A page shows what its reader would do. Assertions stand at the end of a cell, or in cells of their
own; imports and the making of small files stand in the first cell. All of it stays in the page,
behind a line to click on, and in the notebook that can be downloaded.
"""

import ast

CHECK, SETUP = "check", "set-up"
GUIDES = ("tutorials", "howto", "explanations")


def fold(code, has_output, is_first):
    "A list of (code, what it is folded as or None); of several, the first has the output"
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return [(code, None)]  # a magic
    if not has_output and all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body):
        return [(code, SETUP)]
    if is_first and not has_output and isinstance(body[0], (ast.Import, ast.ImportFrom)):
        return [(code, SETUP)]
    first = _first_check(body)
    if first == 0 and not has_output and any(isinstance(node, ast.Assert) for node in body):
        return [(code, CHECK)]
    return _apart(code, body, has_output)


def _first_check(body):
    "Where the assertions begin that end a cell, with what is only computed or imported for them"
    first = len(body)
    while first and isinstance(body[first - 1], ast.Assert):
        first -= 1
    if first == len(body):
        return first
    # a cell in which nothing is shown before them is a check altogether
    before = body[:first]
    only_prepares = (ast.Assign, ast.Import, ast.ImportFrom, ast.FunctionDef)
    return 0 if all(isinstance(node, only_prepares) for node in before) else first


def _apart(code, body, has_output):
    "The assertions after which nothing is computed, in a cell of their own"
    checks = []
    for node in reversed(body):
        if isinstance(node, ast.Assert):
            checks.append(node)
        elif not isinstance(node, ast.Expr):
            break
    kept = [node for node in body if node not in checks]
    makes_output = (ast.Expr, ast.For, ast.With, ast.Try, ast.If)
    if not checks or has_output and not any(isinstance(node, makes_output) for node in kept):
        return [(code, None)]  # what the assertions call is what is shown
    lines, taken = code.split("\n"), {}
    for node in checks:
        taken |= dict.fromkeys(range(node.lineno - 1, node.end_lineno))
        above = node.lineno - 2
        while above >= 0 and lines[above].startswith("#"):
            taken[above] = None
            above -= 1
    shown = [line for i, line in enumerate(lines) if i not in taken]
    moved = [line for i, line in enumerate(lines) if i in taken]
    return [("\n".join(shown).strip("\n"), None), ("\n".join(moved), CHECK)]
