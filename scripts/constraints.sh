#!/usr/bin/env bash
# Pin the newest versions that fit together in constraints/, for each Python that is here: `make constraints`
#
# The bounds are those of settings.ini and constraints/bounds.txt. Needs the network; PYTHON=... does it for one Python.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH

pin() { # VERSION INTERPRETER
  local venv=$folder/$1 file=constraints/py${1/./}.txt
  echo "== $file, with $2"
  "$2" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --upgrade pip setuptools wheel
  "$venv/bin/python" -m pip install --quiet --dry-run --ignore-installed --report "$folder/report.json" \
    -c constraints/bounds.txt --no-build-isolation pip setuptools wheel \
    -e '.[train,scale,huggingface,export,notebook,docs,dev]'
  "$venv/bin/python" scripts/write_pins.py "$folder/report.json" "$file"
}

if [ -n "${PYTHON:-}" ]; then
  versions=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
else
  versions=$(sed -n 's/^python_versions = //p' settings.ini)
fi
for version in $versions; do
  if python=$(scripts/find_python.sh --installed "$version"); then
    pin "$version" "$python"
  else
    echo "== constraints/py${version/./}.txt stays as it is"
  fi
done
echo "now make test"
