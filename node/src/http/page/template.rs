//! Filling the page: one pass, so that nothing that was filled in is looked at again.

/// Replaces each `{{name}}` by what `part` says.
pub(super) fn fill(template: &str, mut part: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, behind)) = after.split_once("}}") else { break };
        out.push_str(&part(name));
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// A text as HTML shows it, in an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_filled_again() {
        let filled = fill("a {{x}} b {{y}}", |name| match name {
            "x" => "{{y}}".into(),
            _ => "Y".into(),
        });
        assert_eq!(filled, "a {{y}} b Y");
    }

    #[test]
    fn every_character_that_means_something_is_escaped() {
        assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    }
}
