"Whether this environment has what the core package brings, and no more (`make core`)"

import importlib.util
import sys

import numpy
import pandas

import natural_backdoors

EXTRAS = ("torch", "torchvision", "fastai", "ipywidgets", "jupyterlab")

python = ".".join(map(str, sys.version_info[:3]))
print(f"Python {python} | numpy {numpy.__version__} | pandas {pandas.__version__}", end=" | ")
print(natural_backdoors.__file__)
there = [name for name in EXTRAS if importlib.util.find_spec(name)]
assert not there, f"not part of the core package, but installed with it: {there}"
assert int(numpy.__version__.split(".")[0]) >= 2, "the core package holds numpy back"
assert "site-packages" in natural_backdoors.__file__, "the installed copy is what is to be tested"
