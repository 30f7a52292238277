"""Install from `settings.ini`, the one place where names, versions and requirements are kept."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
cfg = ConfigParser(delimiters=["="], inline_comment_prefixes=None)
cfg.read(here / "settings.ini", encoding="utf-8")
cfg = cfg["DEFAULT"]


def requirements(key):
    "The space-separated requirements under `key` as a list."
    return cfg.get(key, "").split()


extras = {
    name: requirements(f"{name}_requirements")
    for name in ("train", "scale", "huggingface", "export", "notebook", "docs", "dev")
}
readme = here / "README.md"

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    url=cfg["git_url"],
    license="MIT",
    author=cfg["author"],
    author_email=cfg["author_email"],
    keywords=cfg["keywords"].split(),
    packages=find_packages(include=["natural_backdoors", "natural_backdoors.*"]),
    python_requires=f">={cfg['min_python']}",
    install_requires=requirements("requirements"),
    extras_require={**extras, "all": sorted({r for rs in extras.values() for r in rs})},
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "nbdev": [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        *(f"Programming Language :: Python :: {v}" for v in cfg["python_versions"].split()),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Security",
    ],
    include_package_data=False,
    # scripts, styles and pages of the picker, and facts of the published experiments
    package_data={
        f"{cfg['lib_path']}.pick": ["static/*", "static/**/*"],
        f"{cfg['lib_path']}.paper": ["*.json"],
    },
    zip_safe=False,
)
