#!/usr/bin/env bash
# Build the source archive and the wheel in dist/, then try the wheel: `make build`
#
# The wheel is installed into a fresh environment, and `natural-backdoors demo --quick` runs from there in an empty
# folder. The packages that it needs are those of .venv, found behind the fresh environment's own, so that torch is not
# fetched again; that the package itself is the wheel's is checked. The results are kept in build/demo-of-wheel, for
# tests/test_demo.py: this folder has to give the same.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
unset PYTHONPATH

echo "== building"
rm -rf build dist
.venv/bin/python -m build --no-isolation --outdir dist > build.log 2>&1 || { cat build.log; exit 1; }
rm build.log
wheel=$(ls "$root"/dist/*.whl)

echo "== trying $(basename "$wheel") in a fresh environment"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
site_packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
.venv/bin/python -m venv --without-pip "$folder/venv"
fresh=$folder/venv/bin
pip=(.venv/bin/python -m pip --python "$fresh/python")
"${pip[@]}" install --no-index --no-deps "$wheel"
site_packages "$root/.venv/bin/python" > "$(site_packages "$fresh/python")/heavy.pth"
"${pip[@]}" check

mkdir "$folder/empty"
cd "$folder/empty"
"$fresh/python" "$root/scripts/check_wheel.py" "$folder/venv"
"$fresh/natural-backdoors" demo --quick
test -n "$(find results -name report.html)" || { echo "the demo left no report" >&2; exit 1; }
mkdir -p "$root/build"
mv results "$root/build/demo-of-wheel"
echo "== the wheel works"
