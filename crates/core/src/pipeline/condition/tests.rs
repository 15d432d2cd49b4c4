use proptest::prelude::*;

use super::*;

const NO_FACTS: Facts<'static> = Facts {
    ref_name: "main",
    branch: Some("main"),
    target: "web",
    trigger: "push",
    changed: None,
};

fn condition(text: &str) -> Condition {
    text.parse().unwrap()
}

fn holds(text: &str) -> bool {
    condition(text).evaluate(&NO_FACTS).unwrap()
}

fn refusal(text: &str) -> String {
    text.parse::<Condition>().unwrap_err().to_string()
}

#[test]
fn comparison_compares_whole_texts() {
    assert!(holds(r#"branch == "main""#));
    assert!(!holds("branch == 'Main'"));
    assert!(holds("branch != 'mai'"));
    assert!(holds("'web' == target"));
    assert!(holds("ref == branch"));
    assert!(holds("trigger=='push'"));
}

#[test]
fn and_binds_tighter_than_or() {
    assert!(holds("branch == 'main' || branch == 'x' && target == 'x'"));
    assert!(!holds(
        "(branch == 'main' || branch == 'x') && target == 'x'"
    ));
}

#[test]
fn not_turns_groups_and_calls_around() {
    assert!(!holds("!(branch == 'main')"));
    assert!(holds("!!(branch == 'main')"));
    assert!(holds("!matches(branch, 'release/*')"));
    assert!(holds(
        "!(branch == 'x' || target == 'x') && trigger == 'push'"
    ));
}

#[test]
fn stars_stay_within_a_path_part_unless_doubled() {
    let facts = Facts {
        branch: Some("feature/a/b"),
        ..NO_FACTS
    };
    let holds = |text: &str| condition(text).evaluate(&facts).unwrap();
    assert!(!holds("matches(branch, 'feature/*')"));
    assert!(!holds("matches(branch, '*')"));
    assert!(holds("matches(branch, 'feature/**')"));
    assert!(holds("matches(branch, '**/b')"));
    assert!(holds("matches(branch, 'feature/{a,x}/[a-c]')"));
}

#[test]
fn changed_asks_for_any_matching_path() {
    let paths = ["src/api/main.rs".to_owned(), "README.md".to_owned()];
    let facts = Facts {
        changed: Some(&paths),
        ..NO_FACTS
    };
    let holds = |text: &str| condition(text).evaluate(&facts).unwrap();
    assert!(holds("changed('src/**')"));
    assert!(holds("changed('*.md')"));
    assert!(!holds("changed('*.rs')"));
    assert!(!holds("changed('docs/**')"));
}

#[test]
fn nothing_changed_is_an_answer() {
    let facts = Facts {
        changed: Some(&[]),
        ..NO_FACTS
    };
    assert_eq!(condition("changed('**')").evaluate(&facts), Ok(false));
}

#[test]
fn unknown_changes_are_an_error_when_they_matter() {
    let error = condition("branch == 'main' && !changed('src/**')")
        .evaluate(&NO_FACTS)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"changed("src/**") has no answer: the changed files are not known"#
    );
    assert!(holds("branch == 'main' || changed('src/**')"));
    assert!(!holds("branch != 'main' && changed('src/**')"));
}

#[test]
fn missing_branch_equals_only_the_empty_text_and_matches_nothing() {
    let facts = Facts {
        branch: None,
        ..NO_FACTS
    };
    let holds = |text: &str| condition(text).evaluate(&facts).unwrap();
    assert!(holds("branch == ''"));
    assert!(holds("branch != 'main'"));
    assert!(!holds("matches(branch, '**')"));
}

#[test]
fn printed_condition_keeps_only_needed_parentheses() {
    for (text, printed) in [
        ("((branch=='a'))", r#"branch == "a""#),
        (
            "(ref == 'a' && ref == 'b') || ref == 'c'",
            r#"ref == "a" && ref == "b" || ref == "c""#,
        ),
        (
            "ref == 'a' && (ref == 'b' || (ref == 'c' || ref == 'd'))",
            r#"ref == "a" && (ref == "b" || ref == "c" || ref == "d")"#,
        ),
        ("!(ref != 'a')", r#"!(ref != "a")"#),
        ("! (changed('x'))", r#"!changed("x")"#),
        (r#"ref == 'say "x"'"#, r#"ref == 'say "x"'"#),
        ("matches( ref ,\"it's\")", r#"matches(ref, "it's")"#),
    ] {
        assert_eq!(condition(text).to_string(), printed);
        assert_eq!(condition(printed), condition(text));
    }
}

#[test]
fn stored_condition_is_its_text() {
    let stored = serde_json::to_string(&condition("branch == 'main'")).unwrap();
    assert_eq!(stored, r#""branch == \"main\"""#);
    let read: Condition = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, condition("branch == 'main'"));
    assert!(serde_json::from_str::<Condition>(r#""branch""#).is_err());
}

#[test]
fn mistakes_name_their_column_and_what_was_expected() {
    for (text, message) in [
        (
            "",
            r#"column 1: expected a comparison such as branch == "main", found the end"#,
        ),
        ("branch", "column 7: expected == or !=, found the end"),
        ("branch = 'x'", "column 8: expected == to compare, found ="),
        (
            "branch == main",
            r#"column 11: unknown variable "main"; expected one of ref, branch, target, trigger"#,
        ),
        (
            "brnach == 'x'",
            r#"column 1: unknown variable "brnach"; did you mean "branch"?"#,
        ),
        (
            "'é' == branch & x",
            "column 15: expected && between conditions, found &",
        ),
        (
            "ref == 'a' | ref == 'b'",
            "column 12: expected || between conditions, found |",
        ),
        (
            "ref == 'a' and ref == 'b'",
            r#"column 12: expected &&, || or the end, found "and""#,
        ),
        (
            "ref == 'a' == 'b'",
            "column 12: a comparison cannot be compared again",
        ),
        (
            "ref == 'main",
            "column 8: the text that begins with ' has no end",
        ),
        (
            "ref == 'a\u{7}'",
            "column 8: control character U+0007 in a text is not allowed",
        ),
        ("ref == $x", "column 8: unexpected character '$'"),
        (
            "'a' == \"a\"",
            "column 1: one side must be a variable: ref, branch, target, trigger",
        ),
        (
            "(ref == 'a'",
            "column 12: expected &&, || or ), found the end",
        ),
        (
            "ref == 'a')",
            "column 11: expected &&, || or the end, found )",
        ),
        (
            "!ref == 'a'",
            "column 1: put parentheses around the comparison that ! turns around",
        ),
        (
            "ref == (target)",
            "column 8: expected a text in quotes or a variable, found (",
        ),
        (
            "change('a')",
            r#"column 1: unknown function "change"; did you mean "changed"?"#,
        ),
        (
            "changed(src)",
            r#"column 9: expected a glob in quotes such as "src/**", found "src""#,
        ),
        ("changed('')", "column 9: the glob is empty"),
        (
            "changed('[a')",
            "column 9: not a glob: unclosed character class; missing ']'",
        ),
        (
            "changed('/src')",
            "column 9: changed paths begin with a name: leave out the leading / or ./",
        ),
        ("changed('a', 'b')", "column 12: expected ), found ,"),
        (
            "matches('a')",
            r#"column 9: expected a variable, found the text "a""#,
        ),
        (
            "matches(ref)",
            "column 12: expected a comma and a glob, found )",
        ),
    ] {
        assert_eq!(refusal(text), message, "{text}");
    }
}

#[test]
fn nesting_and_size_are_bounded() {
    let grouped = |depth: usize| format!("{}ref == 'a'{}", "(".repeat(depth), ")".repeat(depth));
    assert!(grouped(32).parse::<Condition>().is_ok());
    assert_eq!(
        refusal(&grouped(33)),
        "column 33: nested more than 32 levels deep"
    );
    assert!(
        format!("{}ref == 'a'", "!".repeat(60_000))
            .parse::<Condition>()
            .is_err()
    );

    let chained = |terms: usize| vec!["ref == 'a'"; terms].join(" || ");
    assert!(chained(100).parse::<Condition>().is_ok());
    assert_eq!(
        refusal(&chained(101)),
        "column 1401: more than 100 comparisons and calls"
    );

    let long = "x".repeat(513);
    assert_eq!(
        refusal(&format!("ref == '{long}'")),
        "column 8: the text has 513 bytes, 512 are allowed"
    );
}

#[test]
fn glob_that_would_not_compile_is_refused() {
    let nested = format!("changed('{}a{}')", "{".repeat(255), "}".repeat(255));
    assert!(nested.parse::<Condition>().is_err());
}

/// Texts of right conditions.
fn condition_text() -> impl Strategy<Value = String> {
    let variable = prop::sample::select(vec!["ref", "branch", "target", "trigger"]);
    let text = prop_oneof!["'[a-c/*\"]{0,4}'", "\"[a-c/*']{0,4}\""];
    let sign = prop::sample::select(vec!["==", " != "]);
    let glob = prop_oneof!["'[a-c*?][a-c*?/]{0,4}'", "'[*]{2}/[a-c]'"];
    let term = prop_oneof![
        (variable.clone(), sign.clone(), text.clone()).prop_map(|(v, s, t)| format!("{v}{s}{t}")),
        (text, sign.clone(), variable.clone()).prop_map(|(t, s, v)| format!("{t}{s}{v}")),
        (variable.clone(), sign, variable.clone()).prop_map(|(a, s, b)| format!("{a}{s}{b}")),
        (variable, glob.clone()).prop_map(|(v, g)| format!("matches({v},{g})")),
        glob.prop_map(|g| format!("changed( {g} )")),
    ];
    term.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            inner.clone().prop_map(|a| format!("({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}&&{b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} || {b}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a} || {b}) && {b}")),
        ]
    })
}

proptest! {
    #[test]
    fn reading_never_panics(text in "\\PC{0,60}|[!()'\"=&|, a-z*]{0,40}") {
        let _ = text.parse::<Condition>();
    }

    #[test]
    fn cut_condition_never_panics(text in condition_text(), end in 0_usize..200) {
        let cut: String = text.chars().take(end).collect();
        let _ = cut.parse::<Condition>();
    }

    #[test]
    fn printed_condition_reads_back_to_the_same_with_the_same_answer(
        text in condition_text(),
        facts in prop::collection::vec("[a-c/]{0,3}", 4),
        branch in prop::option::of("[a-c/]{0,3}"),
        changed in prop::option::of(prop::collection::vec("[a-c]/[a-c]", 0..3)),
    ) {
        // Random conditions may have too many terms; those have no printed form.
        if let Ok(condition) = text.parse::<Condition>() {
            let printed: Condition = condition.to_string().parse().unwrap();
            prop_assert_eq!(&printed, &condition);
            let facts = Facts {
                ref_name: &facts[0],
                branch: branch.as_deref(),
                target: &facts[1],
                trigger: &facts[2],
                changed: changed.as_deref(),
            };
            prop_assert_eq!(printed.evaluate(&facts), condition.evaluate(&facts));
        }
    }
}
