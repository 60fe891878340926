//! To which module a function belongs, as the HTML viewer tells it: frames are coloured by it.

/// The crate of a Rust or C++ path, else the folder of the source file.
pub(crate) fn module_of<'a>(name: &'a str, file: Option<&'a str>) -> &'a str {
    let start = name.trim_start_matches(['<', '&', '*', '(']);
    let start = start.strip_prefix("dyn ").or_else(|| start.strip_prefix("mut ")).unwrap_or(start);
    let word = start.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(start.len());
    if word > 0 && start[word..].starts_with("::") {
        return &start[..word];
    }
    file.map_or("", module_of_file)
}

/// `talc` of `…/talc-4.4/src/lib.rs`, `vfs` of `lib/vfs/file.c`.
fn module_of_file(file: &str) -> &str {
    let parts: Vec<&str> = file.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | "..")).collect();
    match parts.iter().rposition(|part| *part == "src") {
        Some(source) if source > 0 => without_version(parts[source - 1]),
        Some(_) => parts.last().copied().unwrap_or_default(),
        None => match parts.as_slice() {
            [.., folder, _] => folder,
            [only] => only,
            [] => "",
        },
    }
}

fn without_version(folder: &str) -> &str {
    folder
        .match_indices('-')
        .find(|(at, _)| folder[at + 1..].starts_with(|c: char| c.is_ascii_digit()))
        .map_or(folder, |(at, _)| &folder[..at])
}

#[cfg(test)]
mod tests {
    use super::module_of;

    #[test]
    fn a_function_belongs_to_its_crate_or_folder() {
        assert_eq!(module_of("alloc::vec::Vec<T>::push", None), "alloc");
        assert_eq!(module_of("<&mut core::fmt::Formatter as X>::y", None), "core");
        assert_eq!(module_of("<talc::Talc<O> as GlobalAlloc>::alloc", None), "talc");
        assert_eq!(module_of("memcpy", Some("/x/compiler_builtins-0.1.2/src/mem.rs")), "compiler_builtins");
        assert_eq!(module_of("vfs_read", Some("lib/vfs/file.c")), "vfs");
        assert_eq!(module_of("main", None), "");
    }
}
