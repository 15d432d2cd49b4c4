//! Reading Rust: which lines are test code, which functions there are, and the tokens in between.

use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Attribute, Item, visit::Visit};

use crate::tree::File;

/// A token with its line; groups are laid out flat, with their brackets.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// A parsed Rust file.
pub(crate) struct Source<'f> {
    pub(crate) file: &'f File,
    pub(crate) syntax: syn::File,
    test_ranges: Vec<RangeInclusive<usize>>,
}

impl<'f> Source<'f> {
    /// Parses a file; the compiler has done so before, so failure is a finding in itself.
    pub(crate) fn parse(file: &'f File) -> Result<Self, String> {
        let syntax =
            syn::parse_file(&file.text).map_err(|error| format!("{}: {error}", file.path))?;
        let mut ranges = TestRanges(Vec::new());
        if is_test_file(file) {
            ranges.0.push(1..=usize::MAX);
        } else {
            ranges.visit_file(&syntax);
        }
        Ok(Self {
            file,
            syntax,
            test_ranges: ranges.0,
        })
    }

    /// Whether a line belongs to the tests.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.test_ranges.iter().any(|range| range.contains(&line))
    }

    /// How many lines are not test code.
    pub(crate) fn product_lines(&self) -> usize {
        (1..=self.file.text.lines().count())
            .filter(|&line| !self.is_test(line))
            .count()
    }

    /// Every token, comments aside.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let mut tokens = Vec::new();
        // What syn could read, the lexer can too.
        flatten(
            self.file.text.parse::<TokenStream>().unwrap_or_default(),
            &mut tokens,
        );
        tokens
    }

    /// The lines outside the tests where these tokens follow one another; `*` ends a prefix.
    pub(crate) fn product_lines_with(&self, pattern: &[&str]) -> Vec<usize> {
        let tokens = self.tokens();
        let matches = |window: &&[Token]| {
            window
                .iter()
                .zip(pattern)
                .all(|(token, wanted)| match wanted.strip_suffix('*') {
                    Some(prefix) if !prefix.is_empty() => token.text.starts_with(prefix),
                    _ => token.text == *wanted,
                })
        };
        let lines = tokens.windows(pattern.len()).filter(matches);
        let lines = lines.filter_map(|window| window.first().map(|token| token.line));
        lines.filter(|&line| !self.is_test(line)).collect()
    }

    /// Every function with a body outside the tests.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut functions = Functions(Vec::new());
        functions.visit_file(&self.syntax);
        functions.0.retain(|function| !self.is_test(function.line));
        functions.0
    }
}

/// Whether a whole file is test code.
fn is_test_file(file: &File) -> bool {
    file.name() == "tests.rs" || file.folders().any(|folder| folder == "tests")
}

/// Whether an item exists for tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let last = path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "test");
        let tokens = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.to_string(),
            syn::Meta::Path(_) | syn::Meta::NameValue(_) => String::new(),
        };
        let mut words = tokens.split(|c: char| !c.is_alphanumeric() && c != '_');
        last || path.is_ident("cfg") && words.any(|word| word == "test") && !tokens.contains("not")
    })
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: String, line| tokens.push(Token { text, line });
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.to_owned(), line);
                flatten(group.stream(), tokens);
                let line = group.span_close().end().line;
                tokens.push(Token {
                    text: close.to_owned(),
                    line,
                });
            }
            TokenTree::Ident(ident) => push(ident.to_string(), line),
            TokenTree::Punct(punct) => push(punct.to_string(), line),
            TokenTree::Literal(literal) => push(literal.to_string(), line),
        }
    }
}

struct TestRanges(Vec<RangeInclusive<usize>>);

impl Visit<'_> for TestRanges {
    fn visit_item(&mut self, item: &Item) {
        let found = if let Item::Mod(module) = item {
            let close = module.content.as_ref().map(|(brace, _)| brace.span.close());
            Some((&module.attrs, close))
        } else if let Item::Fn(function) = item {
            Some((
                &function.attrs,
                Some(function.block.brace_token.span.close()),
            ))
        } else if let Item::Impl(block) = item {
            Some((&block.attrs, Some(block.brace_token.span.close())))
        } else {
            None
        };
        match found {
            Some((attributes, close)) if is_for_tests(attributes) => {
                let start = attributes
                    .first()
                    .map(|first| first.pound_token.span.start().line);
                let end = close.map(|span| span.end().line);
                self.0
                    .extend(start.zip(end).map(|(start, end)| start..=end));
            }
            _ => syn::visit::visit_item(self, item),
        }
    }
}

struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.fn_token.span.start().line;
        let end = block.brace_token.span.close().end().line;
        let name = signature.ident.to_string();
        self.0.push(Function {
            name,
            line,
            lines: (end + 1).saturating_sub(line),
        });
    }
}

impl Visit<'_> for Functions {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        self.add(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.into(),
            text: text.into(),
        }
    }

    const MIXED: &str = "fn a() {\n}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";

    #[test]
    fn lines_of_the_test_module_do_not_count() {
        let file = file("crates/core/src/x.rs", MIXED);
        let source = Source::parse(&file).unwrap();
        assert_eq!(source.product_lines(), 3);
        let names: Vec<String> = source
            .functions()
            .into_iter()
            .map(|found| found.name)
            .collect();
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn code_that_tests_only_leave_out_counts() {
        let file = file("x.rs", "#[cfg(not(test))]\nmod real {\n    fn b() {}\n}\n");
        assert_eq!(Source::parse(&file).unwrap().product_lines(), 4);
    }

    #[test]
    fn whole_files_of_tests_do_not_count() {
        for path in [
            "crates/core/src/vault/tests.rs",
            "crates/core/tests/store/main.rs",
        ] {
            let file = file(path, MIXED);
            assert_eq!(Source::parse(&file).unwrap().product_lines(), 0, "{path}");
        }
    }

    #[test]
    fn tokens_are_found_inside_macros_and_not_inside_comments_or_text() {
        let text = "// fred\nfn a() {\n    log!(\"fred\", fred::x());\n}\n";
        let file = file("x.rs", text);
        assert_eq!(
            Source::parse(&file).unwrap().product_lines_with(&["fred"]),
            [3]
        );
    }

    #[test]
    fn unreadable_file_is_named() {
        let file = file("crates/x.rs", "fn {");
        assert!(
            Source::parse(&file)
                .err()
                .unwrap()
                .starts_with("crates/x.rs: ")
        );
    }
}
