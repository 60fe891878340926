//! A report in sections whose lines give way, the least telling first, until all of it fits a terminal.

use std::io::{self, Write};

use crate::output::Paint;

/// How important a line is: those with high ranks give way first, those with 0 never.
pub(super) type Rank = usize;

/// A report before it is printed.
#[derive(Default)]
pub(super) struct Screen {
    sections: Vec<Section>,
}

#[derive(Default)]
struct Section {
    /// Of all but the first.
    heading: Option<String>,
    rows: Vec<Row>,
}

struct Row {
    text: String,
    /// Columns that it takes: escape sequences take none.
    wide: usize,
    rank: Rank,
}

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Row {
    fn height(&self, columns: usize) -> usize {
        self.wide.div_ceil(columns.max(1)).max(1)
    }
}

impl Section {
    fn kept(&self, most: Rank) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.rank <= most)
    }

    /// Lines of the terminal that are taken where lines up to this rank are shown.
    fn height(&self, most: Rank, columns: usize) -> usize {
        let rows: usize = self.kept(most).map(|row| row.height(columns)).sum();
        // A blank line and the heading.
        if rows > 0 && self.heading.is_some() { rows + 2 } else { rows }
    }
}

impl Screen {
    /// What follows is under this heading.
    pub(super) fn heading(&mut self, heading: String) {
        self.sections.push(Section { heading: Some(heading), rows: Vec::new() });
    }

    /// A line; `wide` is how many columns it takes.
    pub(super) fn row(&mut self, rank: Rank, text: String, wide: usize) {
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        if let Some(section) = self.sections.last_mut() {
            section.rows.push(Row { text, wide, rank });
        }
    }

    /// Prints it: all of it, or what there is room for and then `how_to_see_all`.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        paint: Paint,
        room: Option<Room>,
        how_to_see_all: &str,
    ) -> io::Result<()> {
        let most = room.map_or(Rank::MAX, |room| self.most_important(room));
        let mut left_out = 0;
        for section in &self.sections {
            let (kept, all) = (section.kept(most).count(), section.rows.len());
            left_out += all - kept;
            if kept == 0 && all > 0 {
                continue;
            }
            if let Some(heading) = &section.heading {
                let count = if kept < all { format!(" ({kept} of {all} lines)") } else { String::new() };
                writeln!(out, "\n{}{count}", paint.bold(heading))?;
            }
            section.kept(most).try_for_each(|row| writeln!(out, "{}", row.text))?;
        }
        if left_out > 0 { writeln!(out, "  … {left_out} lines more: {how_to_see_all}") } else { Ok(()) }
    }

    /// The highest rank up to which all lines fit; the lowest there is where nothing does.
    fn most_important(&self, room: Room) -> Rank {
        let height =
            |most| self.sections.iter().map(|section| section.height(most, room.columns)).sum::<usize>();
        // The prompt wants a line, too.
        if height(Rank::MAX) < room.rows {
            return Rank::MAX;
        }
        let mut ranks: Vec<Rank> =
            self.sections.iter().flat_map(|section| &section.rows).map(|row| row.rank).collect();
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        ranks.dedup();
        let fits = ranks.iter().find(|most| height(**most) + 1 < room.rows);
        fits.or(ranks.last()).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: usize) -> String {
        let mut screen = Screen::default();
        screen.row(0, "DEAD".into(), 4);
        screen.heading("stack".into());
        for frame in 0..4 {
            screen.row(1 + frame, format!("#{frame}"), 2);
        }
        screen.heading("console".into());
        screen.row(3, "x".repeat(25), 25);
        let mut out = Vec::new();
        screen.write(&mut out, Paint::none(), Some(Room { columns: 10, rows }), "see all").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_less_important_gives_way_until_the_rest_fits() {
        let all = shown(13);
        assert_eq!(all, format!("DEAD\n\nstack\n#0\n#1\n#2\n#3\n\nconsole\n{}\n", "x".repeat(25)));
        // A line that is wider than the terminal takes several.
        assert!(
            shown(12).starts_with("DEAD\n\nstack (2 of 4 lines)\n#0\n#1\n  … 3 lines more: see all"),
            "{}",
            shown(12)
        );
        assert_eq!(shown(6), "DEAD\n\nstack (1 of 4 lines)\n#0\n  … 4 lines more: see all\n");
        assert_eq!(shown(1), "DEAD\n  … 5 lines more: see all\n");
    }
}
