#!/usr/bin/env bash
# Installs the Debian packages that are missing, with sudo where needed, saying so first. Where apt isn't there it
# names what to install. Does nothing, and says nothing, where all is there.
#
#   Scripts/install-dependencies.sh            what building needs
#   Scripts/install-dependencies.sh test       also what the tests use: a scanner, TLS servers, certificates, curl, jq and valgrind
#   Scripts/install-dependencies.sh login      also what the tests of the login need: a browser and Python's venv
set -euo pipefail

if ! command -v swift >/dev/null 2>&1; then
    echo "Swift 6.3 or newer is needed and not on the path: see https://www.swift.org/install/linux/" >&2
    exit 1
fi

has_module() { command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "$1"; }

missing=()
command -v pkg-config >/dev/null 2>&1 || missing+=(pkg-config)
has_module "python3-embed >= 3.11" || missing+=(libpython3-dev)
has_module libcrypto || missing+=(libssl-dev)
has_module libcurl || missing+=(libcurl4-openssl-dev)
has_module sqlite3 || missing+=(libsqlite3-dev)
[ -e /usr/share/zoneinfo/Europe/Berlin ] || missing+=(tzdata)
if [ "${1:-}" = test ]; then
    [ -x /usr/bin/nmap ] || missing+=(nmap)
    [ -x /usr/bin/openssl ] || missing+=(openssl)
    [ -x /usr/bin/python3 ] || missing+=(python3)
    [ -x /usr/bin/curl ] || missing+=(curl)
    [ -x /usr/bin/jq ] || missing+=(jq)
    command -v valgrind >/dev/null 2>&1 || missing+=(valgrind)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
fi
if [ "${1:-}" = login ]; then
    command -v chromium >/dev/null 2>&1 || missing+=(chromium)
    command -v chromedriver >/dev/null 2>&1 || missing+=(chromium-driver)
    # Debian has venv and ensurepip in a package of their own.
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)
fi

[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "These Debian packages, or your distribution's counterparts, are missing: ${missing[*]}" >&2
    echo "Install the development files of libpython (3.11 or newer), OpenSSL 3, libcurl and SQLite, and pkg-config." >&2
    exit 1
fi

sudo=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Missing: ${missing[*]}. Install them as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    sudo=(sudo)
fi

echo "Installing what is missing: ${missing[*]}"
echo "+ ${sudo[*]:+${sudo[*]} }apt-get install ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"

# An older distribution has a package of this name too.
if ! has_module "python3-embed >= 3.11"; then
    echo "libpython 3.11 or newer is needed, and this distribution's libpython3-dev is older:" >&2
    echo "$(pkg-config --modversion python3-embed 2>/dev/null || echo "none was found")" >&2
    exit 1
fi
