#!/usr/bin/env bash
# Small real images with variables of many types, for the target `types`: ./types.sh FOLDER
set -euo pipefail
out=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > a.c <<'SOURCE'
enum colour { RED, BLUE = 4 };
struct Node { int value : 3; char name[4]; enum colour colour; union { float r; unsigned u; }; struct Node *next; int (*f)(int); };
typedef struct Node T;
struct Node z = { 1, "z", BLUE, { 1.5f }, &z, 0 };
int y[2][3] = { { 1 } }, seed, *x = &seed;
__attribute__((noinline)) static int work(int a, struct Node *n) { int b[2] = { a, seed }; { long c = b[1]; seed += c; } return n->value + b[0]; }
void _start(void) { seed = work(seed, &z); for (;;) ; }
SOURCE
cat > a.rs <<'SOURCE'
#![no_std]
#![no_main]
pub enum State { Off, On { since: u32, next: Option<&'static State> }, Text(&'static str, [u8; 3]) }
pub mod a { #[unsafe(no_mangle)] #[used] pub static b: super::State = super::State::On { since: 3, next: Some(&super::STATE) }; }
#[used]
pub static STATE: State = State::Text("text", [1, 2, 3]);
#[inline(never)]
fn work(x: Option<u8>, y: (u16, char), z: &dyn Fn(u8) -> u8) -> u8 { let w = z(x.unwrap_or(0)); w + y.0 as u8 }
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! { let k = core::hint::black_box(3); loop { core::hint::black_box(work(Some(k), (1, 'x'), &|v| v + k)); } }
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
SOURCE
for options in "-O0 -gdwarf-5" "-O2 -gdwarf-5" "-O2 -gdwarf-4" "-O0 -gdwarf-5 -fdebug-types-section" "-O0 -gdwarf-4 -fdebug-types-section"; do
    gcc $options -static -nostdlib -nostartfiles -no-pie a.c -o "$out/c${options// /}"
done
for options in "-Copt-level=0" "-Copt-level=2" "-Copt-level=2 -Cdwarf-version=5"; do
    rustc --edition 2024 --crate-name a -g -Cpanic=abort $options -Crelocation-model=static -Clink-arg=-nostartfiles \
        -Clink-arg=-nostdlib -Clink-arg=-static -Clink-arg=-no-pie a.rs -o "$out/rust${options// /}"
done
