//! A file interface as applications of a kernel call it, each call told to observers; the files are in memory, and gone when closed.

use alloc::string::String;
use alloc::vec::Vec;

use crate::probes;

/// No file has this number.
pub(super) const NO_FILE: u32 = 999;
/// What failed calls return: as elsewhere, `-EBADF`, `-EINVAL`, `-EEXIST`.
const NOT_OPEN: i64 = -9;
const INVALID: i64 = -22;
const EXISTS: i32 = -17;
/// Of the first file: 0 to 2 are taken elsewhere.
const FIRST: u32 = 3;

struct File {
    path: String,
    bytes: Vec<u8>,
    position: usize,
}

/// The open files of one thread.
pub(super) struct Files(Vec<Option<File>>);

impl Files {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    fn file(&mut self, fd: u32) -> Option<&mut File> {
        self.0.get_mut(fd.checked_sub(FIRST)? as usize)?.as_mut()
    }

    /// A new file's number.
    #[inline(never)]
    pub(super) fn open(&mut self, path: &str) -> i32 {
        let call = probes::call!("fs.open" -> i32, path: str = path);
        if self.0.iter().flatten().any(|file| file.path == path) {
            return call.returned(EXISTS);
        }
        let file = File { path: String::from(path), bytes: Vec::new(), position: 0 };
        let slot = self.0.iter().position(Option::is_none).unwrap_or_else(|| {
            self.0.push(None);
            self.0.len() - 1
        });
        self.0[slot] = Some(file);
        call.returned((FIRST as usize + slot) as i32)
    }

    /// How many bytes have been written.
    #[inline(never)]
    pub(super) fn write(&mut self, fd: u32, bytes: &[u8]) -> i64 {
        let call = probes::call!("fs.write" -> i64, fd: u32 = fd, bytes: bytes = bytes);
        let Some(file) = self.file(fd) else { return call.returned(NOT_OPEN) };
        file.bytes.truncate(file.position);
        file.bytes.extend_from_slice(bytes);
        file.position += bytes.len();
        call.returned(bytes.len() as i64)
    }

    /// The new position.
    #[inline(never)]
    pub(super) fn seek(&mut self, fd: u32, position: i64) -> i64 {
        let call = probes::call!("fs.seek" -> i64, fd: u32 = fd, position: i64 = position);
        let Some(file) = self.file(fd) else { return call.returned(NOT_OPEN) };
        match usize::try_from(position) {
            Ok(to) if to <= file.bytes.len() => file.position = to,
            _ => return call.returned(INVALID),
        }
        call.returned(position)
    }

    /// How many bytes have been read; 0 at the end.
    #[inline(never)]
    pub(super) fn read(&mut self, fd: u32, buffer: &mut [u8]) -> i64 {
        let call = probes::call!("fs.read" -> i64, fd: u32 = fd, size = buffer.len());
        let Some(file) = self.file(fd) else { return call.returned(NOT_OPEN) };
        let rest = &file.bytes[file.position..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        file.position += length;
        call.returned(length as i64)
    }

    #[inline(never)]
    pub(super) fn close(&mut self, fd: u32) {
        let _call = probes::call!("fs.close", fd: u32 = fd);
        if let Some(slot) = fd.checked_sub(FIRST).and_then(|slot| self.0.get_mut(slot as usize)) {
            *slot = None;
        }
    }
}
