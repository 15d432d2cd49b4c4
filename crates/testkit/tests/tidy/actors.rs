//! Nobody calls a use case without saying who acts.

use syn::{FnArg, Pat, Signature, Type, Visibility, visit::Visit};

use crate::{
    source::Source,
    tree::{Tree, assert_none},
};

/// What a module's or a function's documentation says when there is no actor, as in duties.
const MARKER: &str = "system-only";

fn findings(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.ending(".rs").filter(|file| {
        file.name() == "service.rs" || file.folders().any(|folder| folder == "service")
    }) {
        let source = match Source::parse(file) {
            Ok(source) => source,
            Err(error) => {
                findings.push(error);
                continue;
            }
        };
        let mut lines = file.text.lines();
        if lines.any(|line| line.starts_with("//!") && line.contains(MARKER)) {
            continue;
        }
        let mut without = WithoutActor(Vec::new());
        without.visit_file(&source.syntax);
        without.0.retain(|&(line, _)| !source.is_test(line));
        let name =
            |(line, name)| format!("{}:{line}: `{name}` takes no `actor: &Actor`", file.path);
        findings.extend(without.0.into_iter().map(name));
    }
    findings
}

struct WithoutActor(Vec<(usize, String)>);

impl WithoutActor {
    fn look(&mut self, visibility: &Visibility, attributes: &[syn::Attribute], sig: &Signature) {
        let public = !matches!(visibility, Visibility::Inherited);
        if public && sig.asyncness.is_some() && !takes_actor(sig) && !is_marked(attributes) {
            self.0
                .push((sig.fn_token.span.start().line, sig.ident.to_string()));
        }
    }
}

impl Visit<'_> for WithoutActor {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        self.look(&function.vis, &function.attrs, &function.sig);
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        self.look(&function.vis, &function.attrs, &function.sig);
    }
}

fn takes_actor(signature: &Signature) -> bool {
    signature.inputs.iter().any(|argument| {
        let FnArg::Typed(argument) = argument else {
            return false;
        };
        let (Pat::Ident(name), Type::Reference(kind)) = (&*argument.pat, &*argument.ty) else {
            return false;
        };
        let Type::Path(kind) = &*kind.elem else {
            return false;
        };
        name.ident == "actor"
            && kind
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "Actor")
    })
}

fn is_marked(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => matches!(
            &pair.value,
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. })
                if text.value().contains(MARKER)
        ),
        syn::Meta::NameValue(_) | syn::Meta::Path(_) | syn::Meta::List(_) => false,
    })
}

#[test]
fn every_use_case_takes_the_actor() {
    assert_none(&findings(&Tree::repository()));
}

#[test]
fn use_case_without_actor_is_found() {
    let text = "pub async fn open(ctx: &Ctx) {}\n\
                pub async fn wrong(ctx: &Ctx, actor: Actor) {}\n\
                pub(crate) async fn crate_open(ctx: &Ctx) {}\n\
                pub async fn good(ctx: &Ctx, actor: &Actor, id: Id) {}\n\
                /// A duty, system-only.\npub async fn duty(ctx: &Ctx) {}\n\
                async fn private(ctx: &Ctx) {}\npub fn pure(x: u8) {}\n";
    let found = findings(&Tree::of(&[
        ("crates/core/src/project/service.rs", text),
        ("crates/core/src/project/store.rs", text),
    ]));
    let path = "crates/core/src/project/service.rs";
    let expected = [(1, "open"), (2, "wrong"), (3, "crate_open")]
        .map(|(line, name)| format!("{path}:{line}: `{name}` takes no `actor: &Actor`"));
    assert_eq!(found, expected);
}

#[test]
fn module_that_says_it_is_the_systems_own_is_left_alone() {
    let text = "//! Recovery; system-only.\npub async fn open(ctx: &Ctx) {}\n";
    assert_none(&findings(&Tree::of(&[(
        "crates/core/src/recovery/service.rs",
        text,
    )])));
}
