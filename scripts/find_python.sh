#!/usr/bin/env bash
# Print the Python to use: the newest of those in settings.ini (python_versions) that is there.
#
#     scripts/find_python.sh                the newest of them
#     scripts/find_python.sh 3.11           this version
#     scripts/find_python.sh --installed    also those that pyenv has, but that are not in use
#     PYTHON=/path scripts/find_python.sh   that one, if its version is one of them
#
# Interpreters are asked for their version, their names are not believed: a version manager has a `python3.13` also
# where 3.13 is not in use. What is printed is the interpreter itself, not the name that led to it.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --installed ]; then
  shift
  if command -v pyenv >/dev/null; then
    PYENV_VERSION=$(pyenv versions --bare | paste -sd:)
    export PYENV_VERSION
  fi
fi
versions=$*
if [ -z "$versions" ]; then # newest first
  for version in $(sed -n 's/^python_versions = //p' settings.ini); do versions="$version${versions:+ $versions}"; done
fi
ask='import sys; print("%d.%d" % sys.version_info[:2], getattr(sys, "_base_executable", sys.executable))'

if [ -n "${PYTHON:-}" ]; then
  read -r version path < <("$PYTHON" -c "$ask") || { echo "$PYTHON does not run" >&2; exit 1; }
  [[ " $versions " == *" $version "* ]] \
    || { echo "Python ${versions// / or } is needed, $PYTHON is $version" >&2; exit 1; }
  echo "$path"
  exit
fi

for wanted in $versions; do
  for name in "python$wanted" python3 python; do
    read -r version path < <("$name" -c "$ask" 2>/dev/null) || continue
    if [ "$version" = "$wanted" ]; then
      echo "$path"
      exit
    fi
  done
done
echo "no Python ${versions// / or } found: make PYTHON=/path/to/python" >&2
exit 1
