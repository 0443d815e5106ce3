//! Reading Rust by tokens: comments and texts don't count, and macros are looked into.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Calls `see` with every identifier and the line that it stands on, those in macros included.
pub(crate) fn identifiers(text: &str, see: &mut dyn FnMut(&str, usize)) {
    walk(parsed(text), &mut |tokens| {
        for token in tokens {
            if let TokenTree::Ident(ident) = token {
                see(&ident.to_string(), ident.span().start().line);
            }
        }
    });
}

/// The names of all functions with an attribute that ends in `test`, those in macros included.
pub(crate) fn tests(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    walk(parsed(text), &mut |tokens| {
        let mut attributed = false;
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                    let hash = index.checked_sub(1).map(|before| tokens[before].to_string());
                    attributed |= hash.as_deref() == Some("#") && is_test(group.stream());
                }
                TokenTree::Ident(ident) if *ident == "fn" => {
                    if attributed && let Some(TokenTree::Ident(name)) = tokens.get(index + 1) {
                        names.push(name.to_string());
                    }
                    attributed = false;
                }
                _ => {}
            }
        }
    });
    names
}

/// `test`, `tokio::test`, `tokio::test(…)`.
fn is_test(attribute: TokenStream) -> bool {
    let idents = attribute.into_iter().map_while(|token| match token {
        TokenTree::Ident(ident) => Some(Some(ident.to_string())),
        TokenTree::Punct(_) => Some(None),
        _ => None,
    });
    idents.flatten().last().as_deref() == Some("test")
}

fn parsed(text: &str) -> TokenStream {
    TokenStream::from_str(text).unwrap_or_default()
}

/// Calls `see` with the tokens of every level.
fn walk(stream: TokenStream, see: &mut dyn FnMut(&[TokenTree])) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    see(&tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            walk(group.stream(), see);
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn tests_are_found_plain_async_and_in_macros() {
        let text = "
            #[test] fn plain() {}
            #[tokio::test(flavor = \"multi_thread\")] async fn with_tokio() {}
            proptest! { #[test] fn drawn(a in 0..3) {} }
            mod inner { #[test] #[should_panic] fn deep() {} }
            fn helper() {}
            // #[test] fn commented() {}
            #[cfg(test)] fn not_one() {}
        ";
        // `cfg(test)` ends in a group, so its last name is `cfg`.
        assert_eq!(tests(text), ["plain", "with_tokio", "drawn", "deep"]);
    }

    #[test]
    fn identifiers_are_found_with_their_lines_and_not_in_comments_or_texts() {
        let mut found = Vec::new();
        identifiers("// gone\nlet a = \"gone\";\nb!(c);", &mut |name, line| {
            found.push((name.to_owned(), line));
        });
        found.sort();
        let at = |name: &str, line| (name.to_owned(), line);
        assert_eq!(found, [at("a", 2), at("b", 3), at("c", 3), at("let", 2)]);
    }
}
