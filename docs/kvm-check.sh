#!/usr/bin/env bash
# Tests uniprof under KVM, which the project's own machines lack: run it on a host with Intel VT-x or AMD-V.
#   docs/kvm-check.sh            builds uniprof, runs the checks, prints one line each, exits 1 if any fails
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --release --package uniprof
uniprof=${CARGO_TARGET_DIR:-target}/release/uniprof
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
check() { # NAME, python expression over r (report) that must be true
    if python3 - "$work/$1.json" "$2" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
share = lambda name: sum(f["total"] for f in r["functions"] if f["name"].split("::")[-1] == name) / r["samples"]
sys.exit(0 if eval(sys.argv[2]) else 1)
PY
    then echo "ok      $1: $2"; else echo "FAILED  $1: $2"; failed=1; fi
}
for machine in q35 microvm; do
    "$uniprof" record --accel kvm --machine "$machine" -F 999 -d 10 --vcpus 2 -o "$work/$machine.uniprof" \
        -- bundled workload=ratio || { echo "FAILED  $machine: no recording"; failed=1; continue; }
    "$uniprof" report --json "$work/$machine.uniprof" > "$work/$machine.json"
    check "$machine" 'r["samples"] > 15000'
    check "$machine" 'r["named_share"] >= 0.95'
    check "$machine" 'r["own_cost"] <= 0.02'
    check "$machine" 'abs(share("ratio_sixty") - 0.6) < 0.03'
    check "$machine" 'abs(share("ratio_thirty") - 0.3) < 0.03'
    check "$machine" 'abs(share("ratio_ten") - 0.1) < 0.03'
    check "$machine" 'all(v["lost"] == 0 for v in r["vcpus"])'
done
exit $failed
