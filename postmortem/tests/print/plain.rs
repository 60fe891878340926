//! What gdb and `print` write, made comparable.

/// Without what the two write differently: paths and generic arguments, names of structures, types of pointers, spaces, the
/// brackets of lists.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    let (mut angles, mut quoted, mut escaped) = (0, false, false);
    for one in text.chars() {
        match one {
            _ if quoted => {
                out.push(one);
                quoted = escaped || one != '"';
                escaped = !escaped && one == '\\';
            }
            '"' if angles == 0 => {
                out.push(one);
                quoted = true;
            }
            '<' => angles += 1,
            '>' if out.ends_with('-') && angles == 0 => out.push('>'),
            '>' => angles -= 1,
            _ if angles > 0 || one.is_whitespace() => {}
            ':' if out.ends_with(':') => {
                out.pop();
                let word = |one: char| one.is_alphanumeric() || "_{}#".contains(one);
                out.truncate(out.trim_end_matches(word).len());
            }
            '{' | '[' => {
                let word = |one: char| one.is_alphanumeric() || one == '_';
                let name = out.trim_end_matches(word).len();
                if one == '{' {
                    out.truncate(name);
                }
                out.push('{');
            }
            ']' => out.push('}'),
            '=' => out.push(':'),
            one => out.push(one),
        }
    }
    // The type of a pointer, a character's number, and fractions of zero.
    let mut out = out.as_str();
    while out.starts_with("(*") {
        out = out.split_once("0x").map_or("", |(_, rest)| rest);
    }
    let out = out.strip_prefix("0x").unwrap_or(out);
    let out = match out.split_once('\'') {
        Some((number, rest)) if number.parse::<u32>().is_ok() => format!("'{rest}"),
        _ => out.to_owned(),
    };
    let out = out.replace(".0,", ",").replace(".0}", "}");
    out.strip_suffix(".0").unwrap_or(&out).to_owned()
}
