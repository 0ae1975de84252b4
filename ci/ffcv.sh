#!/bin/sh
# Install FFCV, the faster reader of ImageNet (LOADER=ffcv), into .venv: `make ffcv`, or `make setup FFCV=1`.
#
#   sh ci/ffcv.sh          install it, with what it needs of the system; fails with the command to run where it cannot
#   sh ci/ffcv.sh --auto   as the set-up calls it: installs where there is an NVIDIA GPU and the system allows it,
#                          otherwise says how to; never fails, because everything works without it
#
# FFCV comes as source only. Its last release is of March 2023; ci/ffcv.lock has versions that it works with, hashed.
# The system's packages (about 240 MB to fetch, 1 GB on disk) are installed as root on Debian and Ubuntu alone.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
packages='g++ pkg-config libturbojpeg0-dev libopencv-dev'

say() { printf 'set-up: %s\n' "$*"; }
give_up() { # give_up MESSAGE ...: an error, but for --auto
    printf 'set-up: %s\n' "$@" >&2
    [ "$mode" = --auto ] && exit 0
    exit 2
}

mode=${1-}
[ -x "$python" ] || { say "there is no .venv yet; run 'make setup' first" >&2; exit 2; }
wanted() { cat ci/ffcv.lock ci/ffcv.sh "$python" | cksum; }
[ -f .venv/.ffcv ] && [ "$(cat .venv/.ffcv)" = "$(wanted)" ] && "$python" -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("ffcv"))' && exit 0

# A Python from Debian has its headers in a package of their own.
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
[ -f "$header" ] || packages="$packages $("$python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')"
present() { command -v g++ && command -v pkg-config && pkg-config --exists opencv4 libturbojpeg && [ -f "$header" ]; }

if [ "$mode" = --auto ] && ! command -v nvidia-smi >/dev/null && ! [ -e .venv/.ffcv ]; then
    say "FFCV, which reads ImageNet faster, is not installed: 'make ffcv' does it; nothing else needs it"
    exit 0
fi
if ! present >/dev/null 2>&1; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        give_up "FFCV needs g++, pkg-config, and the development files of OpenCV, TurboJPEG and Python. On Debian and Ubuntu:" \
            "    sudo apt-get install --no-install-recommends $packages && make ffcv" \
            "Elsewhere install the like of them, then 'make ffcv'; with conda, see environment.yml." \
            "Until then ImageNet is read by torchvision, at about half the speed; nothing else changes."
    fi
    say "installing what FFCV needs: $packages (about 240 MB)"
    # shellcheck disable=SC2086  # a list of packages
    install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages; }
    { install || { apt-get update -q && install; }; } </dev/null >.venv/apt.log 2>&1 || {
        tail -n 20 .venv/apt.log >&2
        give_up "apt-get could not install $packages, so FFCV is not installed"
    }
fi

# Versions and hashes are the lock's, and so is the setuptools that compiles FFCV; `--no-deps`, because FFCV asks for
# opencv-python, which wants libGL, where the headless build does.
say "compiling FFCV"
pip="$python -m pip"
. ci/uv.sh
uv_pip install --quiet --require-hashes --no-deps --no-build-isolation-package ffcv -r ci/ffcv.lock ||
    give_up "FFCV could not be compiled; the reason stands above. Without it ImageNet is read by torchvision"
"$python" -c 'import ffcv' || give_up "FFCV was compiled but cannot be imported; the reason stands above"
rm -f .venv/apt.log
wanted >.venv/.ffcv
say "FFCV is installed: take it with LOADER=ffcv, after 'python -m paper_repro data imagenet --write-ffcv'"
