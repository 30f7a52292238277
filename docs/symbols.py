"Reference entries of what the package exports, as MyST Markdown"

import functools
import inspect
import re
from importlib import import_module

from fastcore.docments import docments

PACKAGE = "natural_backdoors"
# Where a class stands is asked several times, and to find it Python parses its whole module
inspect.findsource = functools.cache(inspect.findsource)


def find(module, name):
    "The object `name` (dotted, if it is part of a class) of a module of the package"
    return functools.reduce(getattr, name.split("."), import_module(module))


def unwrapped(obj):
    "The function behind a property, a static or a class method"
    return inspect.unwrap(getattr(obj, "fget", None) or getattr(obj, "__func__", obj))


def is_ours(module, name):
    "Whether we wrote a symbol; matplotlib, for one, adds methods to classes made from its own"
    where = getattr(unwrapped(find(module, name)), "__module__", None)
    return where is None or where.startswith(PACKAGE)


def line(module, name):
    "The line of its module on which a symbol is defined"
    lines, first = inspect.getsourcelines(unwrapped(find(module, name)))
    decorators = (i for i, text in enumerate(lines) if text.lstrip().startswith(("def ", "class ")))
    return (first or 1) + next(decorators, 0)


def signature(obj, skip_first):
    "The parameters and their defaults; types are in the table"
    try:
        parameters = list(inspect.signature(obj).parameters.values())[skip_first:]
    except (TypeError, ValueError):
        return "()"
    return str(
        inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])
    )


def type_name(annotation):
    "A type as people write it, without modules"
    if annotation in (inspect.Parameter.empty, type(None), None):
        return ""
    if isinstance(annotation, inspect._ParameterKind):
        return ""  # *args
    return re.sub(r"\b(\w+\.)+(?=\w)", "", inspect.formatannotation(annotation)).strip("'")


def cell(text):
    "Text for one cell of a table, where only what stands in back-ticks is markup"
    parts = re.split(r"(`[^`]*`)", " ".join(str(text or "").split()))
    parts[::2] = [re.sub(r"([\\*_\[\]<>$#])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).replace("|", r"\|")


def fields_of(obj):
    "The meaning of each setting that a function takes, or that a class consists of"
    settings = getattr(obj, "settings", None) or obj
    about = getattr(settings, "about", None)
    is_settings = isinstance(settings, type) and callable(about)
    return {name: field.meaning for name, field in about().items()} if is_settings else {}


def table(obj, known, linked):
    "Parameters with type, default and meaning, and what is returned, without empty columns"
    rows, absent = [], inspect.Parameter.empty
    said = fields_of(obj) | getattr(obj, "meanings", {})
    for name, p in docments(obj, full=True).items():
        kinds = [k for k in type_name(p["anno"]).split(" | ") if k]
        if name in ("self", "cls") or name == "return" and not (kinds or p["docment"]):
            continue
        rows.append(
            [
                "*returns*" if name == "return" else f"`{name}`",
                " \\| ".join(
                    f"{{py:obj}}`{k} <{known[k]}>`" if k in known else cell(f"`{k}`") for k in kinds
                ),
                "" if p["default"] is absent else cell(f"`{p['default']!r}`"),
                linked(cell(p["docment"] or said.get(name))),
            ]
        )
    if not rows:
        return ""
    columns = [
        c
        for c in zip(["parameter", "type", "default", "meaning"], ["---"] * 4, *rows)
        if any(c[2:])
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in zip(*columns))


def entry(module, name, known, linked):
    "The entry of one symbol; `known`: full names of names, `linked`: makes links of names in prose"
    obj, owner = find(module, name), name.rpartition(".")[0]
    function, options, kind = unwrapped(obj), [f":module: {module}"], "function"
    if isinstance(obj, type):
        kind = "exception" if issubclass(obj, BaseException) else "class"
    elif isinstance(obj, property):
        kind = "property"
    elif owner:
        static = inspect.getattr_static(find(module, owner), name.rpartition(".")[2])
        kind = "method"
        options += [f":{k.__name__}:" for k in (staticmethod, classmethod) if isinstance(static, k)]
    # how an object of a class is made is told where we say it, not where it is only inherited
    ours = not isinstance(obj, type) or getattr(obj.__init__, "__module__", "").startswith(PACKAGE)
    silent = kind == "property" or not ours
    shown = (
        "" if silent else signature(function, kind == "method" and ":staticmethod:" not in options)
    )
    own = vars(obj).get("__doc__") if isinstance(obj, type) else function.__doc__
    # the fields of settings are in the table
    doc = linked(inspect.cleandoc(own or "").partition("\n\nFields of `")[0])
    parameters = "" if silent else table(function, known, linked)
    parts = [f"````{{py:{kind}}} {name}{shown}\n" + "\n".join(options), doc, parameters, "````"]
    if isinstance(obj, type):
        inner = [
            m
            for m, v in vars(obj).items()
            if not m.startswith("_")
            and inspect.isfunction(unwrapped(v))
            and is_ours(module, f"{name}.{m}")
            and f"{module}.{name}.{m}" not in known.values()
        ]
        parts += [entry(module, f"{name}.{m}", known, linked) for m in inner]
    return "\n\n".join(part for part in parts if part)
