"Whether the package is the one in FOLDER, with all its files: `check_wheel.py FOLDER`"

import importlib.metadata
import pkgutil
import sys
from pathlib import Path

import natural_backdoors


def files(folder):
    "Paths of all files below `folder`, relative to it, but for what Python makes when it runs"
    paths = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return {str(p) for p in paths if "__pycache__" not in p.parts}


package = Path(natural_backdoors.__file__).resolve().parent
checkout = Path(__file__).resolve().parent.parent / "natural_backdoors"
environment = Path(sys.argv[1]).resolve()

assert environment in package.parents, f"{package} is not in {environment}"
assert files(package) == files(checkout), (
    f"in the checkout and in the wheel differ: {sorted(files(package) ^ files(checkout))}"
)
version = importlib.metadata.version("natural_backdoors")
assert version == natural_backdoors.__version__, f"{version} is not {natural_backdoors.__version__}"
modules = [m.name for m in pkgutil.walk_packages([str(package)], "natural_backdoors.")]
for name in modules:
    importlib.import_module(name)
print(f"{package}: version {version}, {len(files(package))} files, {len(modules)} modules import")
