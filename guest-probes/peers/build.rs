//! Compiles the tracepoint of LTTng-UST, where that is wanted.

fn main() {
    println!("cargo::rerun-if-changed=lttng");
    #[cfg(feature = "lttng")]
    {
        cc::Build::new().file("lttng/peer.c").include("lttng").opt_level(2).compile("lttng_peer");
        println!("cargo::rustc-link-lib=lttng-ust");
        println!("cargo::rustc-link-lib=dl");
        // LLD drops sections that only their bounds' symbols refer to, and LTTng's list of tracepoints is one.
        println!("cargo::rustc-link-arg=-Wl,-z,nostart-stop-gc");
    }
}
