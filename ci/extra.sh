#!/bin/sh
# Install what is not in requirements.lock because few need it: `sh ci/extra.sh site` installs ci/site.lock into .venv, once.
set -eu
cd "$(dirname "$0")/.."
lock=ci/$1.lock
mark=.venv/.$1
[ -f "$lock" ] || { printf 'set-up: there is no %s\n' "$lock" >&2; exit 2; }
# The set-up removes what is not in requirements.lock, and writes .ready anew when it does.
wanted() { cat "$lock" .venv/.ready | cksum; }
[ -f "$mark" ] && [ "$(cat "$mark")" = "$(wanted)" ] && exit 0

pip='.venv/bin/python -m pip'
. ci/uv.sh
printf 'set-up: installing what `make %s` needs (%s)\n' "$1" "$lock"
uv_pip install --quiet --require-hashes --only-binary :all: -r "$lock" || {
    printf 'set-up: installing %s failed; the reason stands above. Check the network, then run the same command again\n' "$lock" >&2
    exit 2
}
wanted >"$mark.new"
mv "$mark.new" "$mark"
