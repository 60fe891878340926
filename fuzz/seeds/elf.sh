#!/usr/bin/env bash
# Small real images of every kind, for the target `elf`: ./elf.sh FOLDER. What this machine has no tool for is left out.
set -euo pipefail
out=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > a.cc <<'SOURCE'
template <typename T> static inline T twice(T x) { int y; __asm__ volatile("imul $7, %1, %0" : "=r"(y) : "r"(x)); return y; }
namespace outer { __attribute__((noinline)) int shown(int x) { return twice<int>(x); } }
int seed = 4;
extern "C" void _start() { seed = outer::shown(seed); for (;;) ; }
SOURCE
build() { gcc -O2 -static -nostdlib -nostartfiles -no-pie -fno-pic a.cc -o image "$@"; }
pair() { { cat image; printf '\n--debug file--\n'; cat "$1"; } > "$out/$2"; }
keep() { cp image "$out/$1"; }
build -gdwarf-5 -Wl,--build-id && keep dwarf5
build -gdwarf-4 -Wl,--build-id=none && keep dwarf4
build -gdwarf-5 -gz=zlib && keep zlib
build -gdwarf-5 -Wl,--compress-debug-sections=zstd && keep zstd
build -gdwarf-4 -Wl,--compress-debug-sections=zlib-gnu && keep zdebug
gcc -O2 -shared -fPIC -nostdlib a.cc -o image -g && keep shared
build -s && keep stripped
build -gdwarf-5 -Wl,--build-id
objcopy --only-keep-debug image d && strip -s image && pair d build-id
build -gdwarf-5 -Wl,--build-id=none
objcopy --only-keep-debug image d && strip -s image && pair d layout
objcopy --add-gnu-debuglink=d image && pair d debuglink
for version in 4 5; do
    build "-gdwarf-$version" -gsplit-dwarf && pair image-a.dwo "dwo$version"
done
build -gdwarf-4 -gsplit-dwarf
if dwp -e image -o p 2>/dev/null; then pair p dwp; fi
build -gdwarf-4 -Wl,--build-id && cp image twin
if dwz -m common image twin 2>/dev/null; then pair common dwz; fi
build -g && cp image mini && strip -g mini && strip -s image
if xz -f mini; then objcopy --add-section .gnu_debugdata=mini.xz image && keep debugdata; fi
