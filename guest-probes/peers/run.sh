#!/usr/bin/env bash
# Measures the probes beside their peers in one run; with LTTng-UST where its tools are installed
# (Debian: apt-get install lttng-tools liblttng-ust-dev).
set -euo pipefail
cd "$(dirname "$0")"
features=()
if command -v lttng-sessiond > /dev/null && echo '#include <lttng/tracepoint.h>' | cc -E - > /dev/null 2>&1; then
    features=(--features lttng)
fi
cargo build --release --quiet "${features[@]}"
binary="${CARGO_TARGET_DIR:-target}/release/uniprof-probes-peers"
if [[ ${#features[@]} -eq 0 ]]; then
    exec "$binary" "$@"
fi
# A session daemon and a home of its own: nobody else's sessions are touched.
home=$(mktemp -d)
export LTTNG_HOME="$home" LTTNG_UST_REGISTER_TIMEOUT=5000
lttng-sessiond --no-kernel > "$home/sessiond.log" 2>&1 &
daemon=$!
trap 'lttng destroy peers > /dev/null 2>&1 || true; kill "$daemon" 2> /dev/null || true; wait "$daemon" 2> /dev/null || true; rm -rf "$home"' EXIT
for _ in $(seq 50); do lttng list > /dev/null 2>&1 && break; sleep 0.1; done
# A flight recorder, as ours: events are overwritten in memory and nothing is written out.
lttng create peers --snapshot --output="$home/traces" > /dev/null
lttng enable-channel --userspace --overwrite --subbuf-size=256k --num-subbuf=4 events > /dev/null
lttng enable-event --userspace --channel=events 'peer:event' > /dev/null
lttng start > /dev/null
"$binary" "$@"
