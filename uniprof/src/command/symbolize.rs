//! `uniprof symbolize`: addresses to names, from arguments, a list, or in the middle of a text.
//!
//! ```text
//! $ echo 'panic at 0x1033b4' | uniprof symbolize kernel.elf
//! panic at 0x1033b4 uniprof_sample_kernel::workload::ratio::mix (src/workload/ratio.rs:58) inlined in ratio_ten (src/workload/ratio.rs:49)
//! ```

mod format;

use std::io::{self, BufRead, Read as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use uniprof_symbolizer::{AddressKind, LoadBias, Resolution, Symbolizer, bare_address, mentions};
use uniprof_wire::address::GuestVirtual;

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::{options, output, profile, values};

const EXAMPLES: &str = "\
Examples:
  uniprof symbolize kernel.elf 0x101234 0x10567a
  uniprof symbolize kernel.elf < console.log              names after every address in a text
  uniprof symbolize --return-addresses kernel.elf < backtrace.txt
  uniprof symbolize kernel.elf --bias 0x40000000 --json < addresses
  uniprof symbolize kernel.elf --image app.elf@0x40000000 --symbols /srv/symbols < console.log
  uniprof symbolize --format addr2line kernel.elf 101234  as `addr2line -e ELF -f -i -C -a` prints it";

/// The longest line that is looked into; what is longer is no line of a log.
const MAX_LINE: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The image, with debug info here or in a file that belongs to it
    #[arg(value_name = "ELF")]
    kernel: PathBuf,
    /// Addresses in hexadecimal; left out, standard input: a list, or a text that mentions some
    #[arg(value_name = "ADDR")]
    addresses: Vec<String>,
    /// How far from its link addresses the image runs, in hexadecimal
    #[arg(long, value_name = "BIAS", default_value = "0", value_parser = values::hexadecimal)]
    bias: u64,
    /// One more image, and how far from its link addresses it runs; repeatable
    #[arg(long, value_name = "ELF[@BIAS]")]
    image: Vec<values::Image>,
    /// A directory with debug files or a build-id tree; repeatable
    #[arg(long, value_name = "DIR", env = "UNIPROF_SYMBOLS", hide_env = true, value_delimiter = ':')]
    symbols: Vec<PathBuf>,
    /// Addresses are those that calls return to, as in a backtrace: name the call before each
    #[arg(short, long)]
    return_addresses: bool,
    /// How answers are printed
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    format: Format,
    /// Print a JSON document for each address (schema uniprof.symbolize/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: options::SymbolCache,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The text, with names after its addresses
    Text,
    /// What GNU `addr2line -f -i -C -a` prints
    #[value(name = "addr2line")]
    Addr2line,
    /// A JSON document on a line for each address
    Json,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let format = if args.json { Format::Json } else { args.format };
    let mut answers = Answers {
        images: images(args)?,
        kind: if args.return_addresses { AddressKind::Return } else { AddressKind::Instruction },
        format,
        out: output::stdout(),
    };
    if args.addresses.is_empty() {
        answers.stream(&mut io::stdin().lock())?;
    } else {
        for word in &args.addresses {
            let address = bare_address(word).ok_or_else(|| {
                let way_out = "write 1 to 16 hexadecimal digits, such as 0x101234";
                Failure::error(Exit::Usage, format!("`{word}` is no address; {way_out}"))
            })?;
            answers.one(address)?;
        }
    }
    Ok(answers.out.flush()?)
}

/// The image, then those that `--image` named.
fn images(args: &Args) -> anyhow::Result<Vec<Symbolizer>> {
    let config = Config::load()?;
    let tables = args.cache.tables(&config);
    let dirs = if args.symbols.is_empty() { &config.symbols } else { &args.symbols };
    let kernel = (&args.kernel, args.bias);
    let others = args.image.iter().map(|image| (&image.file, image.bias.unwrap_or(0)));
    let open = |(path, bias): (&PathBuf, u64)| {
        let image = Arc::new(profile::finder::open_complete(path, dirs)?);
        Ok(Symbolizer::with_tables(image, LoadBias::new(bias), tables.clone()))
    };
    [kernel].into_iter().chain(others).map(open).collect()
}

struct Answers<W> {
    /// At least one.
    images: Vec<Symbolizer>,
    kind: AddressKind,
    format: Format,
    out: W,
}

impl<W: Write> Answers<W> {
    /// Answers line by line, so that it can stand behind a running log.
    fn stream(&mut self, input: &mut impl BufRead) -> anyhow::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            if read.context("cannot read standard input")? == 0 {
                return Ok(());
            }
            self.line(&line)?;
            self.out.flush()?;
        }
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(line);
        match (self.format, bare_address(&text)) {
            (Format::Text, None) => line.utf8_chunks().try_for_each(|part| {
                self.annotate(part.valid())?;
                self.out.write_all(part.invalid())
            }),
            (Format::Json, None) => mentions(&text).try_for_each(|mention| self.one(mention.address)),
            // GNU addr2line answers every line; one without digits is address 0.
            (Format::Addr2line, None) => self.one(format::leading_digits(&text)),
            (_, Some(address)) => self.one(address),
        }
    }

    /// By the image whose code it is; why there is no name says the first.
    fn resolve(&mut self, address: GuestVirtual) -> Resolution {
        let lookup = self.kind.lookup(address);
        let home = self.images.iter().position(|image| image.is_executable(lookup));
        self.images[home.unwrap_or(0)].resolve(address, self.kind)
    }

    fn one(&mut self, address: GuestVirtual) -> io::Result<()> {
        let answer = self.resolve(address);
        match self.format {
            Format::Text => format::text(&mut self.out, address, &answer),
            Format::Addr2line => format::addr2line(&mut self.out, address, &answer),
            Format::Json => format::json(&mut self.out, address, &answer),
        }
    }

    /// The text as it is, with names after the addresses that are code of the image.
    fn annotate(&mut self, text: &str) -> io::Result<()> {
        let mut done = 0;
        for mention in mentions(text) {
            let answer = self.resolve(mention.address);
            if let Resolution::Symbol { frames, .. } = &answer {
                let name = format::on_one_line(frames);
                write!(self.out, "{} {name}", &text[done..mention.range.end])?;
                done = mention.range.end;
            }
        }
        self.out.write_all(&text.as_bytes()[done..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(format: Format, input: &str) -> String {
        let image = uniprof_symbolizer::Image::parse(crate::bundled::elf().unwrap()).unwrap();
        let symbolizer = Symbolizer::new(Arc::new(image), LoadBias::NONE);
        let mut answers =
            Answers { images: vec![symbolizer], kind: AddressKind::Instruction, format, out: Vec::new() };
        answers.stream(&mut input.as_bytes()).unwrap();
        String::from_utf8(answers.out).unwrap()
    }

    #[test]
    fn bytes_that_are_no_text_pass() {
        let Ok(elf) = crate::bundled::elf() else { return };
        let image = uniprof_symbolizer::Image::parse(elf).unwrap();
        let symbolizer = Symbolizer::new(Arc::new(image), LoadBias::NONE);
        let mut answers = Answers {
            images: vec![symbolizer],
            kind: AddressKind::Instruction,
            format: Format::Text,
            out: Vec::new(),
        };
        answers.stream(&mut &b"a \xff\xfe 0x12 b\n"[..]).unwrap();
        assert_eq!(answers.out, b"a \xff\xfe 0x12 b\n");
    }

    fn some_function() -> u64 {
        let image = uniprof_symbolizer::Image::parse(crate::bundled::elf().unwrap()).unwrap();
        image.symbol("ratio_sixty").unwrap().address.0
    }

    #[test]
    fn a_text_keeps_every_other_byte() {
        if crate::bundled::elf().is_err() {
            return;
        }
        let at = some_function();
        let text = format!(
            "before 0x{at:x}, é 0xdead0000dead and main+0x10/0x20\r\nno newline at the end {at:016x}"
        );
        let answer = answered(Format::Text, &text);
        assert!(answer.starts_with(&format!("before 0x{at:x} ratio_sixty (")), "{answer}");
        assert!(answer.contains("), é 0xdead0000dead and main+0x10/0x20\r\nno newline at"), "{answer}");
        assert!(answer.ends_with(')'), "{answer}");
    }

    #[test]
    fn each_bare_line_has_an_answer() {
        if crate::bundled::elf().is_err() {
            return;
        }
        let at = some_function();
        let answer = answered(Format::Addr2line, &format!("{at:x}\n0x1\nnonsense\n"));
        let lines: Vec<&str> = answer.lines().collect();
        assert_eq!(lines[..2], [format!("0x{at:016x}").as_str(), "ratio_sixty"]);
        assert!(lines[2].contains("ratio.rs:"), "{answer}");
        assert_eq!(lines[3..], ["0x0000000000000001", "??", "??:0", "0x0000000000000000", "??", "??:0"]);
        let answer = answered(Format::Json, "0x1\n");
        assert!(answer.starts_with(r#"{"schema":"uniprof.symbolize/1","address":"0x1","#), "{answer}");
    }
}
