//! One page, unpacked into exactly as many bytes as a page has.

use std::io::Read;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress as inflate, decompress_with_limit};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const INFLATE: u32 = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
const ZLIB: u32 = 0x1;
const LZO: u32 = 0x2;
const SNAPPY: u32 = 0x4;
const ZSTD: u32 = 0x20;
/// A zstd frame that asks for a larger window is no page: it bounds what a frame can make a decoder hold.
const ZSTD_WINDOW: u64 = 2 << 20;
/// Blocks of a zstd frame, each of at most 128 KiB: a page is one, and some writers add an empty one.
const ZSTD_BLOCKS: usize = 3;

/// The decompressors' memory, kept from page to page.
pub(super) struct Unpacker {
    zlib: Box<DecompressorOxide>,
    snappy: snap::raw::Decoder,
    zstd: FrameDecoder,
}

impl Default for Unpacker {
    fn default() -> Self {
        let mut zstd = FrameDecoder::new();
        zstd.set_max_window_size(ZSTD_WINDOW);
        Self { zlib: Box::default(), snappy: snap::raw::Decoder::new(), zstd }
    }
}

impl Unpacker {
    /// Unpacks a page as its descriptor's flags say. More or fewer bytes than `into` has are refused.
    pub(super) fn unpack(&mut self, flags: u32, packed: &[u8], into: &mut [u8]) -> Result<(), String> {
        let wanted = into.len();
        let (name, got) = match flags & (ZLIB | LZO | SNAPPY | ZSTD) {
            0 if packed.len() == wanted => {
                into.copy_from_slice(packed);
                return Ok(());
            }
            0 => ("uncompressed", Ok(packed.len())),
            ZLIB => ("zlib", self.inflate(packed, into)),
            LZO => ("lzo", lzokay::decompress::decompress(packed, into).map_err(|e| e.to_string())),
            SNAPPY => ("snappy", self.snap(packed, into)),
            ZSTD => ("zstd", self.unzstd(packed, into)),
            _ => return Err(format!("its flags {flags:#x} name no one compression")),
        };
        match got {
            Ok(got) if got == wanted => Ok(()),
            Ok(got) => Err(format!("its {name} page has {got} bytes and not {wanted}")),
            Err(why) => Err(format!("its {name} page does not unpack into {wanted} bytes: {why}")),
        }
    }

    /// The first bytes of a page, where it is packed so that it need not be unpacked further. Whether it was: what is wrong with
    /// the rest is not seen then.
    pub(super) fn start(&mut self, flags: u32, packed: &[u8], into: &mut [u8]) -> bool {
        match flags & (ZLIB | LZO | SNAPPY | ZSTD) {
            0 => packed.get(..into.len()).is_some_and(|start| {
                into.copy_from_slice(start);
                true
            }),
            ZLIB => {
                self.zlib.init();
                let mut room = [0; 1024];
                let (state, _, got) =
                    decompress_with_limit(&mut self.zlib, packed, &mut room, 0, into.len(), INFLATE);
                let enough = state == TINFLStatus::HasMoreOutput && got >= into.len();
                if enough {
                    into.copy_from_slice(&room[..into.len()]);
                }
                enough
            }
            _ => false,
        }
    }

    fn inflate(&mut self, packed: &[u8], into: &mut [u8]) -> Result<usize, String> {
        self.zlib.init();
        match inflate(&mut self.zlib, packed, into, 0, INFLATE) {
            (TINFLStatus::Done, _, got) => Ok(got),
            (TINFLStatus::HasMoreOutput, ..) => Err("there would be more".into()),
            (TINFLStatus::Adler32Mismatch, ..) => Err("its checksum is wrong".into()),
            _ => Err("it is damaged".into()),
        }
    }

    fn snap(&mut self, packed: &[u8], into: &mut [u8]) -> Result<usize, String> {
        // The decoder itself refuses what is longer than its buffer.
        self.snappy.decompress(packed, into).map_err(|error| error.to_string())
    }

    fn unzstd(&mut self, mut packed: &[u8], into: &mut [u8]) -> Result<usize, String> {
        let told = |error: ruzstd::decoding::errors::FrameDecoderError| error.to_string();
        self.zstd.reset(&mut packed).map_err(told)?;
        while !self.zstd.is_finished() {
            if self.zstd.blocks_decoded() == ZSTD_BLOCKS {
                return Err("there would be more".into());
            }
            self.zstd.decode_blocks(&mut packed, BlockDecodingStrategy::UptoBlocks(1)).map_err(told)?;
        }
        let got = self.zstd.read(into).map_err(|error| error.to_string())?;
        Ok(got + self.zstd.can_collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers and commas.
    fn page() -> Vec<u8> {
        (0..1024).flat_map(|n| format!("{:03},", n % 61).into_bytes()).collect()
    }

    /// What libzstd 1.5.4 made of that page, without the frame's header and checksum.
    const BLOCK: &[u8] = &[
        0x85, 0x03, 0x00, 0x42, 0x4f, 0x19, 0x0b, 0xb0, 0x37, 0x07, 0xdd, 0x4d, 0x44, 0x88, 0x69, 0x25, 0x99,
        0x07, 0x0e, 0x76, 0xd4, 0x8a, 0xda, 0x50, 0x0b, 0x6a, 0xab, 0x96, 0x6a, 0xa7, 0x56, 0x6a, 0x57, 0x7b,
        0xed, 0xa0, 0x15, 0xb4, 0x81, 0x16, 0xd0, 0x16, 0x2d, 0xd1, 0x0e, 0xad, 0xd0, 0x8e, 0x76, 0xda, 0x31,
        0x2b, 0x66, 0xc3, 0x2c, 0x98, 0xad, 0x59, 0x9a, 0x9d, 0x59, 0x99, 0xdd, 0xec, 0xb3, 0x43, 0x56, 0xc8,
        0x06, 0x59, 0x20, 0x5b, 0xb2, 0x24, 0x3b, 0xb2, 0x22, 0x3b, 0xd9, 0x65, 0xc7, 0x56, 0x6c, 0xc3, 0x16,
        0x6c, 0x6b, 0x4b, 0xdb, 0xd9, 0xca, 0x76, 0xdb, 0xb7, 0xe3, 0x15, 0x6f, 0x78, 0xc1, 0x5b, 0x2f, 0xbd,
        0xf3, 0xca, 0xbb, 0xf7, 0x0f, 0x01, 0x00, 0xf4, 0x84, 0xdf, 0x7d, 0x23, 0x05,
    ];

    #[test]
    fn what_libzstd_packs_at_once_and_as_a_stream_is_unpacked() {
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        let at_once = [&magic[..], &[0x60, 0x00, 0x0f], BLOCK].concat();
        let stream = [&magic[..], &[0x04, 0x58], BLOCK, &[0x63, 0xb6, 0xc4, 0x09]].concat();
        let mut unpacker = Unpacker::default();
        for packed in [at_once, stream] {
            let mut got = vec![0; 4096];
            unpacker.unpack(ZSTD, &packed, &mut got).unwrap();
            assert!(got == page());
            assert!(unpacker.unpack(ZSTD, &packed, &mut got[..4095]).is_err());
            assert!(unpacker.unpack(ZSTD, &packed[..100], &mut got).is_err());
        }
    }

    #[test]
    fn the_start_of_a_page_is_that_of_the_whole() {
        let page = page();
        let mut zlib = flate2::Compress::new(flate2::Compression::fast(), true);
        let mut packed = vec![0; 4096];
        zlib.compress(&page, &mut packed, flate2::FlushCompress::Finish).unwrap();
        packed.truncate(zlib.total_out() as usize);
        let mut unpacker = Unpacker::default();
        for (flags, packed) in [(ZLIB, &packed), (0, &page)] {
            let mut start = [0; 16];
            assert!(unpacker.start(flags, packed, &mut start), "{flags}");
            assert_eq!(start, page[..16], "{flags}");
            assert!(!unpacker.start(flags, &packed[..8], &mut start), "{flags}: too little");
            let mut whole = vec![0; 4096];
            unpacker.unpack(flags, packed, &mut whole).unwrap();
            assert!(whole == page, "{flags}: a start leaves something behind");
        }
        assert!(!unpacker.start(SNAPPY, &packed, &mut [0; 16]));
    }

    #[test]
    fn a_frame_of_many_blocks_ends_early() {
        // A window of 2 MiB, then blocks that repeat one byte 128 KiB times.
        let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        for _ in 0..500 {
            bomb.extend([0x02, 0x00, 0x10, 0x55]);
        }
        let refused = Unpacker::default().unpack(ZSTD, &bomb, &mut [0; 4096]);
        assert!(refused.unwrap_err().contains("there would be more"));
        let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x98, 0x01, 0x00, 0x00];
        assert!(Unpacker::default().unpack(ZSTD, &wide, &mut [0; 4096]).unwrap_err().contains("window"));
    }

    #[test]
    fn flags_that_name_two_compressions_are_refused() {
        let refused = Unpacker::default().unpack(ZLIB | LZO, &[0; 8], &mut [0; 4096]).unwrap_err();
        assert_eq!(refused, "its flags 0x3 name no one compression");
    }
}
