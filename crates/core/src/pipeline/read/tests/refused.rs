use super::*;

fn refusal(source: &str) -> String {
    parse(source).unwrap_err().to_string()
}

/// The refusal of a document whose only step ends with these lines, the first of them on line 4.
fn refusal_of_step(lines: &str) -> String {
    let lines = lines.replace('\n', "\n    ");
    refusal(&format!("after:\n  - name: a\n    run: b\n    {lines}\n"))
}

#[test]
fn empty_documents_show_a_minimal_one() {
    let minimal = "a minimal one is: after: [{name: restart, run: ./restart.sh}]";
    for source in ["", "\n# nothing\n", "---\n", "null", "~"] {
        let message = format!("line 1, column 1: the document is empty; {minimal}");
        assert_eq!(refusal(source), message, "{source:?}");
    }
    for source in [
        "{}",
        "env: {A: b}",
        "build: []",
        "health: {url: 'http://a'}",
    ] {
        let message = format!("line 1, column 1: the pipeline has no step; {minimal}");
        assert_eq!(refusal(source), message, "{source:?}");
    }
    let example = minimal.split_once("is: ").unwrap().1;
    assert_eq!(parse(example).unwrap().after[0].run, "./restart.sh");
}

#[test]
fn wrong_sections_name_line_column_path_and_expectation() {
    for (source, message) in [SECTIONS, ACTIVATE, HEALTH, ENV].concat() {
        assert_eq!(refusal(source), message, "{source}");
    }
}

/// Documents with a wrong section.
const SECTIONS: &[(&str, &str)] = &[
    (
        "[]",
        "line 1, column 1: expected a mapping with build, release or after, found a list",
    ),
    (
        "after: x",
        r#"line 1, column 8: after: expected a list of steps, found "x""#,
    ),
    (
        "after:",
        "line 1, column 6: after: expected a list of steps, found nothing",
    ),
    (
        "after: {}",
        "line 1, column 8: after: expected a list of steps, found a mapping",
    ),
    (
        "after: [x]",
        r#"line 1, column 9: after[0]: expected a step with name and run, found "x""#,
    ),
    (
        "afer: []",
        r#"line 1, column 1: afer: unknown key; did you mean "after"?"#,
    ),
    (
        "steps: []",
        "line 1, column 1: steps: unknown key; expected one of env, build, artifact, release, activate, after, health, rollback_on_failure",
    ),
    (
        "artifact: /srv",
        r#"line 1, column 11: artifact: expected a relative path such as dist/app, without empty, "." or ".." parts and no "-" first, found "/srv""#,
    ),
    (
        "artifact: 1",
        "line 1, column 11: artifact: expected text, found the number 1; put quotes around it",
    ),
    (
        "rollback_on_failure: yes",
        r#"line 1, column 22: rollback_on_failure: expected true or false, found "yes""#,
    ),
    (
        "rollback_on_failure: 'true'",
        r#"line 1, column 22: rollback_on_failure: expected true or false, found "true""#,
    ),
    (
        "build: [{name: a, run: b, on: first}]",
        "line 1, column 27: build[0].on: build steps run on the worker; only release and after steps choose hosts",
    ),
    (
        "{\"build\":[{\"name\":\"a\",\n\"run\":1}]}",
        "line 2, column 7: build[0].run: expected text, found the number 1; put quotes around it",
    ),
];

/// Documents with a wrong `activate`.
const ACTIVATE: &[(&str, &str)] = &[
    (
        "activate: {keep: 0}",
        "line 1, column 18: activate.keep: expected a whole number from 1 to 100, found the number 0",
    ),
    (
        "activate: {keep: 101}",
        "line 1, column 18: activate.keep: expected a whole number from 1 to 100, found the number 101",
    ),
    (
        "activate: {keep: 1.5}",
        "line 1, column 18: activate.keep: expected a whole number from 1 to 100, found the number 1.5",
    ),
    (
        "activate: {keep: '5'}",
        r#"line 1, column 18: activate.keep: expected a whole number from 1 to 100, found "5""#,
    ),
    (
        "activate: {kepp: 5}",
        r#"line 1, column 12: activate.kepp: unknown key; did you mean "keep"?"#,
    ),
    (
        "activate: [a]",
        "line 1, column 11: activate: expected a mapping with keep and shared, found a list",
    ),
    (
        "activate: {shared: [a, a]}",
        "line 1, column 24: activate.shared: this appears twice in the list",
    ),
    (
        "activate: {shared: [a/b, a]}",
        r#"line 1, column 21: activate.shared: the folder "a" is shared already, with all in it"#,
    ),
    (
        "activate: {shared: [../a]}",
        r#"line 1, column 21: activate.shared[0]: expected a relative path such as dist/app, without empty, "." or ".." parts and no "-" first, found "../a""#,
    ),
];

/// Documents with a wrong `health`.
const HEALTH: &[(&str, &str)] = &[
    (
        "health: {expect: 200}",
        r#"line 1, column 9: health: "url" is missing"#,
    ),
    (
        "health: {url: /health}",
        r#"line 1, column 15: health.url: expected an address such as http://127.0.0.1:8080/health, found "/health""#,
    ),
    (
        "health: {url: 'http://a', expect: 99}",
        "line 1, column 35: health.expect: expected a whole number from 100 to 599, found the number 99",
    ),
    (
        "health: {url: 'http://a', attempts: 0}",
        "line 1, column 37: health.attempts: expected a whole number from 1 to 1000, found the number 0",
    ),
    (
        "health: {url: 'http://a', interval: 2}",
        "line 1, column 37: health.interval: expected a duration such as 10m, found 2; add a unit: 2s",
    ),
    (
        "health: {url: 'http://a', timeout: 1h}",
        r#"line 1, column 36: health.timeout: expected a duration from 1ms to 10m, found "1h""#,
    ),
];

/// Documents with a wrong `env`.
const ENV: &[(&str, &str)] = &[
    (
        "env: {SLIPWAY_REF: x}",
        "line 1, column 7: env.SLIPWAY_REF: names that begin with SLIPWAY_ are Slipway's own",
    ),
    (
        "env: {1A: x}",
        r#"line 1, column 7: env.1A: "1A" is no variable name: letters, digits and _, at most 128, no digit first"#,
    ),
    (
        "env: {A: }",
        r#"line 1, column 8: env.A: expected a value ("" for an empty one), found nothing"#,
    ),
    (
        "env: {A: [b]}",
        "line 1, column 10: env.A: expected a value, found a list",
    ),
    (
        r#"env: {A: "\0"}"#,
        "line 1, column 10: env.A: a NUL character cannot be passed to a command",
    ),
    (
        "env: x",
        r#"line 1, column 6: env: expected names with values, such as NODE_ENV: production, found "x""#,
    ),
];

#[test]
fn wrong_steps_name_line_column_path_and_expectation() {
    for (lines, message) in [STEPS, CONDITIONS].concat() {
        assert_eq!(refusal_of_step(lines), message, "{lines}");
    }
}

/// Lines of a step that make it wrong.
const STEPS: &[(&str, &str)] = &[
    (
        "timeout: ten",
        r#"line 4, column 14: after[0].timeout: expected a duration such as 10m, found "ten""#,
    ),
    (
        "timeout: 600",
        "line 4, column 14: after[0].timeout: expected a duration such as 10m, found 600; add a unit: 600s",
    ),
    (
        "timeout: 0s",
        r#"line 4, column 14: after[0].timeout: expected a duration from 1ms to 24h, found "0s""#,
    ),
    (
        "timeout: 25h",
        r#"line 4, column 14: after[0].timeout: expected a duration from 1ms to 24h, found "25h""#,
    ),
    (
        "timeout:",
        "line 4, column 12: after[0].timeout: expected a duration such as 10m, found nothing",
    ),
    (
        "idle_timeout: [1s]",
        "line 4, column 19: after[0].idle_timeout: expected a duration such as 10m, found a list",
    ),
    (
        "timout: 1s",
        r#"line 4, column 5: after[0].timout: unknown key; did you mean "timeout"?"#,
    ),
    (
        "run: c",
        r#"line 4, column 5: after[0]: the key "run" appears twice, first in line 3"#,
    ),
    (
        "secrets: TOKEN",
        r#"line 4, column 14: after[0].secrets: expected a list of secret names, [] for none, found "TOKEN""#,
    ),
    (
        "secrets:",
        "line 4, column 12: after[0].secrets: expected a list of secret names, [] for none, found nothing",
    ),
    (
        "secrets:\n- token",
        r#"line 5, column 7: after[0].secrets[0]: "token" is no secret name: capitals, digits and _, at most 128, no digit first"#,
    ),
    (
        "secrets: [A, A]",
        "line 4, column 18: after[0].secrets: this appears twice in the list",
    ),
    (
        "on_failure: ignore",
        r#"line 4, column 17: after[0].on_failure: unknown word "ignore"; expected one of fail, continue"#,
    ),
    (
        "on: frist",
        r#"line 4, column 9: after[0].on: unknown word "frist"; did you mean "first"?"#,
    ),
];

/// Conditions of a step that are wrong.
const CONDITIONS: &[(&str, &str)] = &[
    (
        "when: true",
        "line 4, column 11: after[0].when: expected text, found true; put quotes around it",
    ),
    (
        "when: branch = 'main'",
        "line 4, column 18: after[0].when: expected == to compare, found =",
    ),
    (
        "when: \"branch = 'main'\"",
        "line 4, column 19: after[0].when: expected == to compare, found =",
    ),
    (
        "when: 'ref == ''a'' &'",
        "line 4, column 11: after[0].when: in column 12 of the condition: expected && between conditions, found &",
    ),
    (
        "when: |\n  ref == 1",
        "line 5, column 14: after[0].when: unexpected character '1'",
    ),
    (
        "when: >\n  ref ==\n  1",
        "line 5, column 7: after[0].when: in column 8 of the condition: unexpected character '1'",
    ),
    (
        "when: ref ==\n  1",
        "line 4, column 11: after[0].when: in column 8 of the condition: unexpected character '1'",
    ),
    (
        "when: !(ref == 'a')",
        "line 4, column 11: after[0].when: tags are not supported; put quotes around text that begins with !",
    ),
];

#[test]
fn step_needs_a_name_and_a_command() {
    assert_eq!(
        refusal("after:\n  - {}\n"),
        "line 2, column 5: after[0]: \"name\" is missing\n\
         line 2, column 5: after[0]: \"run\" is missing"
    );
    assert_eq!(
        refusal("after:\n  - name: ' '\n    run: ''\n"),
        "line 2, column 11: after[0].name: the name is empty\n\
         line 3, column 10: after[0].run: the command is empty"
    );
}

#[test]
fn step_names_are_unique_in_the_whole_document() {
    let source = "build: [{name: a, run: b}]\n\nafter: [{name: b, run: b}, {name: a, run: b}]\n";
    assert_eq!(
        refusal(source),
        "line 3, column 35: after[1].name: another step has this name, in line 1"
    );
}

#[test]
fn lists_have_limits() {
    let steps = |count: usize| -> String {
        let steps = (0..count).map(|i| format!("- {{name: s{i}, run: x}}\n"));
        format!("after:\n{}", steps.collect::<String>())
    };
    assert_eq!(parse(&steps(50)).unwrap().after.len(), 50);
    assert_eq!(
        refusal(&steps(51)),
        "line 2, column 3: after: the list has 51 items, 50 are allowed"
    );

    let shared = |count: usize| -> String {
        let paths: Vec<String> = (0..count).map(|i| format!("p{i}")).collect();
        let paths = paths.join(",");
        format!("activate: {{shared: [{paths}]}}\nafter: [{{name: a, run: b}}]")
    };
    assert_eq!(parse(&shared(50)).unwrap().activate.shared.len(), 50);
    assert_eq!(
        refusal(&shared(51)),
        "line 1, column 20: activate.shared: the list has 51 items, 50 are allowed"
    );
}

#[test]
fn all_mistakes_are_reported_in_document_order() {
    let source = "after:\n  - runn: a\n    timeout: 1\n    name: 2\nrelase: x\n";
    let PipelineErrors(errors) = parse(source).unwrap_err();
    let places: Vec<(usize, &str)> = errors
        .iter()
        .map(|error| (error.line, error.path.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (2, "after[0].runn"),
            (2, "after[0]"),
            (3, "after[0].timeout"),
            (4, "after[0].name"),
            (5, "relase"),
        ]
    );
}

#[test]
fn no_more_than_twenty_mistakes_are_reported() {
    let source: String = (0..30).map(|i| format!("x{i}: 1\n")).collect();
    assert_eq!(parse(&source).unwrap_err().0.len(), 20);
}
