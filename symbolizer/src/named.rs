//! Symbols with their names and sizes, and what the file has for an address.

use uniprof_wire::address::LinkAddress;

use crate::demangle::demangle;
use crate::image::Image;
use crate::symbols::{Entry, Symbols};

/// A symbol with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSymbol {
    /// Its readable name.
    pub name: String,
    /// Its first address.
    pub address: LinkAddress,
    /// Its size in bytes; 0 where the file does not say.
    pub size: u64,
    /// Whether it is code.
    pub code: bool,
}

impl NamedSymbol {
    fn new(symbols: &Symbols, entry: &Entry) -> Self {
        let name = demangle(&String::from_utf8_lossy(symbols.name(entry)));
        Self { name, address: LinkAddress(entry.address), size: entry.size, code: entry.code }
    }
}

impl Image {
    /// The symbol that an address, of code or of data, lies in: of several the one that begins last. A symbol without a size is its
    /// first address alone.
    #[must_use]
    pub fn symbol_around(&self, address: LinkAddress) -> Option<NamedSymbol> {
        self.symbol_sources().find_map(|image| {
            let symbols = image.symbols();
            Some(NamedSymbol::new(symbols, symbols.at(address.0)?))
        })
    }

    /// Copies what the file has for an address of the loaded image: what was there before the guest wrote. Returns how many bytes
    /// that were: fewer where its segment ends.
    #[must_use]
    pub fn content_at(&self, address: LinkAddress, into: &mut [u8]) -> usize {
        let from = self.segments().iter().find_map(|segment| {
            let offset = usize::try_from(address.offset_from(segment.address)?).ok()?;
            let rest = segment.file.len().checked_sub(offset).filter(|rest| *rest > 0)?;
            Some((segment.file.start + offset, rest.min(into.len())))
        });
        let Some((start, len)) = from else { return 0 };
        match self.file.bytes(start..start + len) {
            Ok(bytes) => {
                into[..len].copy_from_slice(&bytes);
                len
            }
            Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test program itself.
    fn image() -> Image {
        crate::load(std::env::current_exe().unwrap()).unwrap()
    }

    #[used]
    static NAMED_TEST_DATA: [u64; 4] = [0x1122_3344_5566_7788, 1, 2, 3];

    #[test]
    fn data_is_found_by_name_and_by_an_address_in_it_with_its_content() {
        let image = image();
        let symbol = image.symbol_called("NAMED_TEST_DATA").unwrap();
        let symbol = image.symbol_around(symbol.address).unwrap();
        assert_eq!((symbol.size, symbol.code), (32, false));
        let inside = image.symbol_around(LinkAddress(symbol.address.0 + 31)).unwrap();
        assert!(inside.name.ends_with("::NAMED_TEST_DATA"), "{inside:?}");
        let mut bytes = [0; 8];
        assert_eq!(image.content_at(symbol.address, &mut bytes), 8);
        assert_eq!(u64::from_le_bytes(bytes), 0x1122_3344_5566_7788);
    }
}
