#!/usr/bin/env bash
# Fail if natural_backdoors/ is not what the notebooks export: `make check-export`
#
# Compared by content, so that it can be asked of a working tree with changes that are not committed.
set -euo pipefail
cd "$(dirname "$0")/.."
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT

cp -r natural_backdoors pyproject.toml "$before"
env -u IN_TEST nbdev_export
diff -r -x __pycache__ "$before/natural_backdoors" natural_backdoors \
  && diff "$before/pyproject.toml" pyproject.toml \
  || { echo "the package was not what the notebooks export; it is now: look at it and commit it" >&2; exit 1; }
