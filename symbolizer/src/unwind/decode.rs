//! Lengths and operands of x86-64 instructions (Intel SDM, volume 2, chapter 2 and appendix A): as much as it takes to
//! follow the stack pointer through a function.

/// An instruction, as far as it is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Instruction {
    /// Its length in bytes.
    pub(super) length: u64,
    pub(super) map: Map,
    pub(super) opcode: u8,
    /// The REX prefix, 0 where there is none.
    rex: u8,
    /// The operand-size prefix.
    pub(super) narrow: bool,
    modrm: Option<u8>,
    /// The base and displacement of a memory operand that is nothing but these.
    memory: Option<(u8, i32)>,
    pub(super) immediate: i64,
}

/// Where the opcode is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Map {
    #[default]
    OneByte,
    /// After `0F`.
    TwoByte,
    /// All others, none of which concerns the stack.
    Other,
}

impl Instruction {
    /// Decodes the first instruction; `None` where there is none or it is cut off.
    pub(super) fn decode(code: &[u8]) -> Option<Self> {
        let mut at = Cursor { code, at: 0 };
        let mut found = Self::default();
        let mut short_address = false;
        let mut opcode = loop {
            let byte = at.byte()?;
            match byte {
                0x66 => found.narrow = true,
                0x67 => short_address = true,
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3 => {}
                other => break other,
            }
        };
        if opcode & 0xf0 == 0x40 {
            found.rex = opcode;
            opcode = at.byte()?;
        }
        let shape = match opcode {
            0x0f => found.escaped(&mut at)?,
            0xc4 | 0xc5 | 0x62 => found.vector(opcode, &mut at)?,
            _ => {
                found.opcode = opcode;
                one_byte(opcode, found.rex & 8 != 0, found.narrow, short_address)?
            }
        };
        if shape.modrm {
            found.operands(&mut at)?;
        }
        let mut immediate = shape.immediate;
        if found.map == Map::OneByte && matches!(opcode, 0xf6 | 0xf7) && found.group() < 2 {
            immediate = if opcode == 0xf6 { 1 } else { wide(found.narrow) };
        }
        found.immediate = at.number(immediate)?;
        found.length = at.at as u64;
        (at.at <= 15).then_some(found)
    }

    /// After `0F`.
    fn escaped(&mut self, at: &mut Cursor<'_>) -> Option<Shape> {
        let opcode = at.byte()?;
        if matches!(opcode, 0x38 | 0x3a) {
            self.map = Map::Other;
            self.opcode = at.byte()?;
            return Some(Shape { modrm: true, immediate: usize::from(opcode == 0x3a) });
        }
        (self.map, self.opcode) = (Map::TwoByte, opcode);
        Some(two_byte(opcode))
    }

    /// VEX and EVEX prefixes.
    fn vector(&mut self, prefix: u8, at: &mut Cursor<'_>) -> Option<Shape> {
        let first = at.byte()?;
        let map = match prefix {
            0xc5 => 1,
            0xc4 => first & 0x1f,
            _ => first & 7,
        };
        at.at += match prefix {
            0xc5 => 0,
            0xc4 => 1,
            _ => 2,
        };
        (self.map, self.opcode) = (Map::Other, at.byte()?);
        Some(match map {
            1 if self.opcode == 0x77 => Shape { modrm: false, immediate: 0 },
            1 => Shape { modrm: true, immediate: two_byte(self.opcode).immediate },
            3 => Shape { modrm: true, immediate: 1 },
            _ => Shape { modrm: true, immediate: 0 },
        })
    }

    fn operands(&mut self, at: &mut Cursor<'_>) -> Option<()> {
        let modrm = at.byte()?;
        self.modrm = Some(modrm);
        let (mode, low) = (modrm >> 6, modrm & 7);
        if mode == 3 {
            return Some(());
        }
        let mut base = Some(low | (self.rex & 1) << 3);
        let mut size = [0, 1, 4][usize::from(mode)];
        if low == 4 {
            let sib = at.byte()?;
            let has_index = (sib >> 3 & 7) | (self.rex & 2) << 2 != 4;
            base = if has_index { None } else { Some(sib & 7 | (self.rex & 1) << 3) };
            if sib & 7 == 5 && mode == 0 {
                (base, size) = (None, 4);
            }
        } else if low == 5 && mode == 0 {
            (base, size) = (None, 4);
        }
        let displacement = at.number(size)? as i32;
        self.memory = base.map(|base| (base, displacement));
        Some(())
    }

    /// The register operand, or the part of the opcode that lies in its place.
    pub(super) fn register(&self) -> Option<u8> {
        self.modrm.map(|modrm| (modrm >> 3 & 7) | (self.rex & 4) << 1)
    }

    /// Which instruction of its group it is.
    pub(super) fn group(&self) -> u8 {
        self.modrm.unwrap_or(0) >> 3 & 7
    }

    /// The other operand where it is a register.
    pub(super) fn other_register(&self) -> Option<u8> {
        self.modrm.filter(|modrm| modrm >> 6 == 3).map(|modrm| modrm & 7 | (self.rex & 1) << 3)
    }

    /// The other operand where it is memory at a register's value and a distance.
    pub(super) fn memory(&self) -> Option<(u8, i32)> {
        self.memory
    }

    /// Whether memory is addressed relative to the next instruction.
    pub(super) fn is_relative_to_rip(&self) -> bool {
        self.modrm.is_some_and(|modrm| modrm & 0xc7 == 5)
    }

    /// The register in the low bits of the opcode.
    pub(super) fn opcode_register(&self) -> u8 {
        self.opcode & 7 | (self.rex & 1) << 3
    }

    pub(super) fn is_64_bit(&self) -> bool {
        self.rex & 8 != 0
    }
}

/// What follows an opcode.
#[derive(Clone, Copy)]
struct Shape {
    modrm: bool,
    /// Bytes of the immediate operand.
    immediate: usize,
}

fn wide(narrow: bool) -> usize {
    if narrow { 2 } else { 4 }
}

fn one_byte(opcode: u8, long: bool, narrow: bool, short_address: bool) -> Option<Shape> {
    let wide = wide(narrow);
    let (modrm, immediate) = match opcode {
        0x00..=0x3f => match opcode & 7 {
            0..=3 => (true, 0),
            4 => (false, 1),
            5 => (false, wide),
            _ => return None,
        },
        0x63 | 0x84..=0x8f | 0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff => (true, 0),
        0x69 | 0x81 | 0xc7 => (true, wide),
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => (true, 1),
        0x68 | 0xa9 => (false, wide),
        0xe8 | 0xe9 => (false, 4),
        0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xe0..=0xe7 | 0xeb => (false, 1),
        0xa0..=0xa3 => (false, if short_address { 4 } else { 8 }),
        0xb8..=0xbf => (false, if long { 8 } else { wide }),
        0xc2 | 0xca => (false, 2),
        0xc8 => (false, 3),
        0x60..=0x62 | 0x82 | 0x9a | 0xce | 0xd4..=0xd6 | 0xea => return None,
        _ => (false, 0),
    };
    Some(Shape { modrm, immediate })
}

fn two_byte(opcode: u8) -> Shape {
    let (modrm, immediate) = match opcode {
        0x80..=0x8f => (false, 4),
        0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x37 | 0x77 | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => {
            (false, 0)
        }
        0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => (true, 1),
        _ => (true, 0),
    };
    Shape { modrm, immediate }
}

struct Cursor<'a> {
    code: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.at += 1;
        self.code.get(self.at - 1).copied()
    }

    /// A signed little-endian number.
    fn number(&mut self, size: usize) -> Option<i64> {
        let bytes = self.code.get(self.at..self.at.checked_add(size)?)?;
        self.at += size;
        let value = bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let unused = 64 - 8 * size as u32;
        Some(if size == 0 { 0 } else { (value << unused) as i64 >> unused })
    }
}
