# Sourced by setup.sh and ffcv.sh, after `pip` has been set to the command that runs pip: `uv_pip ...` works in .venv.
#
# uv fetches and unpacks side by side, which takes less than half of pip's time, but it does not read pip's settings, so
# a mirror that pip has been told of is passed on; and like pip it shall trust what the system trusts, or it stops at
# the certificate of an institution's proxy.
# shellcheck shell=sh disable=SC2086,SC2154  # pip is a command with its arguments
mirror=$($pip config get global.index-url 2>/dev/null || true)
mirror=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$mirror}}
[ -z "$mirror" ] || export UV_DEFAULT_INDEX="$mirror"
for store in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    [ ! -s "$store" ] || { export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS-1}"; break; }
done

# Where Python may not write bytecode, as in many containers, every start would compile torch and pandas anew: seconds each.
[ -z "${PYTHONDONTWRITEBYTECODE-}" ] || export UV_COMPILE_BYTECODE=1

uv_pip() { VIRTUAL_ENV=$PWD/.venv UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180} .venv/bin/python -m uv pip "$@"; }
