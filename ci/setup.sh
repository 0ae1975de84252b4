#!/bin/sh
# Make .venv hold exactly what requirements.lock says, and the package itself. Called by every target of the Makefile.
#
#   sh ci/setup.sh [--quiet]     --quiet: say nothing when there is nothing to do
#   PYTHON=python3.12            the Python to use; without it, the first of python3, python3.11 ... python3.14 that will do
#   FFCV=1, FFCV=0               install FFCV or leave it out; without it, it is installed where there is an NVIDIA GPU and
#                                the system allows it (ci/ffcv.sh)
#
# A second call is instant. A call that was interrupted is repaired by the next one, and two calls at once wait for each
# other. Nothing outside .venv is touched, but for uv's download cache; and as root on Debian or Ubuntu, python3-venv is
# installed where a virtual environment cannot be made without it, and what FFCV needs where FFCV is installed.
set -eu
cd "$(dirname "$0")/.."
export PYTHONUTF8=1 # the path of the clone may hold any character, whatever the locale

venv=.venv
quiet=no
[ "${1-}" = --quiet ] && quiet=yes
# pip for a Python without ensurepip; the version does not matter to the results, since all it installs is uv.
pip_url=https://files.pythonhosted.org/packages/07/25/ee8c38ae72d66b844ce8eb9711ba905dba21ca1a8a0c960057c41cd23337/pip-26.3-py3-none-any.whl
pip_sha256=f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13

say() { printf 'set-up: %s\n' "$*"; }
die() {
    printf 'set-up: %s\n' "$@" >&2
    exit 2
}

# What .venv must have been made from: the lock, the package's metadata, this script, and the place it stands in.
wanted() { cat requirements.lock pyproject.toml ci/setup.sh | cksum; pwd; }

suits() { # suits PYTHON: is it CPython 3.11 to 3.14, which the lock covers?
    "$1" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 14) and sys.implementation.name == "cpython"))' 2>/dev/null
}

version() { "$1" -c 'import platform; print(platform.python_version())'; }

ready() {
    [ -f "$venv/.ready" ] && [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.ready")" = "$(wanted)" ] || return 1
    # A Python asked for by name must be the one that is there.
    [ -z "${PYTHON-}" ] || [ "$(version "$PYTHON" 2>/dev/null)" = "$(version "$venv/bin/python")" ]
}

find_python() {
    if [ -n "${PYTHON-}" ]; then
        command -v "$PYTHON" >/dev/null || die "PYTHON=$PYTHON: there is no such program"
        suits "$PYTHON" || die "PYTHON=$PYTHON is not CPython 3.11 to 3.14, which is what the packages are locked for"
        python=$PYTHON
        return
    fi
    for python in python3 python3.11 python3.12 python3.13 python3.14; do
        suits "$python" && return
    done
    die "no CPython 3.11 to 3.14 found. Install one (Debian 12, Ubuntu 24.04 and later: apt install python3 python3-venv)," \
        "or name yours: make setup PYTHON=/path/to/python3.12"
}

fetch_pip() { # fetch_pip FILE: the pinned pip, straight from PyPI, its checksum verified
    "$python" - "$pip_url" "$pip_sha256" "$1" <<'PY'
import hashlib, sys, urllib.request
url, sha256, path = sys.argv[1:]
try:
    content = urllib.request.urlopen(url, timeout=60).read()
except (OSError, ImportError) as error:
    sys.exit(f"set-up: {url}: {error}")
if hashlib.sha256(content).hexdigest() != sha256:
    sys.exit(f"set-up: {url} is not the file it should be (sha256)")
open(path, "wb").write(content)
PY
}

make_venv() { # leaves in $pip the command that runs pip for the new environment
    mkdir "$venv"
    : >"$venv/.incomplete"
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv "$venv"
        return
    fi
    say "this Python has no ensurepip (Debian's package python3-venv); fetching pip from PyPI instead"
    if "$python" -m venv --without-pip "$venv" && fetch_pip "$venv/pip-26.3-py3-none-any.whl"; then
        bootstrap=$venv/pip-26.3-py3-none-any.whl/pip
        return
    fi
    # Debian names the package after the version of Python: python3.11-venv.
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "cannot make a virtual environment. Run 'sudo apt-get install $package', then this again"
    fi
    say "installing Debian's package $package"
    { DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$package" ||
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$package"; }; } </dev/null >"$venv/apt.log" 2>&1 ||
        { cat "$venv/apt.log" >&2; die "apt-get could not install $package, without which there is no virtual environment"; }
    "$python" -m venv "$venv"
}

fail_install() {
    die "installing the packages failed; the reason stands above. They come from PyPI (about 3 GB, 7 GB on disk):" \
        "check the network and the free disk space, then run the same command again; what was fetched is kept"
}

with_ffcv() { # after everything else, because syncing to the lock removes what is not in it
    case ${FFCV-} in
    1) sh ci/ffcv.sh ;;
    0) ;;
    *) sh ci/ffcv.sh --auto ;;
    esac
}

if ready; then
    [ "${FFCV-}" != 1 ] || with_ffcv
    [ $quiet = yes ] || say "ready ($venv, Python $(version $venv/bin/python))"
    exit 0
fi

if command -v flock >/dev/null; then
    exec 9>.setup.lock
    flock -n 9 || { say "another set-up is running here; waiting for it"; flock 9; }
    ready && { say "ready"; exit 0; }
fi

# An environment that was left half-made, whose Python is gone, or that is not the Python asked for, is made anew.
if [ -e "$venv" ] || [ -L "$venv" ]; then
    if [ -e "$venv/.incomplete" ] || ! suits "$venv/bin/python"; then
        say "removing a $venv that is half-made, or not of CPython 3.11 to 3.14"
        rm -rf "$venv"
    elif [ -n "${PYTHON-}" ] && [ "$(version "$PYTHON" 2>/dev/null)" != "$(version "$venv/bin/python")" ]; then
        find_python
        say "removing the $venv of another Python"
        rm -rf "$venv"
    fi
fi

bootstrap=
if [ ! -d "$venv" ]; then
    find_python
    say "making $venv with Python $(version "$python")"
    make_venv
fi
: >"$venv/.incomplete"
rm -f "$venv/.ready"

# uv's version and hashes are the lock's.
sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ /p;}' requirements.lock >"$venv/uv.txt"
if ! "$venv/bin/python" -m uv --version 2>/dev/null | grep -qx "$(sed -n 's/^uv==\([^ ]*\).*/uv \1.*/p' "$venv/uv.txt")"; then
    say "installing uv"
    [ -n "$bootstrap" ] || "$venv/bin/python" -c 'import pip' 2>/dev/null || {
        python=$venv/bin/python
        fetch_pip "$venv/pip-26.3-py3-none-any.whl" || fail_install
        bootstrap=$venv/pip-26.3-py3-none-any.whl/pip
    }
    "$venv/bin/python" ${bootstrap:--m pip} install --quiet --disable-pip-version-check --no-input --require-hashes -r "$venv/uv.txt" ||
        fail_install
fi
pip="$venv/bin/python ${bootstrap:--m pip}"
. ci/uv.sh
say "installing the packages of requirements.lock (a few minutes the first time)"
uv_pip sync --quiet --require-hashes --only-binary :all: requirements.lock || fail_install
# Editable, so that the code that runs is the code of the clone.
uv_pip install --quiet --no-deps --no-build-isolation --editable . ||
    die "installing the package itself failed; the reason stands above"

rm -f "$venv"/pip-*.whl "$venv/uv.txt" "$venv/apt.log"
wanted >"$venv/.ready.new"
mv "$venv/.ready.new" "$venv/.ready"
rm -f "$venv/.incomplete"
with_ffcv
say "ready ($venv, Python $(version "$venv/bin/python"))"
