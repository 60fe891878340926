//! A terminal's screens as an SVG: text in cells, with the colours that the program chose. Several screens are shown one after the other.

use std::fmt::Write as _;

/// Points from one cell to the next.
const CELL: (f64, f64) = (8.4, 17.0);
const MARGIN: f64 = 10.0;
/// How long each screen is shown.
const SECONDS: usize = 4;
const PAPER: &str = "#16191d";
const INK: &str = "#d7dce2";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pen {
    ink: Option<String>,
    paper: Option<String>,
    bold: bool,
    underlined: bool,
    reversed: bool,
}

/// Letters of one look.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    column: usize,
    text: String,
    pen: Pen,
}

/// The picture of screens as `tmux capture-pane -p -e -N` gives them.
pub(crate) fn svg(screens: &[String], columns: usize, rows: usize) -> String {
    let width = columns as f64 * CELL.0 + 2.0 * MARGIN;
    let height = rows as f64 * CELL.1 + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">\n<style>\n\
         text {{ font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: {INK}; white-space: pre }}\n"
    );
    if screens.len() > 1 {
        let whole = screens.len() * SECONDS;
        let share = 100.0 / screens.len() as f64;
        let _ = writeln!(
            svg,
            "@keyframes turn {{ 0% {{ visibility: visible }} {share:.3}% {{ visibility: hidden }} 100% {{ visibility: hidden }} }}"
        );
        let _ = writeln!(svg, ".s {{ visibility: hidden; animation: turn {whole}s step-end infinite }}");
        for at in 0..screens.len() {
            let _ = writeln!(svg, ".s{at} {{ animation-delay: {}s }}", at * SECONDS);
        }
        // Who wants no motion sees the first.
        svg.push_str(
            "@media (prefers-reduced-motion) { .s { animation: none } .s0 { visibility: visible } }\n",
        );
    }
    let _ = writeln!(svg, "</style>\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{PAPER}\"/>");
    for (at, screen) in screens.iter().enumerate() {
        let _ = writeln!(svg, "<g class=\"s s{at}\">");
        for (row, runs) in parse(screen).iter().enumerate().take(rows) {
            for run in runs {
                draw(&mut svg, row, run);
            }
        }
        svg.push_str("</g>\n");
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, row: usize, run: &Run) {
    let pen = &run.pen;
    let (mut ink, mut paper) = (pen.ink.clone().unwrap_or_else(|| INK.into()), pen.paper.clone());
    if pen.reversed {
        let old = paper.unwrap_or_else(|| PAPER.into());
        paper = Some(std::mem::replace(&mut ink, old));
    }
    let (x, y) = (MARGIN + run.column as f64 * CELL.0, MARGIN + row as f64 * CELL.1);
    let width = run.text.chars().count() as f64 * CELL.0;
    if let Some(paper) = paper {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{paper}\"/>",
            CELL.1
        );
    }
    if run.text.trim().is_empty() && !pen.underlined {
        return;
    }
    let bold = if pen.bold { " font-weight=\"bold\"" } else { "" };
    let line = if pen.underlined { " text-decoration=\"underline\"" } else { "" };
    let fill = if ink == INK { String::new() } else { format!(" style=\"fill:{ink}\"") };
    // The length is given, since fonts differ.
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\"{bold}{line}{fill}>{}</text>",
        y + 13.0,
        run.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    );
}

/// The lines of a screen as runs of one look.
fn parse(screen: &str) -> Vec<Vec<Run>> {
    // A look goes on over the ends of lines.
    let mut pen = Pen::default();
    screen.lines().map(|line| parse_line(line, &mut pen)).collect()
}

fn parse_line(line: &str, pen: &mut Pen) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut column = 0;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some((numbers, after)) = rest.strip_prefix("\x1b[").and_then(|rest| rest.split_once('m')) {
            change(pen, numbers);
            rest = after;
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.pen == *pen => run.text.push(c),
            _ => runs.push(Run { column, text: c.into(), pen: pen.clone() }),
        }
        column += 1;
        rest = &rest[c.len_utf8()..];
    }
    runs
}

/// What `ESC [ … m` says.
fn change(pen: &mut Pen, numbers: &str) {
    let mut numbers = numbers.split([';', ':']).map(|number| number.parse::<u32>().unwrap_or(0));
    while let Some(number) = numbers.next() {
        match number {
            0 => *pen = Pen::default(),
            1 => pen.bold = true,
            4 => pen.underlined = true,
            7 => pen.reversed = true,
            22 => pen.bold = false,
            24 => pen.underlined = false,
            27 => pen.reversed = false,
            38 => pen.ink = colour(&mut numbers),
            48 => pen.paper = colour(&mut numbers),
            39 => pen.ink = None,
            49 => pen.paper = None,
            _ => {}
        }
    }
}

/// `5;N`, one of xterm's 256, or `2;R;G;B`.
fn colour(numbers: &mut impl Iterator<Item = u32>) -> Option<String> {
    let [red, green, blue] = match numbers.next()? {
        2 => [numbers.next()?, numbers.next()?, numbers.next()?],
        _ => match numbers.next()? {
            index @ 16..=231 => {
                let level = |at: u32| [0, 95, 135, 175, 215, 255][at as usize % 6];
                let cube = index - 16;
                [level(cube / 36), level(cube / 6), level(cube)]
            }
            index @ 232..=255 => [8 + (index - 232) * 10; 3],
            _ => return None,
        },
    };
    Some(format!("#{red:02x}{green:02x}{blue:02x}"))
}

#[cfg(test)]
mod tests {
    use super::{parse, svg};

    #[test]
    fn looks_end_where_the_terminal_says() {
        let lines = parse("a\x1b[1;38;5;196mb\x1b[0m<\n\x1b[48;2;1;2;3mc\nd\x1b[49me");
        let texts: Vec<Vec<&str>> =
            lines.iter().map(|runs| runs.iter().map(|run| run.text.as_str()).collect()).collect();
        assert_eq!(texts, [vec!["a", "b", "<"], vec!["c"], vec!["d", "e"]]);
        assert_eq!(lines[0][1].pen.ink.as_deref(), Some("#ff0000"));
        assert!(lines[0][1].pen.bold && !lines[0][2].pen.bold);
        assert_eq!(lines[2][0].pen.paper.as_deref(), Some("#010203"), "it goes on over the end of a line");
        assert_eq!(lines[2][1].pen.paper, None);
    }

    #[test]
    fn every_screen_is_in_the_picture() {
        let picture = svg(&["one".into(), "a < b".into()], 80, 24);
        assert!(picture.contains(">one</text>") && picture.contains(">a &lt; b</text>"));
        assert!(picture.contains("s1 { animation-delay: 4s }"));
    }
}
