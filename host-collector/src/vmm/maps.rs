//! Which of a process's mappings may be guest RAM: `/proc/PID/maps`, see proc(5).

use std::ops::Range;

/// More mappings are not looked at; the kernel's own default limit is 65530.
const MOST: usize = 1 << 20;
/// Nor are more of them taken together.
const MOST_PARTS: usize = 4096;

/// What could be guest RAM: one mapping, or several side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Where it lies in the process.
    pub(super) host: Range<u64>,
    /// The file that is mapped and shared with others, if it is one.
    pub(super) shared: Option<SharedFile>,
}

/// A file that the process shares, by what the kernel tells it apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SharedFile {
    /// Major and minor number.
    pub(super) device: (u32, u32),
    pub(super) inode: u64,
    /// Where in it RAM begins.
    pub(super) offset: u64,
}

#[derive(Clone, Debug)]
struct Mapping {
    host: Range<u64>,
    shared: bool,
    offset: u64,
    device: (u32, u32),
    inode: u64,
}

impl Mapping {
    /// Reads a line: `7fc68be00000-7fc69be00000 rw-p 00000000 00:00 0    [heap]`. Only memory that can be read and written and is no
    /// code can be RAM; QEMU's buffer of translated code is executable.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let permissions = words.next()?;
        let offset = words.next()?;
        let (major, minor) = words.next()?.split_once(':')?;
        let inode = words.next()?.parse().ok()?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let of_the_process = |name: &str| name == "[heap]" || name.starts_with("[stack");
        if !permissions.starts_with("rw-") || words.next().is_some_and(of_the_process) {
            return None;
        }
        let host = hex(start)?..hex(end)?;
        (host.start < host.end).then_some(Self {
            host,
            shared: permissions.ends_with('s'),
            offset: hex(offset)?,
            device: (number(major)?, number(minor)?),
            inode,
        })
    }

    /// Whether `next` goes on where this ends, in memory and in the same file.
    fn is_followed_by(&self, next: &Self) -> bool {
        let same = (self.shared, self.device, self.inode) == (next.shared, next.device, next.inode);
        let file_goes_on =
            self.inode == 0 || self.offset.checked_add(self.host.end - self.host.start) == Some(next.offset);
        same && self.host.end == next.host.start && file_goes_on
    }
}

/// All mappings, or mappings side by side, that have exactly this size. QEMU lays a page that nobody may use behind RAM, so that
/// nothing of its own follows without a break.
pub(super) fn candidates(maps: &str, bytes: u64) -> Vec<Candidate> {
    let mappings: Vec<Mapping> = maps.lines().take(MOST).filter_map(Mapping::parse).collect();
    let mut found = Vec::new();
    for (index, first) in mappings.iter().enumerate() {
        let mut last = first;
        let mut following = mappings[index + 1..].iter().take(MOST_PARTS);
        while last.host.end - first.host.start < bytes {
            match following.next() {
                Some(next) if last.is_followed_by(next) => last = next,
                _ => break,
            }
        }
        if last.host.end - first.host.start == bytes {
            let shared = SharedFile { device: first.device, inode: first.inode, offset: first.offset };
            found.push(Candidate {
                host: first.host.start..last.host.end,
                shared: (first.shared && first.inode != 0).then_some(shared),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// As seen of QEMU 7.2.22 with 256 MiB, shortened.
    const ANONYMOUS: &str = "\
561b5812b000-561b58fa0000 rw-p 00000000 00:00 0                          [heap]
7fc684021000-7fc688000000 ---p 00000000 00:00 0
7fc68be00000-7fc69be00000 rw-p 00000000 00:00 0
7fc69be00000-7fc69be01000 ---p 00000000 00:00 0
7fc69c000000-7fc6ac000000 rwxp 00000000 00:00 0
7fc6e1b7d000-7fc6e237d000 rw-p 00000000 00:00 0
";

    #[test]
    fn ram_is_known_by_its_size() {
        let found = candidates(ANONYMOUS, 256 * MIB);
        assert_eq!(found, [Candidate { host: 0x7fc6_8be0_0000..0x7fc6_9be0_0000, shared: None }]);
        assert_eq!(candidates(ANONYMOUS, 8 * MIB).len(), 1);
        assert_eq!(candidates(ANONYMOUS, 128 * MIB), []);
    }

    #[test]
    fn a_file_is_told_from_memory() {
        let maps =
            "7fbd27fff000-7fbd37fff000 rw-s 00001000 fe:01 1040   /memfd:memory-backend-memfd (deleted)";
        let shared = SharedFile { device: (0xfe, 1), inode: 1040, offset: 0x1000 };
        assert_eq!(candidates(maps, 256 * MIB)[0].shared, Some(shared));
        let private = maps.replace("rw-s", "rw-p");
        assert_eq!(candidates(&private, 256 * MIB)[0].shared, None);
    }

    #[test]
    fn parts_side_by_side_are_one() {
        let maps = "1000-3000 rw-p 00000000 00:00 0\n3000-5000 rw-p 00000000 00:00 0\n5000-6000 rw-s 00000000 00:01 7\n\
                    6000-7000 rw-s 00002000 00:01 7\n7000-8000 rw-s 00003000 00:01 7";
        assert_eq!(candidates(maps, 0x4000), [Candidate { host: 0x1000..0x5000, shared: None }]);
        assert_eq!(candidates(maps, 0x3000), []);
        assert_eq!(candidates(maps, 0x2000).len(), 3);
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        assert_eq!(candidates("\nx\n1-\n-1 rw-p\n5000-1000 rw-p 0 0:0 0\nzz-zz rw-p 0 0:0 0", 0), []);
    }
}
