#!/bin/sh
# Install SLURM (3 MB), on which the tests of `make submit` start a cluster of their own: as root on Debian and Ubuntu.
# Nothing is configured or started here.
set -eu
PATH=$PATH:/usr/sbin:/sbin
command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    printf 'set-up: SLURM has to be installed by hand; on Debian and Ubuntu: sudo apt-get install slurm-wlm\n' >&2
    exit 2
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
printf 'set-up: installing SLURM\n'
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends slurm-wlm; }
{ install || { apt-get update -q && install; }; } </dev/null >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    printf 'set-up: apt-get could not install slurm-wlm\n' >&2
    exit 2
}
