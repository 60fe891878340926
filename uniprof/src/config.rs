//! Defaults of the user: `$XDG_CONFIG_HOME/uniprof/config.toml`, or the file that `UNIPROF_CONFIG` names.
//!
//! A flag goes over a `UNIPROF_*` variable (clap reads those), and a variable goes over this file. The keys are the
//! long flags, and the values are written as on the command line:
//!
//! ```toml
//! frequency = 199
//! duration = "30s"
//! machine = "microvm"
//! ```

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;

use crate::exit::{Exit, Failure};
use crate::values::{Accel, CallGraph, Hertz, Machine, PathMap, Placement, Size, Span};

/// What the file says; `None` where it says nothing.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Config {
    pub(crate) frequency: Option<Hertz>,
    pub(crate) duration: Option<Span>,
    pub(crate) call_graph: Option<CallGraph>,
    pub(crate) vcpus: Option<u32>,
    pub(crate) memory: Option<Size>,
    pub(crate) machine: Option<Machine>,
    pub(crate) placement: Option<Placement>,
    pub(crate) ring: Option<Size>,
    pub(crate) accel: Option<Accel>,
    /// Directories to look for symbols in.
    pub(crate) symbols: Vec<PathBuf>,
    /// Where sources lie.
    pub(crate) path_map: Vec<PathMap>,
    /// How large the symbol tables that are kept may be together.
    pub(crate) cache: Option<Size>,
}

impl Config {
    /// Reads the user's file. No file is no error, unless `UNIPROF_CONFIG` names it.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let named = env::var_os("UNIPROF_CONFIG").map(PathBuf::from);
        let Some(path) = named.clone().or_else(usual_path) else { return Ok(Self::default()) };
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map_err(|reason| refuse(&path, &reason)),
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(Self::default()),
            Err(error) => Err(refuse(&path, &format!("cannot be read: {error}"))),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            format!("line {line}: {}", error.message().replace('\n', ", "))
        })?;
        let mut config = Self::default();
        for (key, value) in &table {
            config.set(key, value).map_err(|reason| format!("{key}: {reason}"))?;
        }
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Array(list) if key == "symbols" => {
                let folder = |one: &toml::Value| one.as_str().map(PathBuf::from);
                let folders: Option<Vec<PathBuf>> = list.iter().map(folder).collect();
                self.symbols = folders.ok_or("write each directory as a text, in quotes")?;
                return Ok(());
            }
            toml::Value::Array(list) if key == "path-map" => {
                let map = |one: &toml::Value| one.as_str().ok_or("write each as \"FROM=TO\"")?.parse();
                self.path_map = list.iter().map(map).collect::<Result<_, String>>()?;
                return Ok(());
            }
            other => return Err(format!("a {} is no value for it", other.type_str())),
        };
        match key {
            "frequency" => self.frequency = Some(parsed(&text)?),
            "duration" => self.duration = Some(parsed(&text)?),
            "call-graph" => self.call_graph = Some(parsed(&text)?),
            "vcpus" => self.vcpus = Some(text.parse().map_err(|_| format!("`{text}` is no count"))?),
            "memory" => self.memory = Some(parsed(&text)?),
            "machine" => self.machine = Some(chosen(&text)?),
            "placement" => self.placement = Some(chosen(&text)?),
            "ring" => self.ring = Some(parsed(&text)?),
            "accel" => self.accel = Some(chosen(&text)?),
            "symbols" => self.symbols = text.split(':').map(PathBuf::from).collect(),
            "path-map" => self.path_map = vec![parsed(&text)?],
            "cache" => self.cache = Some(parsed(&text)?),
            _ => return Err(format!("no such key; there are {KEYS}")),
        }
        Ok(())
    }
}

const KEYS: &str = "frequency, duration, call-graph, vcpus, memory, machine, placement, ring, accel, symbols, path-map, cache";

fn parsed<T: FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse()
}

fn chosen<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, true).map_err(|_| {
        let names: Vec<String> = T::value_variants()
            .iter()
            .filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned()))
            .collect();
        format!("`{text}` is none of {}", names.join(", "))
    })
}

fn usual_path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let dir = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(dir.join("uniprof/config.toml"))
}

fn refuse(path: &Path, reason: &str) -> anyhow::Error {
    Failure::error(Exit::Usage, format!("{}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_on_the_command_line() {
        let config = Config::parse(
            "frequency = 199\nduration = \"2m\"\nring = \"64K\"\nmachine = \"microvm\"\ncall-graph = \"dwarf\"\n",
        );
        let config = config.unwrap();
        assert_eq!(config.frequency, Some(Hertz(199)));
        assert_eq!(config.duration, Some("2m".parse().unwrap()));
        assert_eq!(config.ring, Some(Size(64 << 10)));
        assert_eq!(config.machine, Some(Machine::Microvm));
        assert_eq!(config.call_graph, Some(CallGraph::Dwarf(8192)));
        assert_eq!(config.accel, None);
        let config = Config::parse("path-map = [\"/build=/src\"]").unwrap();
        assert_eq!((config.path_map[0].from.as_path(), config.path_map.len()), (Path::new("/build"), 1));
        assert!(Config::parse("path-map = \"/build\"").unwrap_err().contains("FROM=TO"));
        for text in ["symbols = \"/a:/b\"", "symbols = [\"/a\", \"/b\"]"] {
            assert_eq!(Config::parse(text).unwrap().symbols, [PathBuf::from("/a"), "/b".into()]);
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        assert!(Config::parse("a = 1").unwrap_err().contains("no such key; there are frequency"));
        assert!(Config::parse("machine = \"pc\"").unwrap_err().contains("none of q35, microvm"));
        assert!(Config::parse("ring = \"1M\"\nring =").unwrap_err().starts_with("line 2"));
        assert!(Config::parse("call-graph = \"lbr\"").unwrap_err().starts_with("call-graph: `lbr`"));
        assert!(Config::parse("symbols = [1]").unwrap_err().contains("in quotes"));
        assert!(Config::parse("frequency = [1]").unwrap_err().contains("array"));
    }
}
