#!/usr/bin/env bash
# Run the notebooks that need the core package alone, with the newest numpy and pandas: `make core`
#
# The package as users get it without extras: a fresh environment, and an installed copy instead of this folder. nbdev
# and hypothesis are there only to run the notebooks; graph-tool is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
core=$root/.venv-core
python=$(scripts/find_python.sh)
pins=constraints/py$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])').txt
folders=$(sed -n 's/^core_folders = //p' settings.ini)

echo "== core package only, newest numpy and pandas, $("$python" --version)"
rm -rf "$core"
"$python" -m venv "$core"
mkdir "$core/tree"
cp -r natural_backdoors nbs settings.ini setup.py pyproject.toml README.md LICENSE "$core/tree"
scripts/install.sh "$core" "$pins" "$core/tree" $(grep -E '^(nbdev|fastcore|execnb|ghapi|hypothesis)==' "$pins")
rm -r "$core/tree/natural_backdoors"
echo "== it takes $(du -sm --exclude=tree "$core" | cut -f1) MB, with what runs the notebooks"

cd "$core/tree"
export PATH=$core/bin:$PATH
unset PYTHONPATH NB_REQUIRE_GRAPH_TOOL
# pages share the scenes that they draw, with one another and not with another Python
export NATURAL_BACKDOORS_SCENES=$core/scenes
python "$root/scripts/check_core.py"
# all of them in one run, whose processes import once; threads of a BLAS would only be in each other's way
export OMP_NUM_THREADS=1
nbdev_test --path nbs/api --folder_re "/(${folders// /|})\$" --n_workers "${WORKERS:-2}" --timing --do_print
