//! Names of OCaml's native compiler, which most of a MirageOS unikernel is compiled with.
//!
//! ```text
//!  camlStdlib__List__map_501        4.x    caml UNIT __ function _ stamp; a unit of a library is LIBRARY__UNIT
//!  camlStdlib__List.map_501         5.1
//!  camlStdlib__List$map_501         5.2 and later
//!  camlStdlib__$5e_136              the character 0x5e, `^`; where `$` also separates, it may be written $$5e
//! ```
//!
//! Source: `asmcomp/compilenv.ml` and `asmcomp/emitaux.ml` of OCaml 4.14 and 5.2; names as `ocamlopt` 4.13 makes them are
//! in the tests.

/// The name as in the source, without the stamp (but for functions that have no name there); `None` where it is none of OCaml's.
pub(crate) fn demangle(raw: &str) -> Option<String> {
    let name = raw.strip_prefix("caml")?;
    // `caml_alloc` and the like are the runtime's, written in C.
    if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$' | b'\'');
    if !name.bytes().all(plain) {
        return None;
    }
    let (unit, function) = parts(name);
    let unit = unit.replace("__", ".");
    Some(match function.map(told_apart) {
        Some(function) if !function.is_empty() => format!("{unit}.{}", unescape(function)),
        // A functor is called like a unit, but has a stamp.
        _ => without_stamp(&unit).to_owned(),
    })
}

/// Bytes of a label around a unit's code, at the most.
const MAX_UNIT: usize = 256;

/// Whether the name at the front of `names`, which ends with a zero, is that of a label where a unit's code begins or ends. Where OCaml's
/// functions have neither type nor size (it only says them of Linux), such a label is no worse than the unit's first function, and both have
/// one address.
pub(crate) fn marks_a_unit(names: &[u8]) -> bool {
    let Some(rest) = names.strip_prefix(b"caml") else { return false };
    // An image may claim that each of its names is as long as all of them.
    let rest = &rest[..rest.len().min(MAX_UNIT)];
    let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let unit = name.strip_suffix(b"code_begin").or_else(|| name.strip_suffix(b"code_end"));
    unit.is_some_and(|unit| [&b"__"[..], b".", b"$"].iter().any(|sign| unit.ends_with(sign)))
}

/// The compilation unit, and what of it is named.
fn parts(name: &str) -> (&str, Option<&str>) {
    let separated = (1..name.len()).find(|at| separator(&name[*at..]));
    if let Some(at) = separated {
        return (&name[..at], Some(&name[at + 1..]));
    }
    // Before 5.1 `__` separates both units and functions: units begin with a capital, and so does what comes after the
    // last one of them, where it is `Dune__exe__Main`.
    let marks: Vec<usize> = name.match_indices("__").map(|(at, _)| at).collect();
    let is_unit = |at: &usize| name[at + 2..].starts_with(|first: char| first.is_ascii_uppercase());
    let after = marks.iter().rposition(is_unit).map_or(0, |index| index + 1);
    match marks.get(after) {
        Some(at) => (&name[..*at], Some(&name[at + 2..])),
        None => (name, None),
    }
}

/// Whether `rest` begins with the sign between a unit and a function, and not with an escaped character. Units have no
/// escaped characters, so what begins with two of those signs is the separator and an operator.
fn separator(rest: &str) -> bool {
    rest.starts_with('.') || rest.starts_with("$$") || (rest.starts_with('$') && escaped(rest).is_none())
}

/// The character that `rest` begins with in its escaped form, and the length of that.
fn escaped(rest: &str) -> Option<(char, usize)> {
    let digits = rest.strip_prefix("$$").or_else(|| rest.strip_prefix('$'))?;
    let code = u8::from_str_radix(digits.get(..2)?, 16).ok()?;
    // Only operators and primes are escaped: any other number is the beginning of a function's name, such as `add`.
    let sign = code.is_ascii_punctuation().then_some(code as char)?;
    Some((sign, rest.len() - digits.len() + 2))
}

fn unescape(text: &str) -> String {
    let mut readable = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let (sign, len) = escaped(rest).unwrap_or((next, next.len_utf8()));
        readable.push(sign);
        rest = &rest[len..];
    }
    readable
}

/// A function without its stamp; one without a name keeps it: of those a unit has many (most code of a program in Lwt's style), which have nothing in
/// common but that.
fn told_apart(function: &str) -> &str {
    match without_stamp(function) {
        "fun" => function.strip_suffix("_code").unwrap_or(function),
        named => named,
    }
}

/// Two functions of one name differ in a number at the end, and flambda adds a second one and `_code`.
fn without_stamp(name: &str) -> &str {
    let number = |name: &'_ str| -> Option<usize> {
        let (before, digits) = name.rsplit_once('_')?;
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(before.len())
    };
    let (name, flambda) = name.strip_suffix("_code").map_or((name, false), |name| (name, true));
    let name = number(name).map_or(name, |end| &name[..end]);
    if flambda { number(name).map_or(name, |end| &name[..end]) } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_units_are_no_functions() {
        for mark in
            ["camlMain__code_begin", "caml_startup__code_end", "camlFoo.code_begin", "camlFoo$code_end"]
        {
            assert!(marks_a_unit(format!("{mark}\0main\0").as_bytes()), "{mark}");
        }
        for other in ["camlMain__work_639", "code_begin", "caml_main", "camlFoo__code_begin_12", "caml", ""] {
            assert!(!marks_a_unit(format!("{other}\0camlA__code_end\0").as_bytes()), "{other}");
        }
    }

    #[test]
    fn names_of_real_programs() {
        for (raw, readable) in [
            ("camlStdlib__List__map_501", "Stdlib.List.map"),
            ("camlStdlib__List.map_501", "Stdlib.List.map"),
            ("camlStdlib__List$map_501", "Stdlib.List.map"),
            ("camlStdlib__List$add_12", "Stdlib.List.add"),
            ("camlStdlib__$5e_136", "Stdlib.^"),
            ("camlStdlib$$$5e_136", "Stdlib.^"),
            ("camlStdlib__Hashtbl__replace_bucket_783", "Stdlib.Hashtbl.replace_bucket"),
            ("camlDune__exe__Unikernel__start_1404", "Dune.exe.Unikernel.start"),
            ("camlDune__exe__Main__entry", "Dune.exe.Main.entry"),
            ("camlCamlinternalFormat__make_printf_4967", "CamlinternalFormat.make_printf"),
            ("camlLwt__$3e$3e$3d_1395", "Lwt.>>="),
            ("camlMirage_net__f$27_12", "Mirage_net.f'"),
            ("camlTcpip_stack_direct__fun_2718", "Tcpip_stack_direct.fun_2718"),
            ("camlFoo__fun_12_34_code", "Foo.fun_12_34"),
            ("camlFoo.fun_12", "Foo.fun_12"),
            ("camlFoo__fun_of_it_12", "Foo.fun_of_it"),
            ("camlFoo__my__name_33", "Foo.my__name"),
            ("camlFoo__go_12_34_code", "Foo.go"),
            ("camlStdlib$$5e_136", "Stdlib.^"),
            ("camlUnik__$5e$5e$5e_81", "Unik.^^^"),
            ("camlUnik__Big_189", "Unik.Big"),
            ("camlUnik__entry", "Unik.entry"),
            ("camlStdlib__List", "Stdlib.List"),
        ] {
            assert_eq!(demangle(raw).as_deref(), Some(readable), "{raw}");
        }
        for other in ["caml_main", "caml_call_gc", "camlido", "caml", "main", "camlFoo bar", "camlÄ"] {
            assert_eq!(demangle(other), None, "{other}");
        }
    }
}
