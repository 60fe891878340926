//! One page, unpacked into exactly as many bytes as a page has.

use std::io::Read;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress as inflate};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

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

    fn inflate(&mut self, packed: &[u8], into: &mut [u8]) -> Result<usize, String> {
        self.zlib.init();
        let flags = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        match inflate(&mut self.zlib, packed, into, 0, flags) {
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
