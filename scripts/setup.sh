#!/bin/sh
# Makes .venv and installs one lock file into it; does nothing when that is done already.
# Usage: scripts/setup.sh [requirements.lock]
set -eu

lock=${1:-requirements.lock}
venv=.venv
done_mark=$venv/$lock.installed # a copy of the lock: what is installed is what it says

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    fail "No Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3"
}

make_venv() {
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no venv module. Install it (Debian, Ubuntu: apt-get install python3-venv), then run make again."
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear $venv ||
        fail "Could not make $venv. Is this folder writable for user $(id -un)?"
}

if [ -f "$done_mark" ] && cmp -s "$lock" "$done_mark" && new_enough $venv/bin/python; then
    exit 0
fi
# A virtual environment that was moved, broken off half way or made by an older Python is of no use.
if ! { new_enough $venv/bin/python && $venv/bin/python -m pip --version >/dev/null 2>&1; }; then
    make_venv
fi
say "installing $lock (the first time takes a minute or two)"
$venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$lock" ||
    fail "Installing failed; pip's message is above. It needs a package index it can reach. Nothing is compiled."
cp "$lock" "$done_mark"
