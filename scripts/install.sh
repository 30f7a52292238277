#!/usr/bin/env bash
# Install packages into an environment: scripts/install.sh ENVIRONMENT PINS ARGUMENTS-OF-PIP-INSTALL...
#
# uv takes a quarter of pip's time. Only pip knows pip's settings (another index, say): it takes over, and says so, where
# uv cannot be had or does not come through. PINS is the file that names uv's version.
set -euo pipefail
environment=$1 pins=$2
shift 2
pip=("$environment/bin/python" -m pip install)
uv=$environment/bin/uv

"${pip[@]}" --quiet -c "$pins" uv && "$uv" pip install --quiet --python "$environment/bin/python" "$@" && exit
echo "== uv failed: once more with pip" >&2
"${pip[@]}" "$@"
