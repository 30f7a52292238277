#!/usr/bin/env bash
# Make the environment .venv and install what is pinned for its Python, if that has not been done: `make setup`
#
# A new environment gets the newest Python there is; PYTHON=... names another one, also for an environment that is
# there already. The stamp is written last: an interrupted installation is taken up again by the next `make`.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/.installed

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

if [ -n "${PYTHON:-}" ] || [ ! -x $venv/bin/python ]; then
  python=$(scripts/find_python.sh)
else
  python=$venv/bin/python
fi
wanted=$(version "$python")
pins=constraints/py${wanted/./}.txt
[ -e "$pins" ] || { echo "there are no pins for Python $wanted: make distclean, then make again" >&2; exit 1; }

done_before() { # with this Python, and since the last change of what is to be installed
  [ "$(version $venv/bin/python)" = "$wanted" ] || return
  for file in "$pins" settings.ini setup.py; do
    [ $stamp -nt "$file" ] || return
  done
}
done_before && exit

echo "== installing into $venv with Python $wanted (some minutes and 7 GB the first time)"
if [ "$(version $venv/bin/python)" != "$wanted" ] || ! $venv/bin/python -m pip --version >/dev/null 2>&1; then
  "$python" -m venv --clear $venv \
    || { echo "could not make $venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
fi
# Build isolation is off, so that nothing but the pinned versions is ever fetched, and nothing at all once they are there.
scripts/install.sh $venv "$pins" -c "$pins" pip setuptools wheel
scripts/install.sh $venv "$pins" -c "$pins" --no-build-isolation \
  -e '.[train,scale,huggingface,export,notebook,docs,dev]'
$venv/bin/python -m pip check
$venv/bin/python docs/npm.py $venv/npm || echo "== only make docs needs them: it will try again" >&2
rm -f $venv/graph-tool/left-out
touch $stamp
echo "== installed: $(du -sh $venv | cut -f1) in $venv, $SECONDS seconds"
