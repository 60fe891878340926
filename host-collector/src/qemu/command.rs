//! The QEMU command line for a [`LaunchSpec`].

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::{Accelerator, LaunchSpec, Machine, Placement, SpecError, Transport};

/// Id of the memory backend that holds the region.
const BACKEND: &str = "uniprof";
/// Id of the backend of guest RAM, where that is another one.
const RAM_BACKEND: &str = "uniprof-ram";

/// The backend of guest RAM. It always is a shared file: so a guest can be looked into while it lives, and its memory is still
/// there when QEMU is not.
pub(crate) fn ram_backend(placement: Placement) -> &'static str {
    match placement {
        Placement::Ram => BACKEND,
        Placement::Ivshmem => RAM_BACKEND,
    }
}

/// Where the launcher puts what it shares with QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Control socket for the process that started the guest; QEMU serves one client per socket.
    pub owner_qmp: PathBuf,
    /// Control socket for everybody else.
    pub qmp: PathBuf,
    /// The serial port's socket, where the guest has one.
    pub port: PathBuf,
    /// The file that holds the region: guest RAM or the ivshmem BAR.
    pub memory: PathBuf,
    /// The file behind guest RAM: the same one where the region lies in RAM.
    pub ram: PathBuf,
}

impl LaunchSpec {
    /// The whole command line, the program first. `wall_ns` is the host's wall clock, for the kernel.
    pub fn command_line(
        &self,
        accelerator: &Accelerator,
        files: &Files,
        wall_ns: u64,
    ) -> Result<Vec<OsString>, SpecError> {
        self.validate()?;
        if self.icount.is_some() && !accelerator.is_emulated() {
            return Err(SpecError::IcountNeedsTcg);
        }
        let program = self.qemu.clone().unwrap_or_else(|| "qemu-system-x86_64".into());
        let mut line = Line(vec![program.into()]);
        line.pair("-name", &self.name);
        self.machine_arguments(&mut line, accelerator, files)?;
        line.pair("-kernel", &self.kernel);
        let words = self.kernel_words(wall_ns);
        if !words.is_empty() {
            line.pair("-append", words);
        }
        if let Some(initrd) = &self.initrd {
            line.pair("-initrd", initrd);
        }
        for (index, drive) in self.drives.iter().enumerate() {
            self.drive(&mut line, index, drive);
        }
        for (flag, word) in
            ["-netdev", "-device"].into_iter().zip(self.network.words(self.machine).into_iter().flatten())
        {
            line.pair(flag, word);
        }
        for word in ["-nodefaults", "-no-user-config"] {
            line.one(word);
        }
        // Without somebody who looks at a crashed guest, one that panics goes on to its own end.
        let hold = "reboot=shutdown,shutdown=pause,panic=pause";
        line.pair("-action", if self.hold_crashed { hold } else { "reboot=shutdown,panic=none" });
        line.pair("-display", "none");
        // Standard output is a pipe that the collector empties: no console line is lost while nobody is connected yet.
        line.pair("-chardev", "stdio,id=console,signal=off");
        line.pair("-serial", "chardev:console");
        line.pair("-device", "isa-debug-exit,iobase=0x501,iosize=4");
        line.pair("-device", "pvpanic");
        for socket in [&files.owner_qmp, &files.qmp] {
            line.pair("-qmp", option("unix:", socket, ",server=on,wait=off"));
        }
        line.0.extend(self.extra.iter().map(OsString::from));
        Ok(line.0)
    }

    fn machine_arguments(
        &self,
        line: &mut Line,
        accelerator: &Accelerator,
        files: &Files,
    ) -> Result<(), SpecError> {
        let ram = ram_backend(self.placement());
        let shares = self.transport == Transport::Shm;
        let backend = if shares { format!(",memory-backend={ram}") } else { String::new() };
        line.pair("-machine", format!("{}{backend}", self.machine.name()));
        let accel = if accelerator.is_emulated() && self.icount.is_none() {
            "tcg,thread=multi"
        } else {
            &accelerator.name
        };
        line.pair("-accel", accel);
        if let Some(icount) = &self.icount {
            line.pair("-icount", icount);
        }
        let all = if accelerator.is_emulated() { "max" } else { "host" };
        line.pair("-cpu", self.cpu.as_deref().unwrap_or(all));
        line.pair("-smp", self.vcpus.to_string());
        line.pair("-m", format!("{}M", self.memory >> 20));
        if !shares {
            self.port(line, files);
            return Ok(());
        }
        line.backend(ram, self.memory, &files.ram);
        if self.placement() == Placement::Ivshmem {
            line.backend(BACKEND, self.shared_bytes()?, &files.memory);
            line.pair("-device", format!("ivshmem-plain,memdev={BACKEND}"));
        }
        Ok(())
    }

    /// A port that a host may open and leave as it likes: QEMU goes on without.
    fn port(&self, line: &mut Line, files: &Files) {
        let device = match self.machine {
            Machine::Q35 | Machine::Pc => "virtio-serial-pci",
            Machine::Microvm => "virtio-serial-device",
        };
        line.pair("-chardev", option("socket,id=uniprof,path=", &files.port, ",server=on,wait=off"));
        // Port 0 is for consoles.
        line.pair("-device", format!("{device},max_ports=2"));
        line.pair("-device", "virtserialport,chardev=uniprof,name=uniprof");
    }

    fn kernel_words(&self, wall_ns: u64) -> String {
        let mut words = self.cmdline.clone();
        if self.probe_words {
            let mut add = |key: &str, value: String| {
                // What the user wrote stands.
                if !self.cmdline.iter().any(|word| word.split('=').next() == Some(key)) {
                    words.push(format!("{key}={value}"));
                }
            };
            add("uniprof.placement", self.placement().name().into());
            add("uniprof.ring", short_size(self.ring_bytes));
            add("uniprof.wall", wall_ns.to_string());
        }
        words.join(" ")
    }

    fn drive(&self, line: &mut Line, index: usize, drive: &str) {
        if drive.contains('=') {
            line.pair("-drive", drive);
            return;
        }
        let device = match self.machine {
            Machine::Q35 | Machine::Pc => "virtio-blk-pci",
            Machine::Microvm => "virtio-blk-device",
        };
        line.pair(
            "-drive",
            option(&format!("id=disk{index},if=none,format=raw,file="), Path::new(drive), ""),
        );
        line.pair("-device", format!("{device},drive=disk{index}"));
    }
}

/// A power of two as a kernel's command line writes it: `1M`, `64K`.
fn short_size(bytes: u32) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{}M", bytes >> 20) } else { format!("{}K", bytes >> 10) }
}

struct Line(Vec<OsString>);

impl Line {
    fn one(&mut self, word: &str) {
        self.0.push(word.into());
    }

    fn pair(&mut self, flag: &str, value: impl AsRef<OsStr>) {
        self.0.push(flag.into());
        self.0.push(value.as_ref().into());
    }

    fn backend(&mut self, id: &str, bytes: u64, path: &Path) {
        let before = format!("memory-backend-file,id={id},size={bytes},share=on,mem-path=");
        self.pair("-object", option(&before, path, ""));
    }
}

/// A QEMU option with a path in it: a comma separates options, two are one that does not.
fn option(before: &str, path: &Path, after: &str) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = before.as_bytes().to_vec();
    for byte in path.as_os_str().as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    bytes.extend_from_slice(after.as_bytes());
    OsString::from_vec(bytes)
}

/// The command line as one that a POSIX shell reads back word by word.
#[must_use]
pub fn shell_quoted(line: &[OsString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    let quoted = line.iter().map(|word| {
        let word = word.to_string_lossy();
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{AcceleratorChoice, Network},
        *,
    };

    fn accel(name: &str) -> Accelerator {
        Accelerator { name: name.into(), reason: String::new() }
    }

    fn files() -> Files {
        Files {
            owner_qmp: "/r/owner".into(),
            qmp: "/r/qmp".into(),
            port: "/r/port".into(),
            memory: "/dev/shm/m".into(),
            ram: "/dev/shm/r".into(),
        }
    }

    fn line(spec: &LaunchSpec, name: &str) -> String {
        shell_quoted(&spec.command_line(&accel(name), &files(), 7).unwrap())
    }

    #[test]
    fn q35_with_ivshmem_by_default() {
        let mut spec = LaunchSpec::new("g", "/k.elf");
        spec.vcpus = 2;
        spec.cmdline = vec!["workload=ratio".into()];
        assert_eq!(
            line(&spec, "tcg"),
            "qemu-system-x86_64 -name g -machine q35,memory-backend=uniprof-ram -accel tcg,thread=multi -cpu max \
             -smp 2 -m 256M -object memory-backend-file,id=uniprof-ram,size=268435456,share=on,mem-path=/dev/shm/r \
             -object memory-backend-file,id=uniprof,size=8388608,share=on,mem-path=/dev/shm/m \
             -device ivshmem-plain,memdev=uniprof -kernel /k.elf \
             -append 'workload=ratio uniprof.placement=ivshmem uniprof.ring=1M uniprof.wall=7' \
             -nodefaults -no-user-config -action reboot=shutdown,panic=none -display none \
             -chardev stdio,id=console,signal=off -serial chardev:console \
             -device isa-debug-exit,iobase=0x501,iosize=4 -device pvpanic \
             -qmp unix:/r/owner,server=on,wait=off -qmp unix:/r/qmp,server=on,wait=off"
        );
    }

    #[test]
    fn microvm_shares_its_ram() {
        let mut spec = LaunchSpec::new("g", "/k.elf");
        spec.machine = Machine::Microvm;
        spec.cmdline = vec!["uniprof.ring=64K".into()];
        let line = line(&spec, "kvm");
        assert!(line.contains("-machine microvm,memory-backend=uniprof -accel kvm -cpu host"), "{line}");
        assert!(line.contains("size=268435456,share=on"), "{line}");
        assert!(line.contains("-append 'uniprof.ring=64K uniprof.placement=ram uniprof.wall=7'"), "{line}");
        assert!(!line.contains("ivshmem"), "{line}");
    }

    #[test]
    fn with_a_serial_port_no_memory_is_shared() {
        let mut spec = LaunchSpec::new("g", "/k.elf");
        spec.transport = Transport::VirtioSerial;
        let q35 = line(&spec, "tcg");
        assert!(q35.contains("-machine q35 -accel tcg"), "{q35}");
        assert!(q35.contains("-chardev socket,id=uniprof,path=/r/port,server=on,wait=off"), "{q35}");
        assert!(q35.contains(
            "-device virtio-serial-pci,max_ports=2 -device virtserialport,chardev=uniprof,name=uniprof"
        ));
        assert!(q35.contains("uniprof.placement=ram"), "{q35}");
        assert!(!q35.contains("memory-backend") && !q35.contains("ivshmem-plain"), "{q35}");
        spec.machine = Machine::Microvm;
        assert!(line(&spec, "tcg").contains("-device virtio-serial-device,max_ports=2"));
        spec.placement = Some(Placement::Ivshmem);
        assert_eq!(spec.validate(), Err(SpecError::NothingShared));
    }

    #[test]
    fn a_guest_that_crashes_stands_still_for_whoever_wants_to_look() {
        let mut spec = LaunchSpec::new("g", "/k.elf");
        spec.hold_crashed = true;
        let line = line(&spec, "tcg");
        assert!(line.contains("-action reboot=shutdown,shutdown=pause,panic=pause "), "{line}");
    }

    #[test]
    fn a_network_comes_with_its_device() {
        let mut spec = LaunchSpec::new("g", "/k.elf");
        assert!(!line(&spec, "tcg").contains("net"));
        spec.network = Network::User(vec!["8080:80".parse().unwrap()]);
        let words = "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80 \
                     -device virtio-net-pci,disable-legacy=on,romfile=,netdev=net0 -nodefaults";
        assert!(line(&spec, "tcg").contains(words), "{}", line(&spec, "tcg"));
        spec.machine = Machine::Microvm;
        assert!(line(&spec, "tcg").contains("-device virtio-net-device,netdev=net0 "));
    }

    #[test]
    fn commas_blanks_and_quotes_in_paths_survive() {
        let mut spec = LaunchSpec::new("g", "/a b/it's");
        spec.drives = vec!["/d,1.img".into(), "file=x,if=virtio".into()];
        spec.probe_words = false;
        spec.extra = vec!["-d".into(), "int".into()];
        let mut files = files();
        files.ram = "/m,em".into();
        let line = shell_quoted(&spec.command_line(&accel("tcg"), &files, 0).unwrap());
        assert!(line.contains("mem-path=/m,,em "), "{line}");
        assert!(line.contains(r"-kernel '/a b/it'\''s' -drive"), "{line}");
        assert!(
            line.contains("file=/d,,1.img -device virtio-blk-pci,drive=disk0 -drive file=x,if=virtio"),
            "{line}"
        );
        assert!(line.ends_with("-d int"), "{line}");
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_starts() {
        let refused = |change: fn(&mut LaunchSpec)| {
            let mut spec = LaunchSpec::new("g", "/k");
            change(&mut spec);
            spec.command_line(&accel("kvm"), &files(), 0).unwrap_err()
        };
        assert_eq!(
            refused(|s| {
                s.machine = Machine::Microvm;
                s.placement = Some(Placement::Ivshmem);
            }),
            SpecError::NoPci
        );
        assert_eq!(refused(|s| s.icount = Some("shift=0".into())), SpecError::IcountNeedsTcg);
        assert!(matches!(refused(|s| s.name = "../x".into()), SpecError::Name { .. }));
        assert!(matches!(refused(|s| s.memory = 5), SpecError::Memory { bytes: 5 }));
        assert!(matches!(refused(|s| s.ring_bytes = 5), SpecError::RingBytes { bytes: 5 }));
        assert!(matches!(refused(|s| s.vcpus = 0), SpecError::Region(_)));
        assert!(matches!(refused(|s| s.cmdline = vec!["a b".into()]), SpecError::Word { .. }));
        assert_eq!(AcceleratorChoice::default(), AcceleratorChoice::Auto);
    }

    #[test]
    fn icount_takes_one_thread() {
        let mut spec = LaunchSpec::new("g", "/k");
        spec.icount = Some("shift=0,sleep=off".into());
        assert!(line(&spec, "tcg").contains("-accel tcg -icount shift=0,sleep=off"));
    }
}
