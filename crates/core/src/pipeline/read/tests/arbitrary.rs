use proptest::prelude::*;

use super::*;

/// Right pipelines of all shapes, by way of their documents.
fn pipeline() -> impl Strategy<Value = Pipeline> {
    let phases = prop::collection::vec((phase(), step_fields()), 1..6);
    let sections = (
        prop::option::of("dist/[a-z]{1,8}"),
        prop::option::of((1_u32..=100, prop::collection::btree_set("[a-z]{1,5}", 0..4))),
        prop::option::of((100_u16..=599, 1_u32..=1000, 1_u64..600_000)),
        any::<bool>(),
    );
    (phases, sections).prop_map(|(steps, (artifact, activate, health, rollback))| {
        let mut document = serde_json::json!({ "rollback_on_failure": rollback });
        for (index, (phase, mut step)) in steps.into_iter().enumerate() {
            step["name"] = format!("step {index}").into();
            let phase = &mut document[phase];
            if phase.is_null() {
                *phase = serde_json::json!([]);
            }
            phase.as_array_mut().unwrap().push(step);
        }
        if let Some(artifact) = artifact {
            document["artifact"] = artifact.into();
        }
        if let Some((keep, shared)) = activate {
            document["activate"] = serde_json::json!({ "keep": keep, "shared": shared });
        }
        if let Some((expect, attempts, interval_ms)) = health {
            document["health"] = serde_json::json!({
                "url": "http://[::1]:8080/",
                "expect": expect,
                "attempts": attempts,
                "interval": format!("{interval_ms}ms"),
            });
        }
        parse(&document.to_string()).unwrap()
    })
}

fn phase() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["build", "release", "after"])
}

fn step_fields() -> impl Strategy<Value = serde_json::Value> {
    (
        "[^\\p{Cc}\u{feff}]{0,20}[a-z]",
        1_u64..86_400_000,
        prop::option::of(1_u64..86_400),
        prop::collection::btree_map("[A-R][A-Z0-9_]{0,6}", "\\PC{0,12}", 0..3),
        prop::option::of(prop::collection::btree_set("[A-Z_]{1,6}", 0..3)),
        prop::option::of("(ref|target) (==|!=) '[a-z]{0,4}'"),
        prop::sample::select(vec!["fail", "continue"]),
    )
        .prop_map(|(run, timeout_ms, idle, env, secrets, when, on_failure)| {
            let mut step = serde_json::json!({
                "run": run,
                "timeout": format!("{timeout_ms}ms"),
                "env": env,
                "on_failure": on_failure,
            });
            if let Some(idle_seconds) = idle {
                step["idle_timeout"] = format!("{idle_seconds}s").into();
            }
            if let Some(secrets) = secrets {
                step["secrets"] = serde_json::json!(secrets);
            }
            if let Some(when) = when {
                step["when"] = when.into();
            }
            step
        })
}

proptest! {
    #[test]
    fn reading_never_panics(source in "(?s).{0,200}") {
        let _ = parse(&source);
    }

    #[test]
    fn reading_yaml_signs_never_panics(source in "[-\\[\\]{}:,?&*!|>'\"%@#a \t\n]{0,60}") {
        let _ = parse(&source);
    }

    #[test]
    fn reading_a_damaged_document_never_panics(
        is_json in any::<bool>(),
        at in 0_usize..1000,
        cut in 0_usize..20,
        inserted in "[-\\[\\]{}:,?&*!|>'\"%@#a\\\\ \t\n]{0,4}|\\PC{0,2}",
    ) {
        let whole = if is_json { WHOLE_JSON } else { WHOLE_YAML };
        let head = whole.chars().take(at);
        let tail = whole.chars().skip(at + cut);
        let source: String = head.chain(inserted.chars()).chain(tail).collect();
        if let Err(PipelineErrors(errors)) = parse(&source) {
            let lines = source.lines().count() + 1;
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!((1..=lines).contains(&error.line), "{}", error);
                prop_assert!(error.column >= 1 && !error.message.is_empty());
            }
        }
    }

    #[test]
    fn stored_pipeline_reads_back_to_the_same(pipeline in pipeline()) {
        let stored = serde_json::to_string(&pipeline).unwrap();
        prop_assert_eq!(serde_json::from_str::<Pipeline>(&stored).unwrap(), pipeline);
    }
}
