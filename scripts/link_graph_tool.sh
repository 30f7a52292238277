#!/usr/bin/env bash
# Make the graph-tool of the distribution visible in .venv, where it fits: `make graph-tool`
#
# graph-tool is not on PyPI. Debian has it, built for its own Python and numpy; only its own folder is linked, no other
# package of the distribution. Whether it fits is tried by importing it; where that fails, scipy does the work.
set -euo pipefail
cd "$(dirname "$0")/.."
source=${GRAPH_TOOL:-/usr/lib/python3/dist-packages/graph_tool}
folder=$PWD/.venv/graph-tool
link=$folder/graph_tool
left_out=$folder/left-out

[ -d "$source" ] || exit 0
[ ! -e "$link" ] || exit 0
[ ! "$left_out" -nt "$source" ] || exit 0 # tried before, and neither of the two has changed

mkdir -p "$folder"
rm -f "$left_out"
ln -sfn "$source" "$link"
site_packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$folder" > "$site_packages/graph-tool.pth"
if why=$(.venv/bin/python -c 'import graph_tool.centrality' 2>&1); then
  echo "== graph-tool: linked $source"
else
  rm "$link"
  touch "$left_out"
  echo "== graph-tool: $source does not import into .venv, left out (${why##*$'\n'})"
fi
