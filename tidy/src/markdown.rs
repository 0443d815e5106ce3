//! Reading Markdown: links, headings, tables.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// What a document has that others refer to, or that refers to others.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// Destinations of links and images.
    pub(crate) links: Vec<String>,
    /// What stands in backticks, outside of tables too.
    pub(crate) code: Vec<String>,
    /// The names by which headings are linked to.
    pub(crate) anchors: Vec<String>,
    /// All tables: rows of cells, the head first. Code in a cell stands in backticks.
    pub(crate) tables: Vec<Vec<Vec<String>>>,
}

pub(crate) fn read(text: &str) -> Document {
    let mut document = Document::default();
    let (mut heading, mut cell) = (None::<String>, None::<String>);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                document.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                document.anchors.extend(heading.take().map(|text| anchor(&text)));
            }
            Event::Start(Tag::Table(_)) => document.tables.push(Vec::new()),
            Event::Start(Tag::TableHead | Tag::TableRow) => {
                document.tables.iter_mut().next_back().into_iter().for_each(|t| t.push(Vec::new()));
            }
            Event::Start(Tag::TableCell) => cell = Some(String::new()),
            Event::End(TagEnd::TableCell) => {
                let row = document.tables.last_mut().and_then(|table| table.last_mut());
                row.into_iter().for_each(|row| row.extend(cell.take()));
            }
            Event::Text(text) => add(&mut heading, &mut cell, &text),
            Event::Code(code) => {
                document.code.push(code.to_string());
                let shown = if cell.is_some() { format!("`{code}`") } else { code.into_string() };
                add(&mut heading, &mut cell, &shown);
            }
            _ => {}
        }
    }
    document
}

fn add(heading: &mut Option<String>, cell: &mut Option<String>, text: &str) {
    if let Some(open) = heading.as_mut().or(cell.as_mut()) {
        open.push_str(text);
    }
}

/// How a heading is linked to: lower case, spaces as hyphens, no other punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// What stands in backticks in a cell.
pub(crate) fn code_in(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_anchors_and_tables_are_read() {
        let document = read(
            "# One `two` three!\n[a](b.md#c)\n\n```text\n[not](a-link)\n```\n\n\
             | R | what |\n| --- | --- |\n| 57a | `x/y.rs` and [z](z.md) |\n",
        );
        assert_eq!(document.links, ["b.md#c", "z.md"]);
        assert_eq!(document.anchors, ["one-two-three"]);
        assert_eq!(document.tables, [[["R", "what"], ["57a", "`x/y.rs` and z"]]]);
        assert_eq!(code_in("`a`, `b::c`").collect::<Vec<_>>(), ["a", "b::c"]);
    }
}
