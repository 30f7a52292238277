#!/usr/bin/env bash
# Fail if a notebook holds what nbdev_clean would remove: `make check-clean`
#
# Compared by content, so that it can be asked of a working tree with changes that are not committed.
set -euo pipefail
cd "$(dirname "$0")/.."
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT

cp -r nbs "$before"
nbdev_clean
diff -rq -x .ipynb_checkpoints "$before/nbs" nbs \
  || { echo "these notebooks were not clean; they are now: look at them and commit them" >&2; exit 1; }
