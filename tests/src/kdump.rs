//! kdump-compressed dumps of QEMU made into others: put together again from their flattened form, as `makedumpfile -R` does it, and
//! packed in the other ways that the format knows. By makedumpfile's `diskdump_mod.h`, without the code that is tested.

use std::collections::HashMap;
use std::io::Read as _;

const FLAT_HEADER: usize = 4096;
const DESCRIPTOR: usize = 24;

/// How pages are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// zlib.
    Zlib,
    /// LZO1X.
    Lzo,
    /// Snappy, without frames.
    Snappy,
    /// Zstandard.
    Zstd,
}

/// A plain dump from a flattened one.
#[must_use]
pub fn reassembled(flat: &[u8]) -> Vec<u8> {
    assert!(flat.starts_with(b"makedumpfile\0"), "no flattened dump");
    let big = |at: usize| i64::from_be_bytes(flat[at..at + 8].try_into().expect("eight bytes"));
    let (mut at, mut plain) = (FLAT_HEADER, Vec::new());
    loop {
        let (offset, len) = (big(at), big(at + 8));
        if offset < 0 {
            return plain;
        }
        let (offset, len) = (offset as usize, len as usize);
        if plain.len() < offset + len {
            plain.resize(offset + len, 0);
        }
        plain[offset..offset + len].copy_from_slice(&flat[at + 16..at + 16 + len]);
        at += 16 + len;
    }
}

/// The same dump with its pages packed in another way.
#[must_use]
pub fn repacked(plain: &[u8], packing: Packing) -> Vec<u8> {
    assert!(plain.starts_with(b"KDUMP   "), "no plain dump");
    let half = |at: usize| u32::from_le_bytes(plain[at..at + 4].try_into().expect("four bytes"));
    let (block, sub_header, bitmaps) = (half(428) as usize, half(432) as usize, half(436) as usize);
    assert_eq!(block, 4096);
    let second = (1 + sub_header) * block + bitmaps * block / 2;
    let first = (1 + sub_header + bitmaps) * block;
    let pages: u32 = plain[second..first].iter().map(|byte| byte.count_ones()).sum();
    let mut made = plain[..first].to_vec();
    made[424..428].copy_from_slice(&flag(packing).to_le_bytes());
    let mut data = Vec::new();
    let data_at = first + pages as usize * DESCRIPTOR;
    let mut done: HashMap<u64, [u8; 16]> = HashMap::new();
    for index in 0..pages as usize {
        let at = first + index * DESCRIPTOR;
        let offset = u64::from_le_bytes(plain[at..at + 8].try_into().expect("eight bytes"));
        let start = *done.entry(offset).or_insert_with(|| {
            let page = unpacked(&plain[offset as usize..][..half(at + 8) as usize], half(at + 12), block);
            let (bytes, flag) = packed(&page, packing);
            let mut start = [0; 16];
            start[..8].copy_from_slice(&((data_at + data.len()) as u64).to_le_bytes());
            start[8..12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
            start[12..].copy_from_slice(&flag.to_le_bytes());
            data.extend(bytes);
            start
        });
        made.extend(start);
        made.extend(&plain[at + 16..at + DESCRIPTOR]);
    }
    made.extend(data);
    made
}

fn unpacked(bytes: &[u8], flags: u32, block: usize) -> Vec<u8> {
    let mut page = Vec::new();
    match flags {
        0 => page.extend(bytes),
        1 => drop(flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut page).expect("zlib")),
        other => panic!("QEMU packed a page by {other:#x}"),
    }
    assert_eq!(page.len(), block);
    page
}

fn packed(page: &[u8], packing: Packing) -> (Vec<u8>, u32) {
    let bytes = match packing {
        Packing::None => page.to_vec(),
        Packing::Zlib => {
            let mut bytes = Vec::new();
            let level = flate2::Compression::new(9);
            flate2::read::ZlibEncoder::new(page, level).read_to_end(&mut bytes).expect("zlib");
            bytes
        }
        Packing::Lzo => lzokay::compress::compress(page).expect("lzo"),
        Packing::Snappy => snap::raw::Encoder::new().compress_vec(page).expect("snappy"),
        Packing::Zstd => ruzstd::encoding::compress_to_vec(page, ruzstd::encoding::CompressionLevel::Fastest),
    };
    // What does not get smaller is stored as it is.
    if bytes.len() < page.len() { (bytes, flag(packing)) } else { (page.to_vec(), 0) }
}

fn flag(packing: Packing) -> u32 {
    match packing {
        Packing::None => 0,
        Packing::Zlib => 1,
        Packing::Lzo => 2,
        Packing::Snappy => 4,
        Packing::Zstd => 0x20,
    }
}
