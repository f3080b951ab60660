#!/bin/sh
# Installs the stock clients that have environments of their own into var/sdk, all at once; what is there already stays.
# Without node the JavaScript clients are left out, unless FAIRLANE_REQUIRE_SDK is set.
set -eu

home=var/sdk
pins=tests/sdk

say() { printf 'sdk: %s\n' "$*" >&2; }

is_done() { [ -f "$2" ] && cmp -s "$1" "$2"; } # lock, copy of the lock that is installed

install_python() { # name
    lock=$pins/python/$1.lock
    mark=$home/$1/installed.lock
    if is_done "$lock" "$mark"; then return; fi
    say "installing $1"
    .venv/bin/python -m venv --clear "$home/$1"
    # Nothing is compiled ahead: of most modules nothing is ever imported.
    "$home/$1/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        --no-compile -r "$lock"
    cp "$lock" "$mark"
}

install_js() {
    lock=$pins/js/package-lock.json
    mark=$home/js/installed.lock
    if ! command -v npm >/dev/null; then
        say "the JavaScript clients are left out: there is no npm. Install it (Debian: apt-get install nodejs npm)."
        [ -z "${FAIRLANE_REQUIRE_SDK:-}" ]
        return
    fi
    if is_done "$lock" "$mark"; then return; fi
    say "installing the JavaScript clients"
    mkdir -p "$home/js"
    cp "$pins/js/package.json" "$lock" "$home/js/"
    npm ci --prefix "$home/js" --silent --no-audit --no-fund --ignore-scripts
    cp "$lock" "$mark"
}

mkdir -p $home
install_js & running=$!
for wanted in "$pins"/python/*.in; do
    install_python "$(basename "$wanted" .in)" & running="$running $!"
done
failed=
for one in $running; do
    wait "$one" || failed=yes
done
if [ -n "$failed" ]; then
    say "installing failed; the message is above. It needs a package index and an npm registry that it can reach."
    exit 1
fi
