#!/usr/bin/env bash
# On a GPU machine with Python's torch (2.10 to 2.15), a C++20 compiler, no Node and no registry: unpacks what pack.mjs
# made, builds the addons for the torch at hand, runs the doctor, the GPU tests and the bench. In the root of the checkout:
#   bash tests/gpu/run.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3}
tar -xJf .fettle/gpu/gpu.tar.xz --no-same-owner
mkdir -p .fettle/bin && mv -f node .fettle/bin/node
ln -sfn ../native node_modules/fettle-native
ln -sfn ../sdk node_modules/fettle
export PATH="$PWD/.fettle/bin:$PATH"
export FETTLE_LIBTORCH=${FETTLE_LIBTORCH:-$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')}
node --version
node native/setup/build.mjs
node -e "const n = require('fettle-native'); console.log(n.formatReport(n.inspect()))"
node tests/run.mjs --tier gpu
node tests/gpu/bench.mjs
