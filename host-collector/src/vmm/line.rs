//! What QEMU's own command line says of its guest.
//!
//! Only what is needed is looked at; the last word counts where something is said twice, as for QEMU. A list is `key=value,key=value`
//! with `,,` for a comma in a value; libvirt writes objects as JSON instead.

use std::path::PathBuf;

use serde_json::Value;

/// QEMU's own choice where the command line has none.
const MACHINE: &str = "pc";
const MEMORY: u64 = 128 << 20;
const ACCELERATOR: &str = "tcg";
/// What `-s` means.
const DEBUGGER: &str = "tcp::1234";
/// The name of the port that the probes look for.
const PORT: &str = "uniprof";

/// A guest, as the command line of its QEMU describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: Option<String>,
    /// As QEMU spells it, such as `pc-q35-7.2`.
    pub(super) machine: String,
    pub(super) max_below_4g: Option<u64>,
    /// Bytes of RAM.
    pub(super) memory: u64,
    /// The id of the backend of RAM, where one is named.
    pub(super) backend: Option<String>,
    pub(super) vcpus: u32,
    pub(super) kernel: Option<PathBuf>,
    /// As QEMU spells it, such as `kvm`.
    pub(super) accelerator: String,
    /// Control sockets that QEMU listens on.
    pub(super) monitors: Vec<PathBuf>,
    /// Where QEMU listens for a debugger, in its own words.
    pub(super) debugger: Option<String>,
    /// The socket of the serial port that the probes speak over.
    pub(super) port: Option<PathBuf>,
    /// The file behind the backend of RAM.
    pub(super) ram_path: Option<PathBuf>,
    /// The file behind an ivshmem device.
    pub(super) ivshmem: Option<PathBuf>,
    /// What keeps its memory from being understood, in words.
    pub(super) obstacle: Option<&'static str>,
    /// Memory of the guest that is not read, in words.
    pub(super) besides: Vec<String>,
}

/// An object of QEMU that is memory.
#[derive(Debug, Default)]
struct Backend {
    id: String,
    size: Option<u64>,
    path: Option<PathBuf>,
}

/// Options whose value may look like an option.
const WITH_FREE_TEXT: [&str; 3] = ["append", "kernel", "initrd"];

impl Line {
    pub(super) fn parse(words: &[String]) -> Self {
        let mut line =
            Self { machine: MACHINE.into(), accelerator: ACCELERATOR.into(), vcpus: 1, ..Self::default() };
        let mut rest = Rest::default();
        let mut words = words.iter().skip(1);
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix('-').map(|word| word.strip_prefix('-').unwrap_or(word))
            else {
                continue;
            };
            match option {
                "s" => line.debugger = Some(DEBUGGER.into()),
                "enable-kvm" => line.accelerator = "kvm".into(),
                _ => {}
            }
            let takes = TAKEN.contains(&option) || WITH_FREE_TEXT.contains(&option);
            if let Some(value) = takes.then(|| words.next()).flatten() {
                line.option(option, value, &mut rest);
            }
        }
        line.finish(rest)
    }

    fn option(&mut self, option: &str, value: &str, rest: &mut Rest) {
        let list = List::parse(value);
        match option {
            "name" => self.name = list.first("guest").map(str::to_owned),
            "machine" | "M" => self.machine(&list),
            "accel" => self.accelerator = list.first("accel").unwrap_or(ACCELERATOR).into(),
            "gdb" => self.debugger = Some(value.into()).filter(|device: &String| device != "none"),
            "m" => rest.size = list.first("size").and_then(|size| bytes(size, 20)).or(rest.size),
            "smp" => self.vcpus = list.first("cpus").and_then(|count| count.parse().ok()).unwrap_or(1),
            "kernel" => self.kernel = Some(value.into()),
            "object" => rest.backends.extend(backend(value)),
            "device" => self.device(&list, rest),
            "numa" if list.get("memdev").is_some() => {
                self.obstacle = Some("its RAM is made of several memory backends (-numa memdev=…)");
            }
            "qmp" | "qmp-pretty" => self.monitors.extend(unix_socket(value)),
            "chardev" => {
                let path = list.get("path").filter(|_| value.starts_with("socket,"));
                rest.sockets.extend(list.get("id").zip(path).map(|(id, path)| (id.into(), path.into())));
            }
            "mon" if list.get("mode") == Some("control") => {
                rest.monitors.extend(list.first("chardev").map(str::to_owned));
            }
            "readconfig" => self.obstacle = Some("a part of its configuration is in a file (-readconfig)"),
            _ => {}
        }
    }

    fn machine(&mut self, list: &List) {
        if let Some(name) = list.first("type") {
            self.machine = name.into();
        }
        // A list of accelerators names the first that works.
        if let Some(name) = list.get("accel").and_then(|names| names.split(':').next()) {
            self.accelerator = name.into();
        }
        if let Some(id) = list.get("memory-backend") {
            self.backend = Some(id.into());
        }
        if let Some(size) = list.get("max-ram-below-4g") {
            self.max_below_4g = bytes(size, 0);
        }
        if list.get("confidential-guest-support").is_some() || list.get("memory-encryption").is_some() {
            self.obstacle = Some("its memory is encrypted (confidential-guest-support)");
        }
    }

    fn device(&mut self, list: &List, rest: &mut Rest) {
        match list.first("driver") {
            Some("ivshmem-plain") => rest.ivshmem = list.get("memdev").map(str::to_owned),
            Some("virtserialport") if list.get("name") == Some(PORT) => {
                rest.port = list.get("chardev").map(str::to_owned);
            }
            Some(driver) if ["pc-dimm", "nvdimm", "virtio-mem-pci", "virtio-pmem-pci"].contains(&driver) => {
                self.besides.push(format!("the memory of a {driver} device"));
            }
            _ => {}
        }
    }

    fn finish(mut self, rest: Rest) -> Self {
        let named =
            |id: &Option<String>| rest.backends.iter().find(|backend| Some(&backend.id) == id.as_ref());
        let of_backend = named(&self.backend).and_then(|backend| backend.size);
        self.memory = of_backend.or(rest.size).unwrap_or(MEMORY);
        self.ivshmem = named(&rest.ivshmem).and_then(|backend| backend.path.clone());
        self.ram_path = named(&self.backend).and_then(|backend| backend.path.clone());
        let port = rest.sockets.iter().find(|(id, _)| Some(id) == rest.port.as_ref());
        self.port = port.map(|(_, path)| path.clone());
        let sockets = rest.sockets.into_iter().filter(|(id, _)| rest.monitors.contains(id));
        self.monitors.extend(sockets.map(|(_, path)| path));
        self
    }
}

/// What only means something together with other options.
#[derive(Default)]
struct Rest {
    size: Option<u64>,
    backends: Vec<Backend>,
    ivshmem: Option<String>,
    sockets: Vec<(String, PathBuf)>,
    monitors: Vec<String>,
    port: Option<String>,
}

/// Options that are looked at; all of them take a value.
const TAKEN: [&str; 15] = [
    "name",
    "machine",
    "M",
    "m",
    "smp",
    "object",
    "device",
    "numa",
    "qmp",
    "qmp-pretty",
    "chardev",
    "mon",
    "readconfig",
    "accel",
    "gdb",
];

/// `first,key=value,…`.
struct List(Vec<(Option<String>, String)>);

impl List {
    /// Libvirt writes devices as JSON.
    fn parse(text: &str) -> Self {
        if text.starts_with('{')
            && let Ok(Value::Object(members)) = serde_json::from_str(text)
        {
            let word = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Self(members.into_iter().map(|(key, value)| (Some(key), word(value))).collect());
        }
        let mut parts = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == ',' && chars.next_if_eq(&',').is_none() {
                parts.push(String::new());
            } else if let Some(last) = parts.last_mut() {
                last.push(c);
            }
        }
        let split = |part: String| match part.split_once('=') {
            Some((key, value)) => (Some(key.to_owned()), value.to_owned()),
            None => (None, part),
        };
        Self(parts.into_iter().map(split).collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name.as_deref() == Some(key)).map(|(_, value)| value.as_str())
    }

    /// The value of `key`, which may be left out at the beginning.
    fn first(&self, key: &str) -> Option<&str> {
        let bare = self.0.first().filter(|(name, value)| name.is_none() && !value.is_empty());
        self.get(key).or(bare.map(|(_, value)| value.as_str()))
    }
}

/// A number of bytes as QEMU reads it; without a letter it is shifted by `default`.
fn bytes(text: &str, default: u32) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (_, 'B' | 'b') => (&text[..text.len() - 1], 0),
        (at, 'K' | 'k') => (&text[..at], 10),
        (at, 'M' | 'm') => (&text[..at], 20),
        (at, 'G' | 'g') => (&text[..at], 30),
        (at, 'T' | 't') => (&text[..at], 40),
        _ => (text, default),
    };
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?.checked_mul(1 << shift),
        None => match digits.parse::<u64>() {
            Ok(number) => number.checked_mul(1 << shift),
            Err(_) => {
                let number: f64 =
                    digits.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
                Some((number * (1_u64 << shift) as f64) as u64)
            }
        },
    }
}

fn backend(value: &str) -> Option<Backend> {
    if value.starts_with('{') {
        let object: Value = serde_json::from_str(value).ok()?;
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        text("qom-type").filter(|kind| kind.starts_with("memory-backend"))?;
        let size = object.get("size").and_then(|size| size.as_u64().or_else(|| bytes(size.as_str()?, 0)));
        return Some(Backend { id: text("id")?.into(), size, path: text("mem-path").map(PathBuf::from) });
    }
    let list = List::parse(value);
    list.first("qom-type").filter(|kind| kind.starts_with("memory-backend"))?;
    Some(Backend {
        id: list.get("id")?.into(),
        size: list.get("size").and_then(|size| bytes(size, 0)),
        path: list.get("mem-path").map(PathBuf::from),
    })
}

/// The path in `unix:PATH,server=on,wait=off`.
fn unix_socket(value: &str) -> Option<PathBuf> {
    let list = List::parse(value.strip_prefix("unix:")?);
    list.first("path").map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Line {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Line::parse(&words)
    }

    #[test]
    fn what_is_not_said_is_as_qemu_has_it() {
        let line = parse("qemu-system-x86_64 -nodefaults -S");
        assert_eq!((line.machine.as_str(), line.memory, line.vcpus), ("pc", 128 << 20, 1));
        assert_eq!((line.backend, line.kernel, line.obstacle), (None, None, None));
    }

    #[test]
    fn sizes_are_read_as_qemu_reads_them() {
        for (text, mib) in [
            ("256", 256),
            ("256M", 256),
            ("1g,slots=2,maxmem=4G", 1024),
            ("slots=2,size=2G", 2048),
            ("0.5G", 512),
            ("262144k", 256),
            ("0x100", 256),
        ] {
            assert_eq!(parse(&format!("qemu -m {text}")).memory, mib << 20, "{text}");
        }
        for text in ["", "x", "-1", "nan", "1e99T", "99999999999999999999G"] {
            assert_eq!(bytes(text, 20).filter(|bytes| *bytes != u64::MAX), None, "{text:?}");
        }
    }

    #[test]
    fn a_line_written_by_hand() {
        let line = parse(
            "qemu -name guest=shop,debug-threads=on --machine type=q35,accel=tcg -M max-ram-below-4g=1G -m 2G -smp 2,sockets=2 \
             -kernel a,b.elf -append -m -qmp unix:/run/a,,b,server=on,wait=off -device pc-dimm,memdev=x -object memory-backend-file,id=i,size=4M,mem-path=/dev/shm/i \
             -device ivshmem-plain,memdev=i",
        );
        assert_eq!((line.name.as_deref(), line.machine.as_str(), line.vcpus), (Some("shop"), "q35", 2));
        assert_eq!((line.memory, line.max_below_4g), (2 << 30, Some(1 << 30)));
        assert_eq!(line.kernel, Some("a,b.elf".into()));
        assert_eq!(line.monitors, [PathBuf::from("/run/a,b")]);
        assert_eq!(line.ivshmem, Some("/dev/shm/i".into()));
        assert_eq!(line.besides, ["the memory of a pc-dimm device"]);
    }

    #[test]
    fn a_line_written_by_libvirt() {
        let words = [
            "/usr/bin/qemu-system-x86_64",
            "-name",
            "guest=web,debug-threads=on",
            "-machine",
            "pc-q35-7.2,usb=off,memory-backend=pc.ram",
            "-object",
            r#"{"qom-type":"memory-backend-ram","id":"pc.ram","size":536870912}"#,
            "-chardev",
            "socket,id=charmonitor,path=/run/web.mon,server=on,wait=off",
            "-mon",
            "chardev=charmonitor,id=monitor,mode=control",
        ];
        let line = Line::parse(&words.map(str::to_owned));
        assert_eq!((line.machine.as_str(), line.memory), ("pc-q35-7.2", 512 << 20));
        assert_eq!(line.backend.as_deref(), Some("pc.ram"));
        assert_eq!(line.monitors, [PathBuf::from("/run/web.mon")]);
    }

    #[test]
    fn what_it_can_be_reached_by() {
        let line = parse(
            "qemu -M q35,accel=kvm:tcg -s -chardev socket,id=uniprof,path=/run/port,server=on,wait=off -device virtio-serial-pci,max_ports=2 \
             -device virtserialport,chardev=uniprof,name=uniprof -M memory-backend=m -object memory-backend-file,id=m,size=1G,mem-path=/dev/shm/m,share=on",
        );
        assert_eq!((line.accelerator.as_str(), line.debugger.as_deref()), ("kvm", Some("tcp::1234")));
        assert_eq!((line.port, line.ram_path), (Some("/run/port".into()), Some("/dev/shm/m".into())));
        let line = parse(
            r#"qemu -accel tcg,thread=multi -gdb unix:/run/gdb,server=on -chardev socket,id=c,path=/p -device {"driver":"virtserialport","chardev":"c","name":"uniprof"}"#,
        );
        assert_eq!((line.accelerator.as_str(), line.port), ("tcg", Some("/p".into())));
        assert_eq!(line.debugger.as_deref(), Some("unix:/run/gdb,server=on"));
        // Another port is somebody else's.
        let line = parse(
            "qemu -gdb none -chardev socket,id=c,path=/p -device virtserialport,chardev=c,name=org.qemu.guest_agent.0",
        );
        assert_eq!((line.debugger, line.port), (None, None));
    }

    #[test]
    fn what_is_beyond_it_is_named() {
        assert!(parse("qemu -numa node,memdev=a").obstacle.unwrap().contains("several memory backends"));
        assert!(parse("qemu -readconfig x").obstacle.unwrap().contains("-readconfig"));
        assert!(parse("qemu -M q35,confidential-guest-support=sev0").obstacle.unwrap().contains("encrypted"));
    }
}
