//! Whether the memory of another process may be read, and what must change where it may not: ptrace(2), "Ptrace access mode checking".

use std::path::PathBuf;

/// Bit of `CAP_SYS_PTRACE`, see capabilities(7).
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// What decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who asks.
    pub our_uid: u32,
    /// Whether the asker has `CAP_SYS_PTRACE`.
    pub has_ptrace: bool,
    /// Whose process it is.
    pub their_uid: Option<u32>,
    /// `kernel.yama.ptrace_scope`, where the system has it.
    pub scope: Option<u8>,
    /// The program that asks.
    pub program: PathBuf,
}

impl Access {
    /// To a process, from this one.
    #[must_use]
    pub fn to(pid: u32) -> Self {
        let capabilities = status("self", "CapEff:").and_then(|word| u64::from_str_radix(&word, 16).ok());
        let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
        Self {
            our_uid: rustix::process::geteuid().as_raw(),
            has_ptrace: capabilities.is_some_and(|bits| bits & CAP_SYS_PTRACE != 0),
            their_uid: status(&pid.to_string(), "Uid:").and_then(|word| word.parse().ok()),
            scope: scope.and_then(|text| text.trim().parse().ok()),
            program: std::env::current_exe().unwrap_or_else(|_| "uniprof".into()),
        }
    }

    /// What stands against it, as a clause.
    #[must_use]
    pub fn why(&self) -> String {
        match (self.their_uid, self.scope) {
            (_, Some(3)) => {
                "kernel.yama.ptrace_scope is 3: nobody may read the memory of another process".into()
            }
            _ if self.has_ptrace => "CAP_SYS_PTRACE does not reach into its user namespace".into(),
            (Some(theirs), _) if theirs != self.our_uid => {
                format!("it belongs to user {theirs}, this is user {} without CAP_SYS_PTRACE", self.our_uid)
            }
            (_, Some(scope @ 1..)) => {
                format!("kernel.yama.ptrace_scope is {scope}, and this process lacks CAP_SYS_PTRACE")
            }
            _ => "its process has more rights than this one, which lacks CAP_SYS_PTRACE".into(),
        }
    }

    /// What mends it: commands, or where none helps what to do instead.
    #[must_use]
    pub fn mend(&self) -> String {
        let setcap = format!("sudo setcap cap_sys_ptrace=ep {}", self.program.display());
        match (self.their_uid, self.scope) {
            (_, Some(3)) => {
                "kernel.yama.ptrace_scope=3 stays until the next boot; start QEMU with RAM in a file that is shared".into()
            }
            _ if self.has_ptrace => {
                "run uniprof outside of its container (or in one with --pid=host --cap-add=SYS_PTRACE)".into()
            }
            (Some(theirs), scope) if theirs != self.our_uid => {
                let user = if matches!(scope, None | Some(0)) { format!("; or run it as user {theirs}") } else { String::new() };
                format!("{setcap}{user}")
            }
            (_, Some(1)) => format!("sudo sysctl kernel.yama.ptrace_scope=0; or {setcap}"),
            _ => setcap,
        }
    }
}

/// The first word of a line of `/proc/PID/status`.
fn status(pid: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(their_uid: u32, scope: Option<u8>) -> Access {
        Access {
            our_uid: 1000,
            has_ptrace: false,
            their_uid: Some(their_uid),
            scope,
            program: "/opt/uniprof".into(),
        }
    }

    #[test]
    fn what_mends_it_fits_what_stands_against_it() {
        let setcap = "sudo setcap cap_sys_ptrace=ep /opt/uniprof";
        for (access, why, mend) in [
            (access(0, None), "belongs to user 0", format!("{setcap}; or run it as user 0")),
            // To be the same user would not do.
            (access(0, Some(1)), "belongs to user 0", setcap.to_owned()),
            (
                access(1000, Some(1)),
                "ptrace_scope is 1",
                format!("sudo sysctl kernel.yama.ptrace_scope=0; or {setcap}"),
            ),
            (access(1000, Some(2)), "ptrace_scope is 2", setcap.to_owned()),
            (access(1000, Some(0)), "more rights", setcap.to_owned()),
            (access(1000, None), "more rights", setcap.to_owned()),
        ] {
            assert!(access.why().contains(why), "{}", access.why());
            assert_eq!(access.mend(), mend, "{access:?}");
        }
        assert!(access(1000, Some(3)).mend().contains("next boot"));
        let privileged = Access { has_ptrace: true, ..access(0, Some(1)) };
        assert!(privileged.mend().contains("--pid=host") && privileged.why().contains("namespace"));
    }

    #[test]
    fn this_process_is_ours() {
        let access = Access::to(std::process::id());
        assert_eq!(access.their_uid, Some(access.our_uid));
        assert_eq!(Access::to(u32::MAX).their_uid, None);
    }
}
